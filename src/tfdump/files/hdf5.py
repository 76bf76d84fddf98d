"""Opens HDF5 files from strangers safely: no link leads out of the file, and no dataset has its values elsewhere."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from tfdump.errors import TfdumpError, near, reason_of
from tfdump.files.hdf5_text import text_memory
from tfdump.files.limits import check_bytes
from tfdump.files.paths import check_path

_MOST_COMPRESSED = 1100
"""Above this ratio gzip cannot have compressed the values: its limit is 1032."""

_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, UnicodeError)
"""The errors that h5py raises for a damaged file."""

_SMALL_BYTES = 1 << 20

_LARGEST_ATTRIBUTE = 16 << 20
"""The largest attribute that is read. Above 64 kB an attribute needs separate storage, which tfdump never writes,
but the architecture of a Keras model may.
"""

_MOST_TEXTS = 4096
"""The largest number of variable-length texts in one attribute; all of them may be the same long text."""


def open_hdf5(path: Path, error: type[TfdumpError], cache: int | None = None) -> h5py.File:
    """Open an HDF5 file for reading; raises `error` with one line if that is not possible.

    `cache` is the number of bytes of chunks that are cached, None for the default of HDF5.
    """
    check_path(path, "file", error)
    if path.is_dir():
        raise error(f"{path} is a folder, not an HDF5 file")
    try:
        with path.open("rb"):
            pass
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror}") from None
    try:
        is_hdf5 = h5py.is_hdf5(path)
        if is_hdf5:
            return h5py.File(path, "r", rdcc_nbytes=cache)
    except OSError as cause:
        if "truncated" in str(cause):
            raise error(f"{path} is truncated: it is shorter than its own header says") from None
        raise error(f"cannot open {path}: {_reason(cause)}") from None
    raise error(f"{path} is not an HDF5 file")


def lookup(group: h5py.Group, name: str, error: type[TfdumpError]) -> h5py.Group | h5py.Dataset:
    """Return the object at the path `name` below `group`, following hard links only.

    Raises `error` if nothing is there (with near names), if a soft or external link is in the way, and for a dataset
    whose values are in other files.
    """
    with damage(error, f"{group.file.filename}: '{name}'"):
        return _walk(group, name, error)


def _walk(group: h5py.Group, name: str, error: type[TfdumpError]) -> h5py.Group | h5py.Dataset:
    here: Any = group
    walked = ""
    for part in (part for part in name.split("/") if part):
        if not isinstance(here, h5py.Group) or not has_link(here, part):
            known = [str(key) for key in here] if isinstance(here, h5py.Group) else []
            raise error(f"{group.file.filename} has no '{walked}/{part}'{near(part, known)}")
        link = here.get(part, getlink=True)
        walked += "/" + part
        if not isinstance(link, h5py.HardLink):
            raise error(
                f"{group.file.filename}: '{walked}' is a link to another place, which is not followed "
                "(copy the data into the file itself)"
            )
        here = here[part]
    if isinstance(here, h5py.Dataset):
        check_stored_inside(here, error)
    return here


@contextmanager
def damage(error: type[TfdumpError], where: str) -> Iterator[None]:
    """Turn what h5py raises for a damaged file into `error`."""
    try:
        yield
    except _DAMAGE as cause:
        raise error(damage_of(where, cause)) from cause


def damage_of(where: str, cause: BaseException) -> str:
    """Return the line that says what h5py found wrong with a damaged file."""
    return f"{where} is damaged: {reason_of(cause)}"


def raised_by_hdf5(error: BaseException) -> bool:
    """Tell whether h5py itself raised an error, which any access to a damaged file may do."""
    here = error.__traceback__
    while here is not None and here.tb_next is not None:
        here = here.tb_next
    made_in = here.tb_frame.f_code.co_filename if here is not None else ""
    return isinstance(error, _DAMAGE) and "h5py" in Path(made_in).parts


def may_be_dataset(group: h5py.Group, name: str) -> bool:
    """Tell whether a member of a group is not a sub-group; True for links to elsewhere and damaged members."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return True
    try:
        return group.get(name, getclass=True) is not h5py.Group
    except (OSError, KeyError, RuntimeError):
        return True


def has_link(group: h5py.Group, name: str) -> bool:
    """Tell whether a group has a link of this name, without following the link as `name in group` does."""
    return name != "." and group.get(name, getlink=True) is not None


def check_stored_inside(dataset: h5py.Dataset, error: type[TfdumpError]) -> None:
    """Raise `error` if a dataset is virtual or has external storage."""
    if dataset.is_virtual or dataset.external:
        kind = "virtual" if dataset.is_virtual else "stored in external files"
        raise error(
            f"{dataset.file.filename}: '{dataset.name}' is {kind}, and other files are not read "
            "(copy the data into the file itself)"
        )


