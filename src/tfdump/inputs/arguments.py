"""INPUT arguments: which file, which array inside it, and for which input of the model."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py

from tfdump.errors import InputError
from tfdump.hdf5 import lookup, open_hdf5
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


@dataclass(frozen=True)
class Given:
    """One array that the user gave; `name` is None where only its position counts.

    `optional_name` tells that the name is merely the key under which the array lies in its file.
    """

    name: str | None
    reader: Reader
    optional_name: bool = False


def parse_argument(text: str) -> InputArgument:
    """Take an INPUT argument apart; a file whose whole name matches wins over any reading of `=` and `::`."""
    if text == STDIN or Path(text).exists():
        return InputArgument(text, None, text, None)
    name, equals, rest = text.partition("=")
    if not equals or not name or "/" in name or "::" in name:
        name, rest = "", text
    if Path(rest).exists():
        return InputArgument(text, name or None, rest, None)
    file, _, member = rest.partition("::")
    return InputArgument(text, name or None, file, member or None)


def open_argument(argument: InputArgument) -> list[Given]:
    """Open the array or arrays of one INPUT argument.

    Raises InputError when there is no such file or member, or when it is not of a kind that can be read.
    """
    if argument.file == STDIN:
        reader: Reader = read_npy_stream(sys.stdin.buffer, "standard input")
        return [Given(argument.name, reader)]
    path = Path(argument.file)
    _require_file(path, argument)
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


def _require_file(path: Path, argument: InputArgument) -> None:
    if re.match(r"[a-z][a-z0-9+.-]*://", argument.text):
        raise InputError(f"{argument.text} is a URL; download it first")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not an input file")
    if not path.exists():
        raise InputError(f"no such input file: {path}")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(8)
    except OSError as cause:
        raise InputError(f"cannot read {path}: {cause.strerror}") from None


def _pick(argument: InputArgument, arrays: dict[str, Reader]) -> list[Given]:
    """Choose among the arrays of one file: the named member, or all."""
    if argument.member is not None:
        if argument.member not in arrays:
            keys = ", ".join(f"'{key}'" for key in arrays)
            raise InputError(f"{argument.file} has no array '{argument.member}' (it has {keys})")
        return [Given(argument.name, arrays[argument.member])]
    if argument.name is None:
        return [Given(key, reader, optional_name=True) for key, reader in arrays.items()]
    if argument.name in arrays:
        return [Given(argument.name, arrays[argument.name])]
    if len(arrays) > 1:
        keys = ", ".join(f"{argument.file}::{key}" for key in arrays)
        raise InputError(f"{argument.file} holds {len(arrays)} arrays; name one for '{argument.name}': {keys}")
    return [Given(argument.name, next(iter(arrays.values())))]


def _open_hdf5(argument: InputArgument, path: Path) -> list[Given]:
    file = open_hdf5(path, InputError)
    found = lookup(file, argument.member or "/", InputError)
    if isinstance(found, h5py.Dataset):
        return [Given(argument.name, _dataset_reader(found, path))]
    if not isinstance(found, h5py.Group):
        raise InputError(f"{path}: '{argument.member}' is a type, not a dataset")
    members = {str(name): lookup(found, str(name), InputError) for name in found}
    datasets = {name: item for name, item in members.items() if isinstance(item, h5py.Dataset)}
    if not datasets:
        paths = ", ".join(f"{path}::{item.name}" for item in members.values()) or "nothing"
        raise InputError(f"{path} has no dataset in '{found.name}' (it has {paths})")
    readers = {name: _dataset_reader(item, path) for name, item in datasets.items()}
    inside = InputArgument(argument.text, argument.name, argument.file, None)
    return _pick(inside, join_ragged(readers, path))


def _dataset_reader(dataset: h5py.Dataset, path: Path) -> Reader:
    label = f"{path}::{dataset.name}"
    if h5py.check_vlen_dtype(dataset.dtype) is not None and h5py.check_string_dtype(dataset.dtype) is None:
        return VlenReader(dataset, label)
    return Hdf5Reader(dataset, label)
