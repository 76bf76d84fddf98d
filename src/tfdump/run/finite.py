"""Whether an array holds NaN or infinity, at about the price of one sum, and where the first one is."""

from typing import Any

import numpy as np

from tfdump.dtypes import dtype_name, kind_of
from tfdump.tensors import Array, Ragged, Sparse, Value

_BLOCK = 1 << 17
"""Values per block of an exact search, so that what it makes of a block stays in cache."""

_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80}
"""The bits of positive infinity of floats that are tested as integers, which is many times as fast as their sum.

Without the sign, NaN has larger bits, and every finite number has smaller ones.
"""


def first_not_finite(values: Array, allow_inf: bool = False) -> int | None:
    """Return the position in C order of the first NaN or infinity, None where all values are finite.

    With `allow_inf`, only NaN counts. Integers, booleans and text are finite. A complex number counts by its parts.
    """
    name = dtype_name(values.dtype)
    if kind_of(name) not in "fc" or not values.size:
        return None
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.dtype.kind == "c":
        position = first_not_finite(flat.view(flat.real.dtype), allow_inf)
        return None if position is None else position // 2
    if name in _INFINITY:
        return _first_by_bits(flat.view(np.uint16), _INFINITY[name], allow_inf)
    return None if _sum_is_finite(flat) else _first_by_value(flat, allow_inf)


def first_bad_row(value: Value, allow_inf: bool = False) -> int | None:
    """Return the first row along axis 0 that holds NaN or infinity, None where there is none; a scalar has the row 0.

    Rows of sparse tensors are those of their indices, and rows of ragged ones those between their offsets.
    """
    values = value if isinstance(value, np.ndarray) else value.values
    position = first_not_finite(values, allow_inf)
    if position is None:
        return None
    item = position // (values[:1].size or 1) if values.ndim else 0
    if isinstance(value, Sparse):
        bad = _bad(value.values, allow_inf).reshape(len(value.values), -1).any(axis=1)
        return int(value.indices[bad, 0].min())
    if isinstance(value, Ragged):
        for splits in reversed(value.row_splits):
            item = int(np.searchsorted(splits, item, side="right")) - 1
    return item


def _sum_is_finite(flat: Array) -> bool:
    """Tell whether the sum is finite. Then every value is, but finite values can have an infinite sum too."""
    if flat.dtype.itemsize < 2:  # float8, whose sum overflows at once
        return False
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.add.reduce(flat)))


def _first_by_value(flat: Array, allow_inf: bool) -> int | None:
    for start in range(0, flat.size, _BLOCK):
        bad = _bad(flat[start : start + _BLOCK], allow_inf)
        if bad.any():
            return start + int(bad.argmax())
    return None


def _bad(values: Array, allow_inf: bool) -> Any:
    return np.isnan(values) if allow_inf else ~np.isfinite(values)


def _first_by_bits(bits: Array, infinity: int, allow_inf: bool) -> int | None:
    least = infinity + 1 if allow_inf else infinity
    for start in range(0, bits.size, _BLOCK):
        magnitudes = np.bitwise_and(bits[start : start + _BLOCK], 0x7FFF)
        if magnitudes.max() >= least:
            return start + int((magnitudes >= least).argmax())
    return None