def check_declared(dataset: h5py.Dataset, error: type[TfdumpError]) -> None:
    """Raise `error` if a dataset declares more values than its file can hold, however well compressed."""
    declared = declared_bytes(dataset)
    if declared <= _SMALL_BYTES or declared <= dataset.file.id.get_filesize() * _MOST_COMPRESSED:
        return
    if dataset.chunks is not None and _chunk_bytes(dataset) * dataset.id.get_num_chunks() >= declared:
        return  # other filters than gzip do better on long runs of one value, but every chunk is there
    raise error(f"{dataset.file.filename}: '{dataset.name}' is damaged: it declares more values than the file holds")


def declared_bytes(dataset: h5py.Dataset) -> int:
    """Return the bytes that the values of a dataset take in memory; for text, those of the references to it."""
    return 0 if dataset.shape is None else int(math.prod(dataset.shape)) * int(dataset.dtype.itemsize)


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return int(math.prod(dataset.chunks)) * int(dataset.dtype.itemsize)


def place_of(dataset: h5py.Dataset, start: int, stop: int) -> tuple[int, int] | None:
    """Return the first byte in the file of the rows from `start` to `stop`, and the byte after the last one.

    None if the rows have no such place. For chunks, only the first and the last one are looked at.
    """
    try:
        if dataset.chunks is None:
            offset, row = dataset.id.get_offset(), dataset.id.get_type().get_size() * math.prod(dataset.shape[1:])
            return None if offset is None else (offset + start * row, offset + stop * row)
        rows = dataset.chunks[0]
        behind = [
            (size - 1) // chunk * chunk for size, chunk in zip(dataset.shape[1:], dataset.chunks[1:], strict=True)
        ]
        first = dataset.id.get_chunk_info_by_coord((start // rows * rows, *(0 for _ in behind)))
        last = dataset.id.get_chunk_info_by_coord(((stop - 1) // rows * rows, *behind))
        low, high = first.byte_offset, last.byte_offset
    except _DAMAGE:
        return None
    return None if low is None or high is None or high < low else (low, high + last.size)


def check_attributes(item: h5py.Group | h5py.Dataset, error: type[TfdumpError]) -> None:
    """Raise `error` if an attribute is larger than any that is written on purpose, before it is read."""
    for number in range(h5py.h5a.get_num_attrs(item.id)):
        _check_attribute(item, h5py.h5a.open(item.id, index=number), error)


def _check_attribute(item: h5py.Group | h5py.Dataset, attribute: h5py.h5a.AttrID, error: type[TfdumpError]) -> None:
    kind, count = attribute.get_type(), 0 if attribute.shape is None else math.prod(attribute.shape)
    listed = isinstance(kind, h5py.h5t.TypeVlenID)
    text = isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()
    if kind.get_size() * count > _LARGEST_ATTRIBUTE or ((listed or text) and count > _MOST_TEXTS):
        name = attribute.name.decode(errors="backslashreplace")
        raise error(
            f"{item.file.filename}: the attribute '{name}' of '{item.name}' is damaged: it is larger than any "
            "that a model or a dump has"
        )


def some_attributes(item: h5py.Group | h5py.Dataset, names: Iterable[str], error: type[TfdumpError]) -> dict[str, Any]:
    """Return those of some attributes that an object has, as `attributes_of` does."""
    there = [name for name in names if name in item.attrs]
    for name in there:
        _check_attribute(item, h5py.h5a.open(item.id, name.encode()), error)
    with text_memory(item.file):
        return {name: item.attrs[name] for name in there}


def attributes_of(item: h5py.Group | h5py.Dataset, error: type[TfdumpError]) -> dict[str, Any]:
    """Return all attributes of an object as h5py reads them; raises `error` for one that is too large."""
    check_attributes(item, error)
    with text_memory(item.file):
        return dict(item.attrs)


def check_whole(file: h5py.File, name: str, limit: int | None, error: type[TfdumpError]) -> int:
    """Return the bytes that all datasets of a file declare, after examining everything in it.

    Raises `error` if a link leads elsewhere, if values are outside of the file or more than it can hold, if they exceed
    `limit` together, and for lists of unknown length. `name` is the name of the file, for the message. Cycles of hard
    links are followed once.
    """
    total = 0
    visited = set()
    waiting: list[h5py.Group] = [file["/"]]
    while waiting:
        group = waiting.pop()
        info = h5py.h5o.get_info(group.id)
        if (info.fileno, info.addr) in visited:
            continue
        visited.add((info.fileno, info.addr))
        check_attributes(group, error)
        for member in group:
            item = lookup(group, member, error)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                check_attributes(item, error)
                check_declared(item, error)
                if item.dtype.hasobject:
                    raise error(f"{name}: '{item.name}' holds text, references or lists, which cannot be weights")
                total += declared_bytes(item)
                check_bytes(total, limit, f"{name} declares weights of", error)
    return total


def state_of_file(file: h5py.File) -> tuple[int, int] | None:
    """Return the size and the time of the last change of an open file; None if it is not a plain file."""
    if file.driver != "sec2":
        return None
    status = os.fstat(file.id.get_vfd_handle())
    return status.st_size, status.st_mtime_ns


def _reason(cause: OSError) -> str:
    """Return the informative part of HDF5's message."""
    text = str(cause)
    return text[text.find("(") + 1 : text.rfind(")")] if "(" in text else text
