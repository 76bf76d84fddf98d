"""INPUT arguments: the file, the array inside it, and the input of the model that it is for."""

import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py

from tfdump.errors import InputError, with_article
from tfdump.files.byte_strings import BYTES, holds_bytes
from tfdump.files.formats import Mark, mark_of
from tfdump.files.hdf5 import damage, lookup, may_be_dataset, open_hdf5
from tfdump.files.paths import check_path, exists, mode_of
from tfdump.inputs.archive_members import members_of
from tfdump.inputs.data_options import ARRAYS_ONLY, DataOptions
from tfdump.inputs.input_array import InputArray, OpenReader
from tfdump.inputs.other_kinds import TABLES, open_other, open_several, open_without_files
from tfdump.inputs.ragged import VlenReader, join_ragged
from tfdump.inputs.readers import Hdf5Reader, Reader, open_npy, open_npz, read_npy_stream

STDIN = "-"
_MEMBER = "::"
_HDF5_NAMES = (".h5", ".hdf5", ".hdf")


@dataclass(frozen=True)
class InputArgument:
    """The parts of `[NAME=]FILE[::MEMBER]`; `file` is `-` for standard input."""

    text: str
    name: str | None
    file: str
    member: str | None


def parse_argument(text: str) -> InputArgument:
    """Split an INPUT argument into its parts; a file with that whole name is meant where there is one.

    So is the longest name of a file with which `[NAME=]FILE::MEMBER` begins, as names may contain `=` and `::`.
    """
    name, equals, rest = text.partition("=")
    if not equals or not name or "/" in name or "::" in name:
        name, rest = "", text
    readings = ((None, text), (name or None, rest))
    for who, parts in readings:
        if parts == STDIN or _is_there(parts):
            return InputArgument(text, who, parts, None)
    for who, parts in readings:
        ends = [match.start() for match in re.finditer(f"(?={_MEMBER})", parts)]
        for end in reversed(ends):
            if _is_there(parts[:end]):
                return InputArgument(text, who, parts[:end], parts[end + len(_MEMBER) :] or None)
    file, _, member = rest.partition(_MEMBER)
    return InputArgument(text, name or None, file, member or None)


def _is_there(text: str) -> bool:
    """Tell whether a file is there, or a list of files after `@`."""
    return bool(text) and (exists(Path(text)) or (text.startswith("@") and exists(Path(text[1:]))))


def open_argument(
    argument: InputArgument, what: str = "input file", options: DataOptions = ARRAYS_ONLY
) -> list[InputArray]:
    """Return the array or arrays of one INPUT argument. Messages call it `what`.

    Raises InputError where there is no such file or member, or where its kind cannot be read.
    """
    if argument.file == STDIN:
        if sys.stdin is None:
            raise InputError("standard input is closed (pipe a .npy array into it)")
        return [InputArray(argument.name, read_npy_stream(sys.stdin.buffer, "standard input"))]
    if not argument.file:
        raise InputError(f"'{argument.text}' does not name a file ({with_article(what)} is needed)")
    path = Path(argument.file)
    if re.match(r"[a-z][a-z0-9+.-]*://", argument.text):
        raise InputError(f"{argument.text} is a URL, not a file (download it first)")
    if several := open_several(argument.name, argument.file, argument.member, options):
        return several
    mode = mode_of(path, what, InputError)
    if other := open_other(argument.name, path, argument.member, stat.S_ISDIR(mode), options):
        return other
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder, not {with_article(what)}")
    if stat.S_ISFIFO(mode):
        with path.open("rb") as stream:
            return [InputArray(argument.name, read_npy_stream(stream, str(path)))]
    check_path(path, what, InputError)
    return _open_file(argument, path)


def input_files(texts: Sequence[str]) -> list[Path]:
    """Return the files that INPUT arguments name."""
    return [Path(argument.file) for argument in map(parse_argument, texts) if argument.file != STDIN]


def reads_stdin(texts: Sequence[str]) -> bool:
    """Tell whether one of the INPUT arguments is standard input."""
    return any(parse_argument(text).file == STDIN for text in texts)


def open_each(
    texts: Sequence[str], what: str = "input file", options: DataOptions = ARRAYS_ONLY
) -> list[tuple[str, list[InputArray]]]:
    """Return the arrays of every INPUT argument; raises InputError, also where two of them are standard input.

    Data that takes the place of arguments counts as one argument.
    """
    check_stdin(texts)
    if made := open_without_files(options):
        return [made]
    return [(text, open_argument(parse_argument(text), what, options)) for text in texts]


