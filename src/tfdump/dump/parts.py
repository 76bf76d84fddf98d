"""The arrays that a tensor of a dump is made of, read piece by piece, so that memory stays flat."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np

from tfdump.errors import DumpError
from tfdump.hdf5 import check_declared, check_stored_inside, damage
from tfdump.tensors import Array

BLOCK_BYTES = 4 << 20
"""About how many bytes are read at once: a few chunks of a dump."""

Key = tuple[slice, ...]
"""Which piece of an array: slices of its leading axes, each with a start and a stop."""


class Part:
    """One array of a tensor: the tensor itself (`name` is ""), or a dataset of a composite (`values`, `0`).

    Raises DumpError for a dataset whose values are in other files, and for one that declares far more values than
    its file can hold.
    """

    def __init__(self, name: str, dataset: h5py.Dataset) -> None:
        self.name = name
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.is_text = h5py.check_string_dtype(dataset.dtype) is not None
        self.dtype: np.dtype[Any] = np.dtype(object) if self.is_text else dataset.dtype
        self._dataset = dataset
        check_stored_inside(dataset, DumpError)
        check_declared(dataset, DumpError)

    @property
    def nbytes(self) -> int:
        """Bytes of all values in memory; of text, those of the references to it."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece, or of any key that h5py takes; text as str objects."""
        with damage(DumpError, f"{self._dataset.file.filename}: '{self._dataset.name}'"):
            return array_of(self._dataset, key)

    def keys(self, most_bytes: int = BLOCK_BYTES) -> Iterator[Key]:
        """Yield the pieces of at most about `most_bytes` that together are the array, in C order, whole chunks."""
        return pieces(self.shape, self.dtype.itemsize, self._dataset.chunks, most_bytes)

    def blocks(self, most_bytes: int = BLOCK_BYTES) -> Iterator[tuple[Key, Array]]:
        """Yield every piece with its values."""
        for key in self.keys(most_bytes):
            yield key, self.read(key)


def array_of(dataset: h5py.Dataset, key: Any) -> Array:
    """Return what h5py reads of a dataset as an array; text as str objects, what is no UTF-8 in it escaped."""
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr(errors="backslashreplace")[key], dtype=object)
    return np.asarray(dataset[key])


def pieces(
    shape: tuple[int, ...], itemsize: int, chunks: Sequence[int] | None, most_bytes: int = BLOCK_BYTES
) -> Iterator[Key]:
    """Yield keys of at most about `most_bytes` that cover an array of this shape once, in C order.

    Along the axis that is cut, a piece holds whole chunks where at least one fits.
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
    cut = axis - 1  # the axes before are taken one by one, those behind whole
    step = max(1, most_bytes // rest)
    if chunks is not None and step > chunks[cut]:
        step -= step % chunks[cut]
    behind = tuple(slice(0, size) for size in shape[axis:])
    for before in np.ndindex(*shape[:cut]):
        single = tuple(slice(index, index + 1) for index in before)
        for start in range(0, shape[cut], step):
            yield (*single, slice(start, min(start + step, shape[cut])), *behind)
