"""Checksums of a dump: a CRC-32 of the values of every dataset, and one of all names, shapes and attributes.

The CRC-32 is that of zlib, gzip and PNG (ISO 3309). It detects every flipped bit, and every burst of up to 32 bits.
Values are taken in C order and little endian, in their stored type, before compression. Text is taken as UTF-8 with a
NUL after every item, and byte strings (text that HDF5 strings cannot hold) after their length as a uint64. So a
checksum survives `h5repack`, `h5copy`, and any change of chunks or filters.
"""

import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import h5py
import numpy as np

from tfdump.dump.parts import Part
from tfdump.errors import DumpError
from tfdump.files.byte_strings import read_byte_strings
from tfdump.files.hdf5 import attributes_of, damage, lookup
from tfdump.files.hdf5_text import text_memory
from tfdump.tensors import Array

VALUES = "crc32"
"""The attribute of a dataset that holds the CRC-32 of its values."""

DESCRIPTION = "crc32_description"
"""The attribute of the root that holds the CRC-32 of all names, shapes, dtypes and other attributes."""


@dataclass(frozen=True)
class Verified:
    """The result of one checksum.

    Attributes
    ----------
    name : str
        Path of a dataset, or "/" for the names and attributes of everything.
    bytes : int
        Number of bytes that were read.
    stored, computed : int or None
        The CRC-32 in the file, and that of what was read; None if there is none.
    problem : str or None
        What is wrong, in words; None if nothing is.
    """

    name: str
    bytes: int
    stored: int | None
    computed: int | None
    problem: str | None


def crc_of(values: Array, before: int = 0) -> int:
    """Return the CRC-32 of values as they are stored, continuing the CRC-32 `before` of earlier values."""
    if values.dtype.kind == "O":
        texts = (item if isinstance(item, bytes) else str(item).encode() for item in values.reshape(-1))
        return zlib.crc32(b"".join(text + b"\0" for text in texts), before)
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return zlib.crc32(plain.reshape(-1).view(np.uint8).data, before)


def crc_of_bytes(values: Array, before: int = 0) -> int:
    """Return the CRC-32 of an object array of byte strings, continuing the CRC-32 `before` of earlier ones."""
    return zlib.crc32(b"".join(len(item).to_bytes(8, "little") + item for item in values.reshape(-1)), before)


def seal(dataset: h5py.Dataset, crc: int) -> None:
    """Store the checksum of the values of a dataset, before its other attributes."""
    dataset.attrs.create(VALUES, np.uint32(crc))


def description_crc(file: h5py.File) -> int:
    """Return the CRC-32 of the names, shapes, dtypes and attributes of everything in a file, in the order of the file.

    Raises DumpError if they cannot be read.
    """
    crc = _describe("/", file)
    for name, item in _walk(file):
        if isinstance(item, DumpError):
            raise item
        crc = _describe(name, item, crc)
    return crc


def verify(file: h5py.File) -> Iterator[Verified]:
    """Read a whole dump and yield the result of every checksum; the last one covers the names and attributes.

    Raises DumpError for a dump without checksums.
    """
    if DESCRIPTION not in file.attrs:
        raise DumpError(f"{file.filename} holds no checksums (make it with --checksums)")
    for name, item in _walk(file):
        if isinstance(item, DumpError):
            yield Verified(name, 0, None, None, str(item))
        elif isinstance(item, h5py.Dataset):
            yield _verify_values(name, item)
    yield _verify_description(file)


def _verify_values(name: str, dataset: h5py.Dataset) -> Verified:
    stored, crc, size = None, 0, 0
    try:
        with damage(DumpError, f"{dataset.file.filename}: '{name}'"):
            stored = _stored(dataset, VALUES)
            part = Part("", dataset)
            for key in part.keys():  # noqa: SIM118 - a part is no mapping
                with text_memory(dataset.file) if part.is_text else nullcontext():
                    values = read_byte_strings(dataset, key) if part.is_bytes else np.asarray(dataset[key], part.dtype)
                crc = crc_of_bytes(values, crc) if part.is_bytes else crc_of(values, crc)
                size += values.nbytes
    except DumpError as error:
        return Verified(name, size, stored, None, str(error))
    return Verified(name, size, stored, crc, _difference(stored, crc, "its values"))


def _verify_description(file: h5py.File) -> Verified:
    stored = None
    try:
        with damage(DumpError, f"{file.filename}: '/'"):
            stored = _stored(file, DESCRIPTION)
            crc = description_crc(file)
    except DumpError as error:
        return Verified("/", 0, stored, None, str(error))
    return Verified("/", 0, stored, crc, _difference(stored, crc, "a name, a shape or an attribute"))


def _stored(item: h5py.Group | h5py.Dataset, name: str) -> int | None:
    return int(item.attrs[name]) if name in item.attrs else None


def _difference(stored: int | None, computed: int, what: str) -> str | None:
    if stored is None:
        return "has no checksum"
    return None if stored == computed else f"{what} changed"


def _walk(
    group: h5py.Group, path: str = "", places: set[int] | None = None
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset | DumpError]]:
    """Yield everything below a group with its path, once, in the order of the file; an error if it cannot be read."""
    places = set() if places is None else places
    try:
        with damage(DumpError, f"{group.file.filename}: '{path or '/'}'"):
            names = list(group)
    except DumpError as error:
        yield path or "/", error
        return
    for name in names:
        here = f"{path}/{name}".lstrip("/")
        try:
            item = lookup(group, name, DumpError)
            with damage(DumpError, f"{group.file.filename}: '{here}'"):
                place = h5py.h5o.get_info(item.id).addr
        except DumpError as error:
            yield here, error
            continue
        if place in places:  # a second link to the same object, or a group that contains itself
            continue
        places.add(place)
        yield here, item
        if isinstance(item, h5py.Group):
            yield from _walk(item, here, places)


def _describe(name: str, item: h5py.Group | h5py.Dataset, before: int = 0) -> int:
    """Return the CRC-32 of the name, shape, dtype and attributes of one object, continuing that of earlier objects."""
    with damage(DumpError, f"{item.file.filename}: '{name}'"):
        kind = f"{item.shape} {item.dtype}" if isinstance(item, h5py.Dataset) else "group"
        crc = zlib.crc32(f"{name}\0{kind}\0".encode(), before)
        attributes = attributes_of(item, DumpError)
        for key in sorted(attributes.keys() - {DESCRIPTION}):
            value = np.asarray(attributes[key])
            value = value.astype(object) if value.dtype.kind in "SU" else value
            crc = crc_of(value, zlib.crc32(f"{key}\0{value.shape} {value.dtype}\0".encode(), crc))
        return crc
