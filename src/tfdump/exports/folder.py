"""Tensors of a dump as the files of a folder, with an index that says which file is which tensor."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tfdump.dtypes import STRING
from tfdump.dump.reader import Dump
from tfdump.exports.archives import RAW, archive_file
from tfdump.exports.arrays import Exported
from tfdump.exports.formats import SUFFIXES, array_file, header_file, identifiers_of
from tfdump.exports.header_set import HEADER_INDEX, header_index
from tfdump.exports.ids import IDENTITY
from tfdump.exports.names import FileNames, file_name
from tfdump.exports.raw import DESCRIPTION, raw_arrays, raw_description
from tfdump.files.byte_strings import BYTES

INDEX = "index.tsv"
COLUMNS = ("file", "tensor", "part", "shape", "dtype", "stored_as", "axis0", "class", "left_out")

_ESCAPED = {number: f"\\x{number:02x}" for number in (*range(32), 127)}


def folder_files(
    dump: Dump, tensors: Iterable[Exported], layout: str, header: bool = True
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the path of every file below the folder, and its bytes; the last one is the index.

    A group is a folder and a tensor is a file; in `npy` or `csv`, every part of a composite is a file:
    `address.values.npy`. `header` tells whether a CSV file names its columns. A folder of C headers also has one that
    includes the others, and beside every `.bin` file is one that describes it.
    """
    tensors = list(tensors)
    folders: dict[str, FileNames] = {}
    rows: list[tuple[str, ...]] = [COLUMNS]
    paths: dict[tuple[str, str], str] = {}
    for composite in (False, True):  # composites come second: a tensor may have the name of one of their parts
        for tensor in tensors:
            if composite != (list(tensor.views) != [""]):
                continue
            group = tensor.name.removesuffix(tensor.address).rstrip("/")
            names = folders.setdefault(group.casefold(), FileNames())
            for part in ("",) if layout == "c" and tensor.views else tensor.views:
                name = names.take(tensor.address, part) + SUFFIXES[layout]
                paths[tensor.name, part] = f"{group}/{name}" if group else name
    identifiers = identifiers_of(dump, tensors) if layout == "c" else {}
    for tensor in tensors:
        rows += _rows(tensor, {part: paths[tensor.name, "" if layout == "c" else part] for part in tensor.views})
        if tensor.views and layout == "c":
            yield paths[tensor.name, ""], header_file(dump, tensor, identifiers[tensor.name])
        else:
            for part in tensor.views:
                path = paths[tensor.name, part]
                yield path, array_file(tensor, part, layout, header)
                if layout == RAW:
                    arrays = raw_arrays([replace(tensor, views={part: tensor.views[part]})])
                    yield path + DESCRIPTION, raw_description(dump, arrays, path.rpartition("/")[2])
    if layout == "c":
        headers = {tensor.name: paths[tensor.name, ""] for tensor in tensors if tensor.views}
        yield HEADER_INDEX, header_index(dump, headers, tensors, identifiers)
    yield INDEX, _index(rows)


def numbered_files(
    dump: Dump,
    files: Sequence[Sequence[Exported]],
    layout: str,
    left_out: Iterable[Exported] = (),
    further: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the name of every file of `row_files`, and its bytes; the last one is the index.

    The names are `ADDRESS-00000-of-00012.safetensors`, or begin with that of the dump if there are several tensors. The
    index is not that of Hugging Face, which says in which file a tensor is: here every tensor is in all files, with
    some of its rows in each. `left_out` are tensors without arrays.
    """
    values = [tensor for tensor in files[0] if tensor.name not in IDENTITY]
    stem = file_name(values[0].address if len(values) == 1 else Path(dump.name).stem)
    rows: list[tuple[str, ...]] = [COLUMNS, *(row for tensor in left_out for row in _rows(tensor, {}))]
    first = 0
    for number, tensors in enumerate(files):
        name = f"{stem}-{number:05d}-of-{len(files):05d}{SUFFIXES[layout]}"
        yield name, archive_file(dump, tensors, layout, {**(further or {}), "first_row": str(first)})
        first += tensors[0].views[""].shape[0]
        for tensor in tensors:
            rows += _rows(tensor, {"": name})
    yield INDEX, _index(rows)


def _rows(tensor: Exported, paths: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield what the index says of the arrays of a tensor; `paths` has the file of every part."""
    described = (tensor.axis0, tensor.class_name)
    if not tensor.views:
        yield "", tensor.name, "", "", tensor.dtype, "", *described, tensor.reason
    for part, view in tensor.views.items():
        stored = BYTES if view.is_bytes else STRING if view.is_text else str(view.dtype)
        shape = ",".join(map(str, view.shape))
        yield paths[part], tensor.name, part, shape, tensor.dtype, stored, *described, ""


def _index(rows: Iterable[tuple[str, ...]]) -> Iterator[bytes]:
    yield "".join("\t".join(map(_cell, row)) + "\n" for row in rows).encode("utf-8", "backslashreplace")


def listed_files(index: str) -> set[str]:
    """Return the files that belong to the text of an index, and the index itself; empty if it is not an index."""
    lines = index.split("\n")
    if not lines or lines[0] != "\t".join(COLUMNS):
        return set()
    listed = {line.split("\t")[0] for line in lines[1:]} - {""}
    described = {path + DESCRIPTION for path in listed if path.endswith(SUFFIXES[RAW])}
    headers = {HEADER_INDEX} if any(path.endswith(SUFFIXES["c"]) for path in listed) else set()
    return {INDEX, *listed, *described, *headers}


def _cell(text: str) -> str:
    return text.translate(_ESCAPED)
