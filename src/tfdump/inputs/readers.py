"""Readers: arrays in files, read a few rows at a time and never as a whole."""

import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError, reason_of
from tfdump.files.byte_strings import holds_bytes, read_byte_strings
from tfdump.files.hdf5 import check_declared, place_of
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.npy_header import STREAM_ERRORS, ArrayHeader, read_header
from tfdump.inputs.read_behind import ReadBehind
from tfdump.tensors import Array

_SMALL_BYTES = 64 << 20
"""Bytes that may be held in memory whole. A larger standard input goes to a temporary file."""

LARGEST_BAND = 512 << 20
"""Bytes of decompressed chunks that stay in memory at most, so that each chunk is decompressed once."""


_MOST_DEFLATED = 1100
"""The compression of zip archives makes bytes at most 1032 times smaller; this is a limit above it."""


class Reader(Protocol):
    """An array whose first axis is the example; `label` tells in messages where it comes from."""

    label: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""


class ArrayReader:
    """An array in memory."""

    def __init__(self, array: npt.ArrayLike, label: str) -> None:
        self._array = np.asarray(array)
        self.label = label
        self.shape = self._array.shape
        self.dtype = self._array.dtype

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""
        return np.atleast_1d(self._array)[start:stop]


class NpyReader:
    """An array in the `.npy` format, in a stream that can seek.

    Rows are read by offset and not through a memory map: mapped pages count as memory of the process, and a file that
    shrinks while it is mapped kills the process.
    """

    def __init__(
        self,
        stream: IO[bytes],
        label: str,
        length: int | None = None,
        handle: int | None = None,
        header: ArrayHeader | None = None,
    ) -> None:
        """Read the header, unless it is given because another format has it elsewhere.

        `length` is the length of the stream in bytes, for a stream that has to be read to its end to tell. `handle` is
        the file descriptor, for a stream that is a file of its own.
        """
        self.label = label
        self._stream = stream
        self.shape, self._fortran, self.dtype = header or read_header(stream, label)
        if self.dtype.hasobject:
            raise InputError(f"{label} holds pickled Python objects, which tfdump never loads (save a plain array)")
        self._offset = stream.tell()
        self._row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        self._whole: Array | None = None
        size = self.dtype.itemsize * math.prod(self.shape)
        self._behind = None if handle is None or self._fortran else ReadBehind(handle, size, self._place)
        self._check_length(length, size)

    def _check_length(self, length: int | None, declared: int) -> None:
        """Raise InputError for an array that is shorter than its header says."""
        there = (self._stream.seek(0, 2) if length is None else length) - self._offset
        if there < declared:
            raise InputError(
                f"{self.label} is truncated: its header declares {declared} bytes for the shape {self.shape}, "
                f"and the file has {there} (copy the file again)"
            )

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""
        if self._fortran and len(self.shape) > 1:
            return self._read_fortran(start, stop)
        rows = self._read_bytes(start * self._row_bytes, (stop - start) * self._row_bytes)
        if self._behind is not None:
            self._behind.add(start, stop, rows.nbytes)
        return rows.view(self.dtype).reshape(stop - start, *self.shape[1:])

    def _place(self, start: int, stop: int) -> tuple[int, int]:
        return self._offset + start * self._row_bytes, self._offset + stop * self._row_bytes

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _read_fortran(self, start: int, stop: int) -> Array:
        """Return rows of an array in Fortran order, of which every column has a piece.

        A small array is read once and as a whole, and so is one in an archive, where no column can be read alone.
        """
        size = self.dtype.itemsize * math.prod(self.shape)
        if size <= _SMALL_BYTES or isinstance(self._stream, zipfile.ZipExtFile):
            if self._whole is None:
                self._whole = self._read_bytes(0, size).view(self.dtype).reshape(self.shape, order="F")
            return self._whole[start:stop]
        rows = np.empty((math.prod(self.shape[1:]), stop - start), self.dtype)
        for column in range(len(rows)):
            first = (column * self.shape[0] + start) * self.dtype.itemsize
            rows[column] = self._read_bytes(first, rows[column].nbytes).view(self.dtype)
        return rows.T.reshape(stop - start, *self.shape[1:], order="F")

    def _read_bytes(self, start: int, count: int) -> npt.NDArray[np.uint8]:
        check_bytes(count, allowed_bytes(), f"{self.label}: one batch of rows takes", InputError)
        buffer = np.empty(count, np.uint8)
        view = memoryview(buffer.data)
        try:
            _seek(self._stream, self._offset + start)
            done = 0
            while done < count:
                got = self._stream.readinto(view[done:])  # type: ignore[attr-defined]  # all binary streams used here have readinto
                if not got:
                    raise InputError(
                        f"{self.label} ended early: {count - done} bytes of its rows are missing (was it changed?)"
                    )
                done += got
        except STREAM_ERRORS as cause:
            raise InputError(f"cannot read {self.label}: {reason_of(cause)}") from None
        return buffer


