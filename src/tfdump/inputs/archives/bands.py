"""Rows that are stored in compressed chunks of many rows, read so that each chunk is decompressed once."""

from collections.abc import Callable

import numpy as np

from tfdump.inputs.readers import LARGEST_BAND
from tfdump.tensors import Array


class Bands:
    """Reads rows band by band; the band that was read last stays in memory where it is small enough.

    `read` returns some rows of the file. A band has `rows` rows, which take `size` bytes; with 0 rows there are none.
    """

    def __init__(self, read: Callable[[int, int], Array], total: int, rows: int, size: int) -> None:
        self._read = read
        self._total = total
        self._rows = rows if size <= LARGEST_BAND else 0
        self._band: tuple[int, Array] | None = None  # its first row, and its rows

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""
        if not self._rows or stop <= start:
            return self._read(start, stop)
        pieces = []
        while start < stop:
            first = start // self._rows * self._rows
            end = min(stop, first + self._rows)
            pieces.append(self._whole(first)[start - first : end - first])
            start = end
        return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]

    def _whole(self, first: int) -> Array:
        if self._band is None or self._band[0] != first:
            self._band = None  # before the next band is read, so that only one is in memory
            self._band = first, self._read(first, min(first + self._rows, self._total))
        return self._band[1]
