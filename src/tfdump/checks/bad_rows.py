"""Which rows of a tensor hold NaN or infinities, noted while the tensor is read, in bounded memory."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.tensors import Array

MOST_ROWS = 4096
"""Rows that are noted per tensor: 32 kB."""


@dataclass(frozen=True, eq=False)
class BadRows:
    """The first bad rows of a tensor.

    Attributes
    ----------
    numbers : numpy.ndarray
        Numbers of the bad rows, int64 of shape (n,), ascending; at most `MOST_ROWS`.
    known_until : int or None
        Which rows from here on are bad is not known; None if all bad rows are in `numbers`.
    """

    numbers: npt.NDArray[np.int64]
    known_until: int | None = None

    @property
    def first(self) -> int | None:
        """The first bad row, or None if none is left."""
        return int(self.numbers[0]) if len(self.numbers) else None

    def without(self, other: "BadRows") -> "BadRows":
        """Return the rows that are bad here and known to be good in the other tensor."""
        numbers = self.numbers if other.known_until is None else self.numbers[self.numbers < other.known_until]
        return BadRows(np.setdiff1d(numbers, other.numbers, assume_unique=True), self.known_until)


class RowWatch:
    """Notes the rows, of `row_size` elements each, in which the elements of masks are true."""

    def __init__(self, row_size: int) -> None:
        self._row_size = row_size
        self._numbers: list[npt.NDArray[np.int64]] = []
        self._count = 0
        self._known_until: int | None = None

    def add(self, mask: Array, start: int) -> None:
        """Note the rows of a flat mask whose first element has the position `start`; masks come in C order."""
        if self._known_until is not None:
            return
        first = start // self._row_size
        if self._row_size == 1:
            numbers = np.flatnonzero(mask) + first
        else:
            edges = np.arange(first, (start + mask.size - 1) // self._row_size + 1, dtype=np.int64) * self._row_size
            starts = np.maximum(edges - start, 0)
            numbers = np.flatnonzero(np.bitwise_or.reduceat(mask.view(np.uint8), starts)) + first
        if self._numbers and len(numbers) and numbers[0] == self._numbers[-1][-1]:
            numbers = numbers[1:]
        if not len(numbers):
            return
        room = MOST_ROWS - self._count
        if len(numbers) > room:
            self._known_until = int(numbers[room])
            numbers = numbers[:room]
        self._count += len(numbers)
        if len(numbers):
            self._numbers.append(numbers)

    def rows(self) -> BadRows:
        """Return the rows that were noted."""
        numbers = np.concatenate(self._numbers) if self._numbers else np.zeros(0, np.int64)
        return BadRows(numbers, self._known_until)
