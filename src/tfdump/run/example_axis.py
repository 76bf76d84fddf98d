"""Which tensors have one row per example, as the same examples in two batches of different sizes tell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfdump.dtypes import kind_of
from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.kinds.tensor_kind import rows_of
from tfdump.tensors import Array, Ragged, Sparse, Value

_ROUNDING = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2}
"""How far rounding may move a value between batch sizes, relative to the largest value; deep models amplify it.

For the models of keras.applications, 3e-6 was measured in float32.
"""

_COARSE_ROUNDING = 0.1
"""The same for bfloat16 and float8."""


@dataclass(frozen=True)
class AxisFinding:
    """What two looks at a tensor tell: its axis0, and whether its values depend on the batch size."""

    axis0: str
    depends_on_batch: bool


def find_example_axis(
    small: Value, large: Value, few: int, many: int, dtype: str, places: Sequence[int] | None = None
) -> AxisFinding:
    """Compare the value of one tensor for a batch of `few` examples with that for a batch of `many`.

    Both batches must end with the same examples. Otherwise `places` has, for each example of the small batch, its place
    in the large batch; a place behind the end is none. Axis 0 is the example where it has `few` and `many` rows and all
    other axes agree. A tensor that is the same for both batches is a constant.
    """
    by_example = (rows_of(small), rows_of(large)) == (few, many)
    if isinstance(small, (Ragged, Sparse)) or isinstance(large, (Ragged, Sparse)):
        by_example = by_example and type(small) is type(large)
    else:
        by_example = by_example and small.shape[1:] == large.shape[1:]
        if not by_example and small.shape == large.shape and identical(small, large):
            return AxisFinding(NONE, depends_on_batch=False)
    if not by_example:
        return AxisFinding(BATCH, depends_on_batch=True)
    shared = min(few, many)
    last = (few - shared, many - shared)
    first, second = pairs_inside(places, many) if places is not None else (range(last[0], few), range(last[1], many))
    return AxisFinding(EXAMPLE, not rows_agree(small, first, large, second, dtype))


def order_by_sizes(small: Value, large: Value, few: int, many: int) -> tuple[int, ...] | None:
    """Return the order of axes that puts the examples first; None where they are first, or along no axis.

    They are along the only axis whose size is not the same for a batch of `few` examples and for one of `many`.
    """
    if not (isinstance(small, np.ndarray) and isinstance(large, np.ndarray) and small.ndim == large.ndim):
        return None
    sizes = zip(small.shape, large.shape, strict=True)
    changing = [axis for axis, (one, other) in enumerate(sizes) if one != other]
    if len(changing) != 1 or changing == [0]:
        return None
    axis = changing[0]
    return _first(axis, small.ndim) if (small.shape[axis], large.shape[axis]) == (few, many) else None


def order_by_places(
    value: Value, moved: Value, batch: int, dtype: str, places: Sequence[int]
) -> tuple[int, ...] | None:
    """Return the same of a model with a fixed batch size, from a batch and the same examples at other places."""
    if not (isinstance(value, np.ndarray) and isinstance(moved, np.ndarray) and value.shape == moved.shape):
        return None
    if identical(value, moved) or (value.ndim and len(value) == batch and agrees(value[list(places)], moved, dtype)):
        return None
    axes = [
        axis
        for axis in range(1, value.ndim)
        if value.shape[axis] == batch and agrees(value.take(places, axis), moved, dtype)
    ]
    return _first(axes[0], value.ndim) if len(axes) == 1 else None


def _first(axis: int, rank: int) -> tuple[int, ...]:
    return (axis, *(other for other in range(rank) if other != axis))


def confirm(finding: AxisFinding, value: Value, other: Value, places: Sequence[int], dtype: str) -> AxisFinding:
    """Return a finding on the `value` for the first batch after one more look, `other`, at its examples at `places`.

    A further look can only withdraw a finding: rows that do not follow the examples are not theirs, and a tensor that
    changes is not a constant.
    """
    if finding.axis0 == BATCH or (finding.axis0 == EXAMPLE and finding.depends_on_batch):
        return finding
    if finding.axis0 == NONE:
        dense = isinstance(value, np.ndarray) and isinstance(other, np.ndarray)
        same = dense and value.shape == other.shape and identical(value, other)  # type: ignore[arg-type]  # dense
        return finding if same else AxisFinding(BATCH, depends_on_batch=True)
    if rows_of(other) != len(places):
        return AxisFinding(BATCH, depends_on_batch=True)
    first, second = pairs_inside(places, rows_of(value))
    return AxisFinding(EXAMPLE, not rows_agree(other, first, value, second, dtype))


def pairs_inside(places: Sequence[int], many: int) -> tuple[Sequence[int], Sequence[int]]:
    """Return the numbers of the examples of a look that a batch of `many` has too, and their places in the batch."""
    inside = [number for number, place in enumerate(places) if place < many]
    return inside, [places[number] for number in inside]


def rows_agree(a: Value, rows_a: Sequence[int], b: Value, rows_b: Sequence[int], dtype: str) -> bool:
    """Tell whether these rows of two values are equal up to the rounding of their dtype."""
    if isinstance(a, Ragged) and isinstance(b, Ragged):
        a, b = _ragged_rows(a, rows_a), _ragged_rows(b, rows_b)
        same_places = len(a.row_splits) == len(b.row_splits) and all(map(np.array_equal, a.row_splits, b.row_splits))
    elif isinstance(a, Sparse) and isinstance(b, Sparse):
        a, b = _sparse_rows(a, rows_a), _sparse_rows(b, rows_b)
        same_places = np.array_equal(a.indices, b.indices)
    elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape[1:] == b.shape[1:] and agrees(a[list(rows_a)], b[list(rows_b)], dtype)
    else:
        return False
    return same_places and a.values.shape == b.values.shape and agrees(a.values, b.values, dtype)


def rows_at(value: Value, rows: Sequence[int]) -> Value:
    """Return a copy of some rows of a value."""
    if isinstance(value, Ragged):
        return _ragged_rows(value, rows)
    return _sparse_rows(value, rows) if isinstance(value, Sparse) else value[list(rows)]


def _ragged_rows(value: Ragged, rows: Sequence[int]) -> Ragged:
    """Return some rows of a ragged tensor."""
    inner, splits = np.asarray(rows, np.int64), []
    for level in value.row_splits:
        lengths = level[inner + 1] - level[inner]
        splits.append(np.concatenate([[0], np.cumsum(lengths)]))
        parts = [np.arange(level[row], level[row + 1]) for row in inner]
        inner = np.concatenate(parts) if parts else inner
    return Ragged(value.values[inner], tuple(splits))


def _sparse_rows(value: Sparse, rows: Sequence[int]) -> Sparse:
    """Return some rows of a sparse tensor."""
    entries = [np.flatnonzero(value.indices[:, 0] == row) for row in rows]
    entry_numbers = np.concatenate(entries) if entries else np.zeros(0, np.int64)
    indices = value.indices[entry_numbers]
    indices[:, 0] = np.repeat(np.arange(len(entries)), [len(entry) for entry in entries])
    return Sparse(value.values[entry_numbers], indices, (len(entries), *value.dense_shape[1:]))


def _by_rows(by_example: bool) -> AxisFinding:
    """Return the finding on a ragged or sparse tensor: it has one row per example or depends on its batch."""
    return AxisFinding(EXAMPLE if by_example else BATCH, depends_on_batch=not by_example)


def find_by_rolling(
    value: Value, rolled: Value, batch: int, dtype: str, places: Sequence[int] | None = None
) -> AxisFinding:
    """Tell the same of a model with a fixed batch size, from a batch and the same batch with its examples moved.

    They are moved by one, or to the `places`. Axis 0 is the example where its rows moved with the examples, or are all
    equal.
    """
    order = np.roll(np.arange(batch), 1).tolist() if places is None else places
    if isinstance(value, (Ragged, Sparse)) or isinstance(rolled, (Ragged, Sparse)):
        finding = _by_rows(type(value) is type(rolled) and (rows_of(value), rows_of(rolled)) == (batch, batch))
        return confirm(finding, value, rolled, order, dtype)
    if value.shape != rolled.shape:
        return AxisFinding(BATCH, depends_on_batch=True)
    unchanged = identical(value, rolled)
    if value.ndim and len(value) == batch and agrees(value[list(order)], rolled, dtype):
        return AxisFinding(EXAMPLE, depends_on_batch=False)
    return AxisFinding(NONE, depends_on_batch=False) if unchanged else AxisFinding(BATCH, depends_on_batch=True)


def find_in_fixed_batches(
    value: Value,
    rolled: Value,
    alone: Value,
    batch: int,
    dtype: str,
    places: Sequence[int] | None = None,
    place: int = -1,
) -> AxisFinding:
    """Tell the same from a third look too, at a batch that repeats the example at `place`.

    A sum, mean or sort over the batch does not change when the examples change places, but does without the others.
    """
    finding = find_by_rolling(value, rolled, batch, dtype, places)
    if isinstance(value, (Ragged, Sparse)) or isinstance(alone, (Ragged, Sparse)):
        return finding
    if finding.axis0 == EXAMPLE:
        agree = value.shape == alone.shape and agrees(value[[place]], alone[[place]], dtype)
        return AxisFinding(EXAMPLE, not agree)
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
        if np.isfinite(farthest) and np.isfinite(scale):  # otherwise NaN and infinities are compared one by one
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
    """Return the largest magnitude, or NaN where one of the values is NaN."""
    return max(float(values.max()), -float(values.min()))
