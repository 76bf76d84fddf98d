"""The part of an array in a dump that a slice selects, read piece by piece, so that memory stays flat."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfdump.dump.parts import BLOCK_BYTES, pieces
from tfdump.dump.slicing import Axis, Slicing, whole
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError
from tfdump.tensors import Array


class Readable(Protocol):
    """An array that is read by key: a part of a tensor, or an array in memory."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    is_text: bool
    is_bytes: bool

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece."""


class MemoryPart:
    """A small array in memory, with the methods of a part of a tensor."""

    is_text = is_bytes = False

    def __init__(self, values: Array) -> None:
        self.chunks: tuple[int, ...] | None = None
        self._values = values
        self.shape: tuple[int, ...] = values.shape
        self.dtype = values.dtype

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece."""
        return np.asarray(self._values[key])


class View:
    """A slice of an array; `prefix` are the indices that lead to the array inside its tensor."""

    def __init__(self, part: Readable, axes: tuple[Axis, ...] | None = None, prefix: tuple[int, ...] = ()) -> None:
        self._part = part
        self._axes = whole(part.shape) if axes is None else axes
        self._prefix = prefix
        self.shape = tuple(axis.count for axis in self._axes if axis.remains)
        self.size = math.prod(self.shape)
        self.dtype = part.dtype
        self.is_text = part.is_text
        self.is_bytes = part.is_bytes

    @property
    def rows(self) -> range:
        """The indices along the first axis of the tensor from which the values come."""
        if self._prefix:
            return range(self._prefix[0], self._prefix[0] + 1)
        first = self._axes[0] if self._axes else Axis(0, 0)
        return range(first.start, first.start + first.count * first.step, first.step)

    @property
    def has_rows(self) -> bool:
        """Whether the first axis is that of the tensor, with one index for each of `rows`."""
        return not self._prefix and bool(self._axes) and self._axes[0].remains

    def blocks(self, most_bytes: int = BLOCK_BYTES) -> Iterator[Array]:
        """Yield the values in C order, as flat arrays of at most about `most_bytes`."""
        counts = tuple(axis.count for axis in self._axes)
        chunks = self._part.chunks
        if chunks is not None:
            chunks = tuple(max(1, size // abs(axis.step)) for size, axis in zip(chunks, self._axes, strict=True))
        for key in pieces(counts, self.dtype.itemsize, chunks, most_bytes):
            yield self._read([(piece.start, piece.stop) for piece in key]).reshape(-1)

    def read(self) -> Array:
        """Return all values, for a small view."""
        return self._read([(0, axis.count) for axis in self._axes]).reshape(self.shape)

    def row(self, index: int) -> "View":
        """Return one element along the first axis, of a view that is a whole array."""
        return View(self._part, (Axis(index, 1, remains=False), *self._axes[1:]))

    def between(self, start: int, stop: int) -> "View":
        """Return the elements from `start` up to `stop` along the first axis."""
        axes = list(self._axes)
        number = next(number for number, axis in enumerate(axes) if axis.remains)
        axis = axes[number]
        axes[number] = replace(axis, start=axis.start + start * axis.step, count=stop - start)
        return View(self._part, tuple(axes), self._prefix)

    def edges(self, edge: int) -> Array:
        """Return the first and last `edge` elements of every axis longer than both, with one filler between them."""
        long = [axis.remains and axis.count > 2 * edge for axis in self._axes]
        sizes = [2 * edge + 1 if cut else axis.count for cut, axis in zip(long, self._axes, strict=True)]
        values = np.zeros(sizes, self.dtype)
        ranges = [
            [((0, edge), 0), ((axis.count - edge, axis.count), edge + 1)] if cut else [((0, axis.count), 0)]
            for cut, axis in zip(long, self._axes, strict=True)
        ]
        for corner in itertools.product(*ranges):
            place = tuple(slice(at, at + stop - start) for (start, stop), at in corner)
            values[place] = self._read([bounds for bounds, _ in corner])
        return values.reshape([size for size, axis in zip(sizes, self._axes, strict=True) if axis.remains])

    def indices(self, first: int, count: int) -> list[npt.NDArray[np.int64]]:
        """Return the indices in the tensor of `count` values in C order from the `first` on: one array per axis."""
        flat = np.arange(first, first + count)
        indices: list[npt.NDArray[np.int64]] = []
        for axis in reversed(self._axes):
            flat, offsets = np.divmod(flat, max(1, axis.count))
            indices.append(axis.start - axis.origin + offsets * axis.step)
        return [np.full(count, index) for index in self._prefix] + indices[::-1]

    def _read(self, bounds: list[tuple[int, int]]) -> Array:
        """Return a piece with all axes; `bounds` are the start and stop of the selected positions along each axis."""
        if any(start == stop for start, stop in bounds):
            return np.zeros([stop - start for start, stop in bounds], self.dtype)
        pairs = list(zip(self._axes, bounds, strict=True))
        values = self._part.read(tuple(axis.source(start, stop) for axis, (start, stop) in pairs))
        backward = tuple(n for n, (axis, _) in enumerate(pairs) if axis.step < 0)
        return np.flip(values, backward) if backward else values


class WatchedView(View):
    """A view that reports how many values were read whenever its reader asks for more."""

    def __init__(self, view: View, advance: Callable[[int], None]) -> None:
        super().__init__(view._part, view._axes, view._prefix)
        self._advance = advance

    def blocks(self, most_bytes: int = BLOCK_BYTES) -> Iterator[Array]:
        """Yield the values as a view does."""
        for block in super().blocks(most_bytes):
            yield block
            self._advance(block.size)

    def read(self) -> Array:
        """Return all values as a view does."""
        values = super().read()
        self._advance(values.size)
        return values

    def between(self, start: int, stop: int) -> View:
        """Return some elements along the first axis as a view does; they are reported too."""
        return WatchedView(super().between(start, stop), self._advance)


def views_of(tensor: Tensor, slicing: Slicing | None = None) -> dict[str, View]:
    """Return the arrays of a tensor, sliced: one with the name "", or, for a whole composite, one per part.

    In a ragged tensor the first integers of the slice select a row, in a stack an item, and the rest of the slice
    applies to that. Raises DumpError if there are no values, and TfdumpError for a slice that does not fit.
    """
    parts = {part.name: part for part in tensor.parts()}
    what = f"'{tensor.address}'"
    if slicing is None:
        return {name: View(part) for name, part in parts.items()}
    if "" in parts:
        return {"": View(parts[""], slicing.axes(parts[""].shape, what))}
    if tensor.encoding == "sparse":
        raise DumpError(f"{what} is sparse and cannot be sliced (leave --slice out to see its coordinates)")
    if tensor.encoding != "ragged":
        item, rest = slicing.first(len(parts), what, "an item")
        name = list(parts)[item]
        return {"": View(parts[name], rest.axes(parts[name].shape, f"item {item} of {what}"), (item,))}
    ragged = RaggedOffsets(tensor)
    start, stop, rest = 0, ragged.rows, slicing
    prefix: tuple[int, ...] = ()
    for splits in ragged.splits:
        row, rest = rest.first(stop - start, what, "a row")
        prefix += (row,)
        start, stop = int(splits[start + row]), int(splits[start + row + 1])
    values = parts["values"]
    first, *others = rest.axes((stop - start, *values.shape[1:]), f"row {','.join(map(str, prefix))} of {what}")
    moved = Axis(first.start + start, first.count, first.step, first.remains, start)
    return {"": View(values, (moved, *others), prefix)}


def check_sparse(tensor: Tensor, values: View, indices: View) -> None:
    """Raise DumpError if the values and the coordinates of a sparse tensor do not match each other."""
    located = len(indices.shape) == 2 and indices.dtype.kind in "iu" and indices.shape[1] <= len(tensor.shape)
    if not located or not values.shape or indices.shape[0] != values.shape[0]:
        raise DumpError(f"'{tensor.address}' is damaged: its values and indices do not match each other")


class RaggedOffsets:
    """The offsets of a ragged tensor, outermost first: 8 bytes per row. Raises DumpError if they are inconsistent."""

    def __init__(self, tensor: Tensor) -> None:
        parts = {part.name: part for part in tensor.parts()}
        names = sorted(name for name in parts if name.startswith("row_splits"))
        wrong = [name for name in names if len(parts[name].shape) != 1 or parts[name].dtype.kind not in "iu"]
        if wrong or not parts["values"].shape:
            bad = wrong[0] if wrong else "values"
            raise DumpError(f"'{tensor.address}' is damaged: {bad} has the wrong shape or type")
        self.splits = [parts[name].read().astype(np.int64) for name in names]
        ends = [*(len(splits) - 1 for splits in self.splits[1:]), parts["values"].shape[0]]
        for name, splits, end in zip(names, self.splits, ends, strict=True):
            if not splits.size or splits[0] != 0 or splits[-1] != end or (np.diff(splits) < 0).any():
                raise DumpError(f"'{tensor.address}' is damaged: {name} does not rise from 0 to {end}")
        self.rows = len(self.splits[0]) - 1

    def indices(self, first: int, count: int) -> list[npt.NDArray[np.int64]]:
        """Return the indices of `count` values from the `first` on: a row per ragged axis, and the position in it."""
        position = np.arange(first, first + count)
        indices: list[npt.NDArray[np.int64]] = []
        for splits in reversed(self.splits):
            row = np.searchsorted(splits, position, "right") - 1
            indices.append(position - splits[row])
            position = row
        return [position, *indices[::-1]]
