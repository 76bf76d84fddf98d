"""Counts NaN, Inf and values that do not fit half precision, by the bits of the numbers.

Without its sign bit, a float of IEEE 754 is an unsigned integer that grows with the magnitude. Infinity comes after all
numbers, and NaN after infinity. So the largest and the smallest integer of a block are often enough to clear it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.checks.bad_rows import RowWatch
from tfdump.checks.half_precision import OVERFLOWS, UNDERFLOWS
from tfdump.tensors import Array

BLOCK = 1 << 17
"""Elements that are counted at once: few enough to stay in the cache from one pass to the next."""


@dataclass
class Count:
    """A number of elements, and the position of the first in C order, with its value; `rows` notes in which rows."""

    count: int = 0
    first: int | None = None
    value: float | None = None
    rows: RowWatch | None = None

    def add(self, mask: Array, values: Array, start: int) -> None:
        """Count the places of a mask over `values`, whose first element has the position `start`."""
        count = int(np.count_nonzero(mask))
        if count and self.first is None:
            position = int(np.argmax(mask))
            self.first = start + position
            self.value = float(np.abs(values[position]) if values.dtype.kind == "c" else values[position])
        if count and self.rows is not None:
            self.rows.add(mask, start)
        self.count += count


class Magnitudes:
    """Counts, over blocks of one dtype, values that are NaN, infinite, or do not fit the `narrow` dtypes.

    With `row_size`, the number of elements in a row, it also notes which rows hold NaN and infinities.
    """

    def __init__(self, dtype: np.dtype[Any], narrow: tuple[str, ...], row_size: int = 0) -> None:
        self.nonzero = 0
        self.counts = {name: Count(rows=RowWatch(row_size) if row_size else None) for name in ("nan", "inf")}
        self._narrow = narrow
        self._by_bits = dtype.kind == "f" and dtype.itemsize in (2, 4, 8)
        if not self._by_bits:
            return
        self.counts |= {f"{name}-{what}": Count() for name in narrow for what in ("overflow", "underflow")}
        self._bits = np.dtype(f"u{dtype.itemsize}")
        self._scratch = np.empty(BLOCK, self._bits)
        infinity = self._doubled(np.inf, dtype)
        largest = self._bits.type(np.iinfo(self._bits).max)
        self._high = [("nan", infinity + self._bits.type(1), largest), ("inf", infinity, infinity)]
        below = infinity - self._bits.type(1)
        self._high += [(f"{name}-overflow", self._doubled(OVERFLOWS[name], dtype), below) for name in narrow]
        self._low = [(f"{name}-underflow", self._doubled(UNDERFLOWS[name], dtype)) for name in narrow]

    def _doubled(self, magnitude: float, dtype: np.dtype[Any]) -> Any:
        """Return the bits of a number without its sign, shifted left by one."""
        with np.errstate(over="ignore"):  # float16 has no such number: infinity, and no finite number is counted
            number = np.array([magnitude], dtype.newbyteorder("="))
        return np.left_shift(number.view(self._bits), 1)[0]

    def add(self, values: Array, start: int) -> None:
        """Count in a flat array, whose first element has the position `start`."""
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        for offset in range(0, values.size, BLOCK):
            block = values[offset : offset + BLOCK]
            if self._by_bits:
                self._add_bits(block, start + offset)
            else:
                not_numbers = np.isnan(block)
                self.counts["nan"].add(not_numbers, block, start + offset)
                self.counts["inf"].add(np.isinf(block) & ~not_numbers, block, start + offset)

    def _add_bits(self, block: Array, start: int) -> None:
        doubled = np.left_shift(block.view(self._bits), 1, out=self._scratch[: block.size])
        top = doubled.max()
        for name, low, high in self._high:
            if top >= low:
                self.counts[name].add((doubled >= low) & (doubled <= high), block, start)
        if not self._low:
            return
        self.nonzero += int(np.count_nonzero(doubled))
        np.subtract(doubled, self._bits.type(1), out=doubled)  # zero becomes the largest
        least = doubled.min()
        for name, limit in self._low:
            if least < limit:
                self.counts[name].add(doubled < limit, block, start)
