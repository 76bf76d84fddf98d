"""Rows that code of the user gives on demand: batches by their number, or rows from one number up to another."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfdump.errors import InputError
from tfdump.inputs.functions.columns import (
    ColumnKey,
    Columns,
    check_like,
    columns_of,
    is_unbatched,
    rows_in,
    with_example_axis,
)
from tfdump.inputs.functions.user_file import errors_of_user
from tfdump.tensors import Array, InputSpec

_MOST_ROWS = 1 << 40
"""Rows that no data has."""


class BatchesByNumber:
    """The rows of a `keras.utils.PyDataset`, whose batches have equal sizes, except for the last one.

    Raises InputError where it is empty or has no end.
    """

    def __init__(self, batches: Any, most: int | None, specs: Sequence[InputSpec], label: str) -> None:
        self._batches = batches
        self._label = label
        self._specs = specs
        self._last: tuple[int, Columns] | None = None
        number = self._number_of_batches(most)
        if number == 0:
            raise InputError(f"{label} has no batches")
        self.first = self._batch(0)
        self._size = rows_in(self.first, label)
        if self._size == 0:
            raise InputError(f"{label}: batch 0 is empty")
        if number is None or (most is not None and most <= self._size * (number - 1)):
            self.count = most or 0
        else:
            self.count = self._size * (number - 1) + rows_in(self._batch(number - 1), label)
            self.count = self.count if most is None else min(most, self.count)

    def read(self, key: ColumnKey, start: int, stop: int) -> Array:
        """Return rows of one column; raises InputError where a batch has another size than the first one."""
        pieces = [self.first[key][:0]]
        while start < stop:
            number, first = divmod(start, self._size)
            end = min(stop, (number + 1) * self._size)
            rows = self._batch(number)[key]
            if len(rows) < min(self._size, self.count - number * self._size):
                raise InputError(
                    f"{self._label}: batch {number} has {len(rows)} examples, and batch 0 has {self._size} (give all "
                    "batches but the last one the same size)"
                )
            pieces.append(rows[first : first + end - start])
            start = end
        return np.concatenate(pieces)

    def _number_of_batches(self, most: int | None) -> int | None:
        """Return the number of batches, None for no end; raises InputError where `most` does not bound them."""
        with errors_of_user(self._label):
            number = getattr(self._batches, "num_batches", None)
            number = len(self._batches) if number is None and hasattr(self._batches, "__len__") else number
        if number is None and most is None:
            raise InputError(f"{self._label} has no end (bound it: --examples 0:1000)")
        return None if number is None else int(number)

    def _batch(self, number: int) -> Columns:
        """Return a batch; the last one that was read stays in memory."""
        if self._last is None or self._last[0] != number:
            with errors_of_user(self._label):
                item = self._batches[number]
            columns = columns_of(item, self._label)
            if is_unbatched(columns, self._specs):
                columns = with_example_axis(columns)
            rows_in(columns, self._label)
            check_like(columns, self.first if number else columns, self._label, number)
            self._last = number, columns
        return self._last[1]


class RowsByRange:
    """The rows that a function of `(start, stop)` returns; behind the end it returns none, or raises IndexError."""

    def __init__(self, function: Callable[[int, int], Any], most: int | None, label: str) -> None:
        self._function = function
        self._label = label
        self._last: tuple[int, int, Columns] | None = None
        self.first = self._rows(0, 1)
        if rows_in(self.first, label) == 0:
            raise InputError(f"{label} has no examples: it returns no rows for (0, 1)")
        self.count = self._count(most)

    def read(self, key: ColumnKey, start: int, stop: int) -> Array:
        """Return rows of one column; raises InputError where the function returns another number of rows."""
        if self._last is None or self._last[:2] != (start, stop):
            columns = self._rows(start, stop)
            check_like(columns, self.first, self._label, start)
            if (rows := rows_in(columns, self._label)) != stop - start:
                raise InputError(f"{self._label} returns {rows} rows for ({start}, {stop}), and not {stop - start}")
            self._last = start, stop, columns
        return self._last[2][key]

    def _rows(self, start: int, stop: int) -> Columns:
        with errors_of_user(self._label):
            item = self._function(start, stop)
        return columns_of(item, self._label)

    def _has(self, row: int) -> bool:
        """Tell whether there is a row of this number."""
        try:
            with errors_of_user(self._label):
                item = self._function(row, row + 1)
        except InputError as error:
            if isinstance(error.__cause__, IndexError):
                return False
            raise
        return rows_in(columns_of(item, self._label), self._label) > 0

    def _count(self, most: int | None) -> int:
        """Return the number of rows, at most `most`, from a few calls for single rows."""
        if most is not None and self._has(most - 1):
            return most
        low, high = 1, 2  # the row `low - 1` is there, and the row `high - 1` may be
        while self._has(high - 1):
            low, high = high, high * 2
            if high > _MOST_ROWS:
                raise InputError(f"{self._label} has no end (bound it: --examples 0:1000)")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._has(middle - 1) else (low, middle)
        return low
