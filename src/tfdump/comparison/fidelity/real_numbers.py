"""Quantized integers of one side as the real numbers for which they stand, where the other side has real numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfdump.comparison.fidelity.scales import Scales, is_quantized_integer, scales_of
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.dtypes import kind_of
from tfdump.dump.parts import BLOCK_BYTES, Piecewise, pieces
from tfdump.dump.quantization import QuantizationParameters
from tfdump.tensors import Array


class RealPart:
    """The array of a quantized tensor as float32."""

    is_text = False
    dtype = np.dtype(np.float32)

    def __init__(self, part: Piecewise, scales: Scales) -> None:
        self.name = part.name
        self.shape = part.shape
        self.piece_bytes = part.piece_bytes
        self._part = part
        self._scales = scales

    def keys(self, most_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, ...]]:
        """Yield the pieces that together are the array."""
        return pieces(self.shape, self.dtype.itemsize, None, most_bytes)

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece."""
        whole = key or tuple(slice(0, size) for size in self.shape)
        return self._scales.of_piece(whole).real(self._part.read(whole))

    def read_into(self, key: tuple[slice, ...], buffer: Array) -> None:
        """Fill an array with the values of one piece."""
        buffer[...] = self.read(key)


class RealItem:
    """A quantized tensor as real numbers; `original` is the tensor as it is stored, which has values in an array."""

    dtype = stored_dtype = "float32"
    encoding = norm = statistics = None
    has_values = connected = True

    def __init__(self, original: Item, scales: Scales) -> None:
        self.group = original.group
        self.address = original.address
        self.attributes = {"quantized_dtype": original.dtype, **original.attributes}
        self.original = original
        self._scales = scales

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.original.shape

    @property
    def quantization(self) -> QuantizationParameters | None:
        """How the integers of the tensor as it is stored stand for real numbers."""
        return self.original.quantization

    def parts(self) -> Sequence[Piecewise]:
        """Return the array that it consists of."""
        return [RealPart(part, self._scales) for part in self.original.parts()]


def compare_as_real(golden: Side, new: Side) -> list[str]:
    """Let a side of quantized integers have the real numbers for which they stand, if the other side has no such.

    Returns a note on each side that changed.
    """
    for side, other in ((golden, new), (new, golden)):
        integers = any(map(is_quantized_integer, side.items)) and not any(map(is_quantized_integer, other.items))
        if integers and any(kind_of(item.dtype) == "f" for item in other.items):
            side.items = [_real_item(item) for item in side.items]
            return [f"{side.name} holds quantized integers, which were compared as the real numbers they stand for"]
    return []


def _real_item(item: Item) -> Item:
    scales = scales_of(item)
    plain = item.encoding is None and item.has_values and item.connected
    if not plain or scales is None or not is_quantized_integer(item) or not scales.fit(item.shape):
        return item
    return RealItem(item, scales)
