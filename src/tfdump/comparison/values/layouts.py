"""Layouts: the axes of one tensor in the order of another one, and tensors that are read in such an order.

A layout has one entry per axis of the result: the axis of the original, or None for an axis of length 1 that the
original does not have. Axes of length 1 of the original may be left out.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice, permutations
from typing import Any

import numpy as np

from tfdump.comparison.plain_arrays import Item
from tfdump.dump.parts import BLOCK_BYTES, Piecewise, pieces
from tfdump.dump.quantization import QuantizationParameters
from tfdump.tensors import Array

Layout = tuple[int | None, ...]

_MOST = 120
"""Layouts that are tried for two shapes: all orders of five axes of one length."""


def layouts_between(original: Sequence[int], wanted: Sequence[int], first: int = 0) -> Iterator[Layout]:
    """Yield the layouts that give a tensor of the shape `original` the shape `wanted`, first that of equal axes.

    The `first` axes stay where they are.
    """
    if tuple(original[:first]) != tuple(wanted[:first]):
        return
    long = [axis for axis in range(first, len(original)) if original[axis] != 1]
    short = [axis for axis in range(first, len(original)) if original[axis] == 1]
    slots = [axis for axis in range(first, len(wanted)) if wanted[axis] != 1]
    if sorted(original[axis] for axis in long) != sorted(wanted[axis] for axis in slots):
        return
    orders = _orders([original[axis] for axis in long], [wanted[axis] for axis in slots])
    for order in islice(orders, _MOST):
        axes = iter([long[place] for place in order])
        spare = iter(short)
        yield (*range(first), *(next(spare, None) if size == 1 else next(axes) for size in wanted[first:]))


def _orders(sizes: Sequence[int], wanted: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the orders that give axes of these sizes the wanted sizes, first the order that changes nothing."""
    same = tuple(range(len(sizes)))
    if len(set(sizes)) == len(sizes):  # one order
        yield tuple(list(sizes).index(size) for size in wanted)
        return
    every = chain([same], (order for order in islice(permutations(same), 1 << 12) if order != same))
    yield from (order for order in every if [sizes[place] for place in order] == list(wanted))


def is_identity(layout: Layout, original: Sequence[int]) -> bool:
    """Tell whether a layout leaves a tensor of this shape as it is."""
    return layout == tuple(range(len(original)))


def laid_out(values: Array, layout: Layout) -> Array:
    """Return an array in a layout."""
    used = [axis for axis in layout if axis is not None]
    unused = tuple(axis for axis in range(values.ndim) if axis not in used)
    turned = np.transpose(values, (*used, *unused)).reshape([values.shape[axis] for axis in used])
    return np.expand_dims(turned, tuple(place for place, axis in enumerate(layout) if axis is None))


def turned_back(layout: Layout, original: Sequence[int]) -> Layout:
    """Return the layout that leads from the result of a layout back to a tensor of the shape `original`."""
    return tuple(layout.index(axis) if axis in layout else None for axis in range(len(original)))


def layout_text(layout: Layout) -> str:
    """Return a layout as `--transpose` takes it; `+` is an axis of length 1 that the original does not have."""
    return ",".join("+" if axis is None else str(axis) for axis in layout)


def stored_item(item: Any) -> Any:
    """Return the tensor as it is stored behind one that is read in another layout or as other numbers."""
    while hasattr(item, "original"):
        item = item.original
    return item


class LaidOutPart:
    """A part in a layout."""

    def __init__(self, part: Piecewise, layout: Layout) -> None:
        self.name = part.name
        self.shape = tuple(1 if axis is None else part.shape[axis] for axis in layout)
        self.dtype = part.dtype
        self.is_text = part.is_text
        self.piece_bytes = part.piece_bytes
        self._part = part
        self._layout = layout

    def keys(self, most_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, ...]]:
        """Yield the pieces that together are the array."""
        return pieces(self.shape, self.dtype.itemsize, None, most_bytes)

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece."""
        original = [slice(0, 1)] * len(self._part.shape)
        for axis, piece in zip(self._layout, key, strict=True):
            if axis is not None:
                original[axis] = piece
        return laid_out(self._part.read(tuple(original)), self._layout)

    def read_into(self, key: tuple[slice, ...], buffer: Array) -> None:
        """Fill an array with the values of one piece."""
        buffer[...] = self.read(key)


class LaidOutItem:
    """A tensor in a `layout`; `original` is the tensor as it is stored."""

    encoding = None

    def __init__(self, original: Item, layout: Layout) -> None:
        self.original = original
        self.group = original.group
        self.address = original.address
        self.attributes = original.attributes
        self.shape = tuple(1 if axis is None else original.shape[axis] for axis in layout)
        self.dtype = original.dtype
        self.stored_dtype = original.stored_dtype
        self.has_values = original.has_values
        self.connected = original.connected
        self.norm = original.norm
        self.statistics = original.statistics
        self.layout = layout

    @property
    def quantization(self) -> QuantizationParameters | None:
        """How the integers of the tensor as it is stored stand for real numbers."""
        return self.original.quantization

    def parts(self) -> Sequence[Piecewise]:
        """Return the array that it consists of."""
        return [LaidOutPart(part, self.layout) for part in self.original.parts()]
