"""INPUT arguments: which file, which array inside it, and for which input of the model."""

import re
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from tfdump.errors import InputError, with_article
from tfdump.files.byte_strings import BYTES, holds_bytes
from tfdump.files.hdf5 import damage, lookup, may_be_dataset, open_hdf5
from tfdump.files.paths import check_path, exists, mode_of
from tfdump.inputs.ragged import VlenReader, join_ragged
from tfdump.inputs.readers import Hdf5Reader, Reader, open_npy, open_npz, read_npy_stream

STDIN = "-"
_HDF5_NAMES = (".h5", ".hdf5", ".hdf")


@dataclass(frozen=True)
class InputArgument:
    """`[NAME=]FILE[::MEMBER]` taken apart; `file` is `-` for standard input."""

    text: str
    name: str | None
    file: str
    member: str | None


Open = Callable[[], Reader]
"""Opens one array of a file; what nobody asks for is never opened, and may be of any kind."""


class Given:
    """One array that the user gave; `name` is None where only its position counts.

    `optional_name` tells that the name is merely the key under which the array lies in its file.
    """

    def __init__(self, name: str | None, opened: Reader | Open, label: str = "", optional_name: bool = False) -> None:
        self.name = name
        self.optional_name = optional_name
        self._opened = opened
        self.label = label or getattr(opened, "label", "")

    def renamed(self, name: str) -> "Given":
        """Return the same array under another name."""
        return Given(name, self._opened, self.label, self.optional_name)

    def without_name(self) -> "Given":
        """Return the same array, of which only the position counts."""
        return Given(None, self._opened, self.label)

    @property
    def reader(self) -> Reader:
        """The array, opened when first asked for; raises InputError where it cannot be read."""
        if callable(self._opened):
            self._opened = self._opened()
        return self._opened


def parse_argument(text: str) -> InputArgument:
    """Take an INPUT argument apart; a file whose whole name matches wins over any reading of `=` and `::`."""
    if text == STDIN or exists(Path(text)):
        return InputArgument(text, None, text, None)
    name, equals, rest = text.partition("=")
    if not equals or not name or "/" in name or "::" in name:
        name, rest = "", text
    if exists(Path(rest)):
        return InputArgument(text, name or None, rest, None)
    file, _, member = rest.partition("::")
    return InputArgument(text, name or None, file, member or None)


def open_argument(argument: InputArgument, what: str = "input file") -> list[Given]:
    """Find the array or arrays of one INPUT argument; `what` it is, for messages.

    Raises InputError when there is no such file or member, or when it is not of a kind that can be read.
    """
    if argument.file == STDIN:
        if sys.stdin is None:
            raise InputError("standard input is closed (pipe a .npy array into it)")
        return [Given(argument.name, read_npy_stream(sys.stdin.buffer, "standard input"))]
    if not argument.file:
        raise InputError(f"'{argument.text}' names no file ({with_article(what)} is needed)")
    path = Path(argument.file)
    if re.match(r"[a-z][a-z0-9+.-]*://", argument.text):
        raise InputError(f"{argument.text} is a URL; download it first")
    mode = mode_of(path, what, InputError)
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder, not {with_article(what)}")
    if stat.S_ISFIFO(mode):
        with path.open("rb") as stream:
            return [Given(argument.name, read_npy_stream(stream, str(path)))]
    check_path(path, what, InputError)
    return _open_file(argument, path)


def input_files(texts: Sequence[str]) -> list[Path]:
    """Return the files that INPUT arguments name."""
    return [Path(argument.file) for argument in map(parse_argument, texts) if argument.file != STDIN]


def reads_stdin(texts: Sequence[str]) -> bool:
    """Tell whether one of the INPUT arguments is standard input."""
    return any(parse_argument(text).file == STDIN for text in texts)


def open_each(texts: Sequence[str], what: str = "input file") -> list[tuple[str, list[Given]]]:
    """Find the arrays of every INPUT argument; raises InputError, also when two of them want standard input."""
    check_stdin(texts)
    return [(text, open_argument(parse_argument(text), what)) for text in texts]