class Hdf5Reader:
    """A dataset of an HDF5 file, read by slices.

    HDF5 decompresses a chunk again for every batch that touches it. So the rows of whole chunks stay in memory until
    the next ones are read. `rereads` is True where these rows take more than LARGEST_BAND bytes, and do not stay.
    """

    def __init__(self, dataset: h5py.Dataset, label: str) -> None:
        self.label = label
        self._dataset = dataset
        self._bytes = holds_bytes(dataset.dtype)  # text of a dump that strings of HDF5 cannot hold
        self._text = self._bytes or h5py.check_string_dtype(dataset.dtype) is not None
        if dataset.shape is None:
            raise InputError(f"{label} is empty (a null dataspace)")
        check_declared(dataset, InputError)
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.dtype = np.dtype(object) if self._text else dataset.dtype
        if not self._text and self.dtype.hasobject:
            raise InputError(
                f"{label} holds references or lists, and not numbers or text (store its values as an array)"
            )
        filtered = dataset.chunks is not None and dataset.id.get_create_plist().get_nfilters() > 0
        self.chunk_rows = dataset.chunks[0] if filtered and dataset.chunks[0] > 1 else 0
        self.band_bytes = self.chunk_rows * self.dtype.itemsize * math.prod(self.shape[1:])
        self.rereads = self.band_bytes > LARGEST_BAND
        self._behind: ReadBehind | None = None
        if dataset.file.driver == "sec2" and not self.rereads:  # chunks that are read again stay in the page cache
            place = partial(place_of, dataset)
            self._behind = ReadBehind(dataset.file.id.get_vfd_handle(), dataset.id.get_storage_size(), place)
        self._band: tuple[int, Array] | None = None  # its first row, and its rows

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""
        if not self.chunk_rows or self.rereads or stop <= start:
            return self._read(start, stop)
        pieces = []
        while start < stop:
            end = min(stop, (start // self.chunk_rows + 1) * self.chunk_rows)
            pieces.append(self._read_in_band(start, end))
            start = end
        return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]

    def _read_in_band(self, start: int, stop: int) -> Array:
        """Return rows that lie in one band of chunks; the band stays in memory unless all its rows are read at once."""
        first = start // self.chunk_rows * self.chunk_rows
        end = min(first + self.chunk_rows, self.shape[0])
        if self._band is None or self._band[0] != first:
            if (start, stop) == (first, end):
                return self._read(start, stop)
            self._band = None  # before the next band is read, so that only one is in memory
            self._band = first, self._read(first, end)
        return self._band[1][start - first : stop - first]

    def _read(self, start: int, stop: int) -> Array:
        size = (stop - start) * math.prod(self.shape[1:]) * self._dataset.dtype.itemsize
        chunk = math.prod(self._dataset.chunks or ()) * self._dataset.dtype.itemsize
        check_bytes(max(size, chunk), allowed_bytes(), f"{self.label}: one batch of rows takes", InputError)
        try:
            key = slice(start, stop) if self.shape else ()
            rows = read_byte_strings(self._dataset, key) if self._bytes else np.asarray(self._dataset[key])
            rows = np.atleast_1d(rows)
        except (OSError, RuntimeError, ValueError) as cause:
            raise InputError(f"cannot read {self.label}: {reason_of(cause)}") from None
        if self._behind is not None:
            self._behind.add(start, stop, rows.nbytes)
        return rows


def open_npy(path: Path) -> NpyReader:
    """Open a `.npy` file."""
    try:
        stream = path.open("rb")
        return NpyReader(stream, str(path), handle=stream.fileno())
    except OSError as cause:
        raise InputError(f"cannot read {path}: {cause.strerror}") from None


def read_npy_stream(stream: IO[bytes], label: str) -> NpyReader:
    """Read a `.npy` array from a pipe, through a temporary file where it is large."""
    spool = tempfile.SpooledTemporaryFile(max_size=_SMALL_BYTES)  # noqa: SIM115 - the reader keeps it open
    shutil.copyfileobj(stream, spool, 1 << 20)
    if spool.tell() == 0:
        raise InputError(f"{label} is empty (pipe a .npy array into it)")
    spool.seek(0)
    return NpyReader(spool, label)


def open_npz(path: Path) -> dict[str, Callable[[], NpyReader]]:
    """Return what opens each array of a `.npz` file, compressed or not, by its name."""
    try:
        archive = zipfile.ZipFile(path)
    except (*STREAM_ERRORS, NotImplementedError, ValueError) as cause:
        raise InputError(f"{path} is not a readable .npz archive: {reason_of(cause)}") from None

    def opener(member: zipfile.ZipInfo, name: str) -> Callable[[], NpyReader]:
        def opened() -> NpyReader:
            if member.file_size > _MOST_DEFLATED * member.compress_size + _SMALL_BYTES and member.compress_type in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):
                raise InputError(f"{path}::{name} is damaged: it declares more bytes than the archive holds")
            try:
                stream = archive.open(member)
            except (*STREAM_ERRORS, RuntimeError, NotImplementedError, ValueError) as cause:
                raise InputError(f"cannot read {path}::{name}: {reason_of(cause)}") from None
            return NpyReader(stream, f"{path}::{name}", member.file_size)

        return opened

    members = {
        member.filename.removesuffix(".npy"): member for member in archive.infolist() if member.filename[-1:] != "/"
    }
    if not members:
        raise InputError(f"{path} holds no arrays")
    return {name: opener(member, name) for name, member in members.items()}


def _seek(stream: IO[bytes], position: int) -> None:
    """Set the position in a stream; what lies before it in a member of an archive is read.

    In Python 3.13.0, a member that seeks forward goes on from where another member of the archive was read last.
    """
    if isinstance(stream, zipfile.ZipExtFile):
        while (skipped := position - stream.tell()) > 0:
            if not stream.read(min(skipped, 1 << 20)):
                return  # the member ends here, which reading it will tell
    stream.seek(position)
