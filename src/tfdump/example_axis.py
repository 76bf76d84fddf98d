"""Which tensors have a row an example: found by looking at the same examples in two batches of different sizes."""

from dataclasses import dataclass

import numpy as np

from tfdump.dtypes import kind_of
from tfdump.tensors import Array, Ragged, Sparse, Value

EXAMPLE, NONE, BATCH = "example", "none", "batch"

_ROUNDING = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2}
"""How far rounding may move a value between batch sizes, relative to the largest; deep models amplify it.

Over the models of keras.applications 3e-6 was measured in float32.
"""

_COARSE_ROUNDING = 0.1
"""The same for bfloat16 and float8."""


@dataclass(frozen=True)
class AxisFinding:
    """What two looks at a tensor tell: its axis0, and whether its values depend on the size of the batch."""

    axis0: str
    depends_on_batch: bool


def find_example_axis(
    small: Value, large: Value, few: int, many: int, dtype: str, reverse: bool = False
) -> AxisFinding:
    """Compare the value of one tensor for a batch of `few` examples with that for a batch of `many`.

    The last examples of both batches must be the same; with `reverse` the small batch has them in reverse order, in
    which a sort or a shuffle does not hide. Axis 0 is the example when it has `few` and `many` rows
    and all other axes agree; a tensor that is the same for both is a constant.
    """
    if isinstance(small, (Ragged, Sparse)) or isinstance(large, (Ragged, Sparse)):
        return _by_rows(type(small) is type(large) and (rows_of(small), rows_of(large)) == (few, many))
    by_example = small.ndim > 0 and large.ndim > 0 and (len(small), len(large)) == (few, many)
    if by_example and small.shape[1:] == large.shape[1:]:
        shared = min(few, many)
        rows = small[::-1] if reverse else small
        return AxisFinding(EXAMPLE, not agrees(rows[few - shared :], large[many - shared :], dtype))
    if small.shape == large.shape and identical(small, large):
        return AxisFinding(NONE, depends_on_batch=False)
    return AxisFinding(BATCH, depends_on_batch=True)


def rows_of(value: Value) -> int:
    """Return the length of a value along axis 0, -1 where it has no axis."""
    return int(value.shape[0]) if value.shape else -1


def _by_rows(by_example: bool) -> AxisFinding:
    """Return the finding on a ragged or sparse tensor, which has a row per example or belongs to its batch."""
    return AxisFinding(EXAMPLE if by_example else BATCH, depends_on_batch=not by_example)


def find_by_rolling(value: Value, rolled: Value, batch: int, dtype: str) -> AxisFinding:
    """Tell the same of a model whose batch size is fixed, from a batch and from it with its examples moved by one.

    Axis 0 is the example when its rows moved along (or are all equal, which cannot be told apart).
    """
    if isinstance(value, (Ragged, Sparse)) or isinstance(rolled, (Ragged, Sparse)):
        return _by_rows(type(value) is type(rolled) and (rows_of(value), rows_of(rolled)) == (batch, batch))
    if value.shape != rolled.shape:
        return AxisFinding(BATCH, depends_on_batch=True)
    unchanged = identical(value, rolled)
    if value.ndim and len(value) == batch and agrees(np.roll(value, 1, axis=0), rolled, dtype):
        return AxisFinding(EXAMPLE, depends_on_batch=False)
    return AxisFinding(NONE, depends_on_batch=False) if unchanged else AxisFinding(BATCH, depends_on_batch=True)


def find_in_fixed_batches(value: Value, rolled: Value, alone: Value, batch: int, dtype: str) -> AxisFinding:
    """Tell the same from a third look too, at a batch made of the last example alone: mixing does not hide there.

    A sum, mean or sort over the batch does not change when the examples change places, but does with the others gone.
    """
    finding = find_by_rolling(value, rolled, batch, dtype)
    if isinstance(value, (Ragged, Sparse)) or isinstance(alone, (Ragged, Sparse)):
        return finding
    if finding.axis0 == EXAMPLE:
        return AxisFinding(EXAMPLE, value.shape != alone.shape or not agrees(value[-1:], alone[-1:], dtype))
    if finding.axis0 == NONE and (value.shape != alone.shape or not identical(value, alone)):
        return AxisFinding(BATCH, depends_on_batch=True)
    return finding


def identical(a: Array, b: Array) -> bool:
    """Tell whether two arrays of one shape are equal; NaN equals NaN."""
    if a.dtype.kind in "OSUbiu":
        return bool(np.array_equal(a, b))
    return bool(np.all((a == b) | (np.isnan(a) & np.isnan(b))))


def agrees(a: Array, b: Array, dtype: str) -> bool:
    """Tell whether two arrays of one shape are equal up to the rounding of their dtype; NaN equals NaN."""
    if kind_of(dtype) not in "fc":
        return bool(np.array_equal(a, b))
    rounding = _ROUNDING.get(dtype, _COARSE_ROUNDING)
    if a.dtype in (np.float32, np.float64) and a.dtype == b.dtype and a.size:
        with np.errstate(all="ignore"):
            farthest = _largest(a - b)
        scale = _largest(a)
        if np.isfinite(farthest) and np.isfinite(scale):  # else NaN and infinities are compared one by one
            return bool(farthest <= rounding * scale)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    first, second = a.astype(wide), b.astype(wide)
    with np.errstate(all="ignore"):
        difference = np.abs(first - second)
        scale = np.max(np.abs(first), initial=0, where=np.isfinite(first))
        near = difference <= rounding * scale
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    return bool(np.all(near | same))


def _largest(values: Array) -> float:
    """Return the largest magnitude; NaN where there is one."""
    return max(float(values.max()), -float(values.min()))