def check_stdin(texts: Sequence[str]) -> None:
    """Raise InputError when two of the arguments of a command want standard input."""
    if sum(parse_argument(text).file == STDIN for text in texts) > 1:
        raise InputError("standard input can feed one input only (put the others into files)")


def open_arguments(texts: Sequence[str], what: str = "input file") -> list[Given]:
    """Find the arrays of all INPUT arguments; raises InputError."""
    return [given for _, some in open_each(texts, what) for given in some]


def _open_file(argument: InputArgument, path: Path) -> list[Given]:
    magic = _first_bytes(path)
    if magic.startswith(b"\x93NUMPY"):
        if argument.member:
            raise InputError(f"{path} is one .npy array and has no '{argument.member}' inside (leave '::' out)")
        return [Given(argument.name, open_npy(path))]
    if magic.startswith(b"PK"):
        if path.suffix == ".keras":
            raise InputError(f"{path} is a model, not an input (the model comes first: MODEL INPUT...)")
        return _pick(argument, join_ragged(dict(open_npz(path)), path))
    if magic.startswith(b"\x89HDF") or path.suffix in _HDF5_NAMES:
        return _open_hdf5(argument, path)
    if not magic:
        raise InputError(f"{path} is empty (0 bytes)")
    if magic.startswith(b"\x80"):
        raise InputError(f"{path} is a pickle, which is never loaded (save the array with numpy.save)")
    raise InputError(f"{path} is neither .npy, .npz nor HDF5 (save the array with numpy.save)")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(8)
    except OSError as cause:
        raise InputError(f"cannot read {path}: {cause.strerror}") from None


def _pick(argument: InputArgument, arrays: Mapping[str, Open]) -> list[Given]:
    """Choose among the arrays of one file: the named member, or all."""

    def given(name: str | None, key: str, optional_name: bool = False) -> Given:
        return Given(name, arrays[key], f"{argument.file}::{key}", optional_name)

    if argument.member is not None:
        if argument.member not in arrays:
            keys = ", ".join(f"'{key}'" for key in arrays)
            raise InputError(f"{argument.file} has no array '{argument.member}' (it has {keys})")
        return [given(argument.name, argument.member)]
    if argument.name is None:
        return [given(key, key, optional_name=True) for key in arrays]
    if argument.name in arrays:
        return [given(argument.name, argument.name)]
    if len(arrays) > 1:
        keys = ", ".join(f"{argument.file}::{key}" for key in arrays)
        raise InputError(f"{argument.file} holds {len(arrays)} arrays; name one for '{argument.name}': {keys}")
    return [given(argument.name, next(iter(arrays)))]


def _open_hdf5(argument: InputArgument, path: Path) -> list[Given]:
    file = open_hdf5(path, InputError)
    found = lookup(file, argument.member or "/", InputError)
    if isinstance(found, h5py.Dataset):
        return [Given(argument.name, _dataset_reader(found, path))]
    if not isinstance(found, h5py.Group):
        raise InputError(f"{path}: '{argument.member}' is a type, not a dataset")
    with damage(InputError, f"{path}: '{found.name}'"):
        names = [name for name in found if may_be_dataset(found, name)]
    if not names:
        paths = ", ".join(f"{path}::{found.name.rstrip('/')}/{name}" for name in found) or "nothing"
        raise InputError(f"{path} has no dataset in '{found.name}' (it has {paths})")

    def opener(name: str) -> Open:
        return lambda: _dataset_reader(lookup(found, name, InputError), path)

    inside = InputArgument(argument.text, argument.name, argument.file, None)
    return _pick(inside, join_ragged({name: opener(name) for name in names}, path))


def _dataset_reader(dataset: h5py.Dataset, path: Path) -> Reader:
    label = f"{path}::{dataset.name}"
    with damage(InputError, label):
        text = h5py.check_string_dtype(dataset.dtype) is not None or _is_text_as_bytes(dataset)
        if h5py.check_vlen_dtype(dataset.dtype) is not None and not text:
            return VlenReader(dataset, label)
        return Hdf5Reader(dataset, label)


def _is_text_as_bytes(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset is text of a dump, and not a sequence of numbers in every row."""
    return holds_bytes(dataset.dtype) and str(dataset.attrs.get("stored_as")) == BYTES