def check_stdin(texts: Sequence[str]) -> None:
    """Raise InputError where two of the arguments of a command are standard input."""
    if sum(parse_argument(text).file == STDIN for text in texts) > 1:
        raise InputError("standard input can be only one of the inputs (put the others into files)")


def open_arguments(
    texts: Sequence[str], what: str = "input file", options: DataOptions = ARRAYS_ONLY
) -> list[InputArray]:
    """Return the arrays of all INPUT arguments; raises InputError."""
    return [array for _, arrays in open_each(texts, what, options) for array in arrays]


def open_targets(texts: Sequence[str], options: DataOptions, has_ids: bool) -> list[InputArray]:
    """Return the arrays of targets; raises InputError.

    A table among them has the names of `options.id_column`. Where the inputs have such names already (`has_ids`), it
    may lack that column.
    """
    options = replace(options, random=None, function=None, preset=None)
    without = replace(options, id_column=None)
    arrays: list[InputArray] = []
    check_stdin(texts)
    for text in texts:
        argument = parse_argument(text)
        try:
            arrays += open_argument(argument, "targets file", options)
        except InputError:
            if options.id_column is None or not has_ids:
                raise
            arrays += open_argument(argument, "targets file", without)
    return arrays


def has_table(texts: Sequence[str]) -> bool:
    """Tell whether one of the arguments is a table."""
    return any(parse_argument(text).file.lower().endswith(TABLES) for text in texts)


def _open_file(argument: InputArgument, path: Path) -> list[InputArray]:
    mark = mark_of(path, InputError)
    if mark is Mark.NPY:
        if argument.member:
            raise InputError(
                f"{path} is one .npy array and has no '{argument.member}' inside (leave '::{argument.member}' out)"
            )
        return [InputArray(argument.name, open_npy(path))]
    if mark is Mark.ZIP:
        if path.suffix == ".keras":
            raise InputError(f"{path} is a model, not an input (the model comes first: MODEL INPUT...)")
        return members_of(argument.name, path, argument.member, join_ragged(dict(open_npz(path)), path))
    if mark is Mark.HDF5 or path.suffix in _HDF5_NAMES:
        return _open_hdf5(argument, path)
    if mark is Mark.EMPTY:
        raise InputError(f"{path} is empty (0 bytes)")
    if mark is Mark.PICKLE:
        raise InputError(f"{path} is a pickle, which tfdump never loads (save the array with numpy.save)")
    raise InputError(
        f"{path} is not a .npy, .npz or HDF5 file, and its ending is not one of images, tables, text, records or sound "
        "(save the array with numpy.save)"
    )


def _open_hdf5(argument: InputArgument, path: Path) -> list[InputArray]:
    file = open_hdf5(path, InputError)
    item = lookup(file, argument.member or "/", InputError)
    if isinstance(item, h5py.Dataset):
        return [InputArray(argument.name, _dataset_reader(item, path))]
    if not isinstance(item, h5py.Group):
        raise InputError(f"{path}: '{argument.member}' is a named type, not a dataset")
    with damage(InputError, f"{path}: '{item.name}'"):
        names = [name for name in item if may_be_dataset(item, name)]
    if not names:
        paths = ", ".join(f"{path}::{item.name.rstrip('/')}/{name}" for name in item) or "nothing"
        raise InputError(f"{path} has no dataset in '{item.name}' (it has {paths})")

    def opener(name: str) -> OpenReader:
        return lambda: _dataset_reader(lookup(item, name, InputError), path)

    return members_of(argument.name, path, None, join_ragged({name: opener(name) for name in names}, path))


def _dataset_reader(dataset: h5py.Dataset, path: Path) -> Reader:
    label = f"{path}::{dataset.name}"
    with damage(InputError, label):
        text = h5py.check_string_dtype(dataset.dtype) is not None or _is_text_as_bytes(dataset)
        if h5py.check_vlen_dtype(dataset.dtype) is not None and not text:
            return VlenReader(dataset, label)
        return Hdf5Reader(dataset, label)


def _is_text_as_bytes(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset is text that a dump stores as bytes, and not a sequence of numbers per row."""
    return holds_bytes(dataset.dtype) and str(dataset.attrs.get("stored_as")) == BYTES
