"""The arrays of a tensor in a dump, read piece by piece, so that memory stays flat."""

import importlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import h5py
import numpy as np

from tfdump.errors import DumpError
from tfdump.files.byte_strings import holds_bytes, read_byte_strings
from tfdump.files.hdf5 import check_declared, check_stored_inside, damage
from tfdump.files.hdf5_text import text_memory
from tfdump.tensors import Array

BLOCK_BYTES = 4 << 20
"""About how many bytes are read at once: a few chunks of a dump."""

_ZSTD = 32015
"""The number of the zstd filter in the registry of The HDF Group."""

Key = tuple[slice, ...]
"""A piece of an array: slices of its leading axes, each with a start and a stop."""


class Part:
    """One array of a tensor: the tensor itself (`name` is ""), or a dataset of a composite (`values`, `0`).

    Raises DumpError for a dataset whose values are in other files, and for one that declares far more values than its
    file can hold.
    """

    def __init__(self, name: str, dataset: h5py.Dataset) -> None:
        self.name = name
        if dataset.shape is None:
            raise DumpError(f"{dataset.file.filename}: '{dataset.name}' is damaged: it has no shape")
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.chunks: tuple[int, ...] | None = dataset.chunks
        self.is_bytes = holds_bytes(dataset.dtype)
        self.is_text = self.is_bytes or h5py.check_string_dtype(dataset.dtype) is not None
        self.dtype: np.dtype[Any] = np.dtype(object) if self.is_text else dataset.dtype
        if not self.is_text and self.dtype.hasobject:
            raise DumpError(f"{dataset.file.filename}: '{dataset.name}' is damaged: it holds lists or references")
        self.dataset = dataset
        check_stored_inside(dataset, DumpError)
        check_declared(dataset, DumpError)
        load_filter(dataset)

    @property
    def nbytes(self) -> int:
        """Bytes of all values in memory; for text, those of the references to it."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def piece_bytes(self) -> int:
        """About how many bytes to read at once: BLOCK_BYTES, or a whole chunk if it has to be decompressed."""
        chunks = self.dataset.chunks
        if chunks is None or not self.dataset.compression:
            return BLOCK_BYTES
        return max(BLOCK_BYTES, int(math.prod(chunks)) * self.dtype.itemsize)

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece, or of any key that h5py takes: text as str objects, byte strings as bytes."""
        with damage(DumpError, f"{self.dataset.file.filename}: '{self.dataset.name}'"):
            return array_of(self.dataset, key)

    def read_into(self, key: Key, buffer: Array) -> None:
        """Fill a contiguous array of the dataset's dtype with one piece, which has the shape of the array."""
        with damage(DumpError, f"{self.dataset.file.filename}: '{self.dataset.name}'"):
            self.dataset.read_direct(buffer, key)

    def keys(self, most_bytes: int = BLOCK_BYTES) -> Iterator[Key]:
        """Yield pieces of at most about `most_bytes` that together are the array, in C order and whole chunks."""
        return pieces(self.shape, self.dtype.itemsize, self.chunks, most_bytes)

    def blocks(self, most_bytes: int = BLOCK_BYTES) -> Iterator[tuple[Key, Array]]:
        """Yield every piece with its values."""
        for key in self.keys(most_bytes):
            yield key, self.read(key)


def holds_values(name: str) -> bool:
    """Tell whether the part of a tensor with this name holds values, and not their positions."""
    return name != "indices" and not name.startswith("row_splits")


def array_of(dataset: h5py.Dataset, key: Any) -> Array:
    """Return what h5py reads of a dataset as an array: text as str objects, with invalid UTF-8 escaped.

    Text that is stored as byte strings is returned as bytes objects.
    """
    if holds_bytes(dataset.dtype):
        with text_memory(dataset.file):
            return read_byte_strings(dataset, key)
    if h5py.check_string_dtype(dataset.dtype) is not None:
        with text_memory(dataset.file):
            return np.asarray(dataset.asstr(errors="backslashreplace")[key], dtype=object)
    return np.asarray(dataset[key])


def load_filter(dataset: h5py.Dataset) -> None:
    """Load the filter that a dataset needs besides those of HDF5; raises DumpError if it is not installed."""
    if dataset.id.get_create_plist().get_filter_by_id(_ZSTD) is None:
        return
    try:
        importlib.import_module("hdf5plugin")
    except ImportError:
        raise DumpError(
            f"{dataset.file.filename}: reading '{dataset.name}' (zstd) needs the extra: pip install 'tfdump[zstd]'"
        ) from None


def pieces(
    shape: tuple[int, ...], itemsize: int, chunks: Sequence[int] | None, most_bytes: int = BLOCK_BYTES
) -> Iterator[Key]:
    """Yield keys of at most about `most_bytes` that cover an array of this shape once, in C order.

    Along the axis that is cut, a piece holds whole chunks if at least one fits.
    """
    if 0 in shape:
        return
    axis, rest = 0, math.prod(shape) * itemsize
    while axis < len(shape) and rest > most_bytes:
        rest //= shape[axis]
        axis += 1
    if axis == 0:
        yield tuple(slice(0, size) for size in shape)
        return
    cut = axis - 1  # earlier axes are taken one index at a time, later axes as a whole
    step = max(1, most_bytes // rest)
    if chunks is not None and step > chunks[cut]:
        step -= step % chunks[cut]
    behind = tuple(slice(0, size) for size in shape[axis:])
    for before in np.ndindex(*shape[:cut]):
        single = tuple(slice(index, index + 1) for index in before)
        for start in range(0, shape[cut], step):
            yield (*single, slice(start, min(start + step, shape[cut])), *behind)


class Piecewise(Protocol):
    """An array that is read in pieces, as `Part` is; `name` is its part of a composite."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_text: bool

    @property
    def piece_bytes(self) -> int:
        """About how many bytes to read at once."""

    def keys(self, most_bytes: int) -> Iterator[tuple[slice, ...]]:
        """Yield the pieces that together are the array."""

    def read(self, key: Any) -> Array:
        """Return the values of one piece."""

    def read_into(self, key: tuple[slice, ...], buffer: Array) -> None:
        """Fill an array with the numbers of one piece."""
