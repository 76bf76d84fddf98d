"""Cells of Arrow as arrays of NumPy."""

from typing import Any

import numpy as np
import pyarrow as pa

from tfdump.tensors import Array


class EmptyCellError(Exception):
    """A cell is empty where that cannot be; `place` counts from the first of the cells."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def number_cells(cells: pa.Array, dtype: np.dtype[Any]) -> Array:
    """Return cells as numbers of this dtype, shape (cells,); an empty cell is NaN.

    Raises EmptyCellError for an empty cell where the dtype has no NaN.
    """
    cells = decoded(cells)
    if cells.null_count and dtype.kind not in "fc":
        raise EmptyCellError(first_empty(cells))
    if pa.types.is_decimal(cells.type):
        cells = cells.cast(pa.float64())
    if pa.types.is_boolean(cells.type) and cells.null_count:
        cells = cells.cast(pa.uint8())
    values: Array = cells.to_numpy(zero_copy_only=False)
    return values.astype(dtype, copy=False)


def text_cells(cells: pa.Array) -> Array:
    """Return cells as an object array of text; raises EmptyCellError for an empty cell."""
    cells = decoded(cells)
    if cells.null_count:
        raise EmptyCellError(first_empty(cells))
    values: Array = cells.to_numpy(zero_copy_only=False)
    return values


def rows_of_lists(cells: pa.Array, dtype: np.dtype[Any]) -> list[Array]:
    """Return cells that are lists as one array each; raises EmptyCellError for an empty cell or number."""
    if cells.null_count:
        raise EmptyCellError(first_empty(cells))
    flat, lengths = cells.flatten(), list_lengths(cells)
    ends = np.cumsum(lengths)
    try:
        values = number_cells(flat, dtype)
    except EmptyCellError as cause:
        raise EmptyCellError(int(np.searchsorted(ends, cause.place, "right"))) from None
    return np.split(values, ends[:-1]) if len(ends) else []


def list_lengths(cells: pa.Array) -> Array:
    """Return the length of every list, 0 for an empty cell."""
    if pa.types.is_fixed_size_list(cells.type):
        return np.where(cells.is_valid().to_numpy(zero_copy_only=False), cells.type.list_size, 0).astype(np.int64)
    lengths: Array = cells.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64)


def decoded(cells: pa.Array) -> pa.Array:
    """Return cells that are stored as places in a dictionary as what they stand for."""
    return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells


def first_empty(cells: pa.Array) -> int:
    """Return the place of the first empty cell."""
    return int(np.argmax(cells.is_null().to_numpy(zero_copy_only=False)))
