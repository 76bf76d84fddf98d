"""The real numbers of a tensor or of one channel, in blocks that fit the cache, read as often as needed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from tfdump.comparison.fidelity.scales import is_quantized_integer, scales_of
from tfdump.dtypes import kind_of
from tfdump.dump.parts import Key, Part
from tfdump.dump.quantization import QUANTIZATION
from tfdump.dump.tensor import Tensor
from tfdump.tensors import Array

BLOCK = 1 << 16
"""Numbers per block."""


@dataclass(frozen=True)
class RealValues:
    """Numbers as float32 or float64; `pieces` is called for each pass over them.

    `leading_bits` of a float64 tell any two of them apart. `whole` tells that they are whole numbers.
    """

    pieces: Callable[[], Iterator[Array]]
    leading_bits: int
    whole: bool

    def blocks(self) -> Iterator[Array]:
        """Yield flat blocks of numbers, NaN and infinities included."""
        for piece in self.pieces():
            flat = piece.reshape(-1)
            for start in range(0, flat.size, BLOCK):
                yield flat[start : start + BLOCK]

    def finite_blocks(self) -> Iterator[Array]:
        """Yield flat blocks of the finite numbers."""
        for block in self.blocks():
            finite = np.isfinite(block)
            yield block if finite.all() else block[finite]

    def finite_wide_blocks(self) -> Iterator[Array]:
        """Yield flat blocks of the finite numbers as float64."""
        for block in self.finite_blocks():
            yield block.astype(np.float64)


def reason_without_numbers(tensor: Tensor) -> str | None:
    """Return why a tensor has no real numbers, or None."""
    if not tensor.connected:
        return "it is not connected to the loss"
    if kind_of(tensor.dtype) not in "fiub":
        what = "is complex" if kind_of(tensor.dtype) == "c" else "has no numbers"
        return f"it is {tensor.dtype} and {what}"
    if QUANTIZATION in tensor.attributes and kind_of(tensor.stored_dtype) in "iu" and not is_quantized_integer(tensor):
        return "the scales of its integers are not known (dump it with --dequantize)"
    return None


class NumbersOf:
    """Reads the real numbers of a tensor: all, or those of single channels."""

    def __init__(self, tensor: Tensor, memory: int, advance: Callable[[int], None]) -> None:
        self._tensor = tensor
        self._parts = tensor.value_parts()
        self._memory = memory
        self._advance = advance
        self._scales = scales_of(tensor) if is_quantized_integer(tensor) else None
        stored = self._parts[0].dtype if self._parts else np.dtype(np.float32)
        narrow = self._scales is not None or (stored.kind == "f" and stored.itemsize <= 4) or stored.itemsize <= 2
        self._dtype = np.dtype(np.float32 if narrow else np.float64)
        self._whole = stored.kind in "iub" and self._scales is None
        self._leading_bits = 35 if narrow else 44 if stored.kind in "iu" and stored.itemsize == 4 else 64

    def channels(self, axis: int) -> int | None:
        """Return the number of channels along an axis; None if the parts of the tensor differ in it."""
        sizes = {part.shape[axis] if -len(part.shape) <= axis < len(part.shape) else None for part in self._parts}
        return sizes.pop() if len(sizes) == 1 else None

    def whole(self) -> RealValues:
        """Return all numbers: read once where they fit the memory, and anew for each pass where they do not."""
        count = sum(math.prod(part.shape) for part in self._parts)
        if count * self._dtype.itemsize > self._memory:
            return self._values(self._streamed)
        pieces = list(self._streamed())
        return self._values(lambda: iter(pieces))

    def by_channel(self, axis: int, channels: int) -> Iterator[tuple[int, RealValues]]:
        """Yield every channel with its numbers; as many channels as fit the memory are read at once."""
        count = sum(math.prod(part.shape) for part in self._parts) // max(1, channels)
        together = self._memory // max(1, count * self._dtype.itemsize)
        if not together:
            for channel in range(channels):
                yield channel, self._values(partial(self._streamed_channel, axis, channel))
            return
        for first in range(0, channels, together):
            last = min(channels, first + together)
            rows = self._rows(axis, first, last, count)
            for row, channel in zip(rows, range(first, last), strict=True):
                yield channel, self._values(partial(_once, row))

    def _values(self, pieces: Callable[[], Iterator[Array]]) -> RealValues:
        return RealValues(pieces, self._leading_bits, self._whole)

    def _read(self) -> Iterator[tuple[Part, Key, Array]]:
        for part in self._parts:
            for key, block in part.blocks(part.piece_bytes):
                self._advance(block.size)
                yield part, key, self._real(block, key)

    def _streamed(self) -> Iterator[Array]:
        for _, _, block in self._read():
            yield block

    def _streamed_channel(self, axis: int, channel: int) -> Iterator[Array]:
        for _, key, block in self._read():
            place = channel - _start(key, axis)
            if 0 <= place < block.shape[axis]:
                yield np.take(block, place, axis)

    def _rows(self, axis: int, first: int, last: int, count: int) -> Array:
        """Return the numbers of some channels, one row per channel."""
        rows = np.empty((last - first, count), self._dtype)
        filled = np.zeros(last - first, np.int64)
        for _, key, block in self._read():
            start = _start(key, axis)
            low, high = max(first, start), min(last, start + block.shape[axis])
            if low >= high:
                continue
            channels = np.moveaxis(block, axis, 0)[low - start : high - start].reshape(high - low, -1)
            place = int(filled[low - first])  # the same for all of them: pieces hold whole axes behind the one they cut
            rows[low - first : high - first, place : place + channels.shape[1]] = channels
            filled[low - first : high - first] += channels.shape[1]
        return rows

    def _real(self, block: Array, key: Key) -> Array:
        """Return a block as floats; quantized integers as the numbers for which they stand."""
        with np.errstate(invalid="ignore", over="ignore"):
            if self._scales is None:
                return block.astype(self._dtype, copy=False)
            return self._scales.of_piece(key).real(block)


def _once(piece: Array) -> Iterator[Array]:
    yield piece


def _start(key: Key, axis: int) -> int:
    """Return where a piece begins along an axis."""
    return int(key[axis].start)
