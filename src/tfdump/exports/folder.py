"""All tensors of a dump as the files of a folder, with an index that says which file is which tensor."""

from collections.abc import Iterable, Iterator

from tfdump.dtypes import STRING
from tfdump.dump.reader import Dump
from tfdump.exports.arrays import Exported
from tfdump.exports.formats import SUFFIXES, array_file, header_file
from tfdump.exports.names import FileNames
from tfdump.files.byte_strings import BYTES

INDEX = "index.tsv"
COLUMNS = ("file", "tensor", "part", "shape", "dtype", "stored_as", "axis0", "class", "left_out")

_ESCAPED = {number: f"\\x{number:02x}" for number in (*range(32), 127)}


def folder_files(
    dump: Dump, tensors: Iterable[Exported], layout: str, header: bool = True
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the path of every file below the folder, and its bytes; the last one is the index.

    A group is a folder and a tensor is a file; in `npy` or `csv`, every part of a composite is a file:
    `address.values.npy`. `header` tells whether a CSV file names its columns.
    """
    tensors = list(tensors)
    folders: dict[str, FileNames] = {}
    rows = [COLUMNS]
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
    for tensor in tensors:
        described = (tensor.axis0, tensor.class_name)
        if not tensor.views:
            rows.append(("", tensor.name, "", "", tensor.dtype, "", *described, tensor.reason))
        for part, view in tensor.views.items():
            path = paths[tensor.name, "" if layout == "c" else part]
            stored = BYTES if view.is_bytes else STRING if view.is_text else str(view.dtype)
            shape = ",".join(map(str, view.shape))
            rows.append((path, tensor.name, part, shape, tensor.dtype, stored, *described, ""))
        if tensor.views and layout == "c":
            yield paths[tensor.name, ""], header_file(dump, tensor)
        else:
            for part in tensor.views:
                yield paths[tensor.name, part], array_file(tensor, part, layout, header)
    yield INDEX, iter(["".join("\t".join(map(_cell, row)) + "\n" for row in rows).encode("utf-8", "backslashreplace")])


def listed_files(index: str) -> set[str]:
    """Return the files that the text of an index lists, and the index itself; empty if it is not an index."""
    lines = index.split("\n")
    if not lines or lines[0] != "\t".join(COLUMNS):
        return set()
    return {INDEX, *(line.split("\t")[0] for line in lines[1:])} - {""}


def _cell(text: str) -> str:
    return text.translate(_ESCAPED)
