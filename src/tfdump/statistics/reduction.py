"""`--reduce OP[:AXES]`: reduces a tensor before it is stored."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.dtypes import kind_of, numpy_dtype
from tfdump.errors import TfdumpError
from tfdump.tensors import Array

SPATIAL = "spatial"

NARROW_FLOATS = frozenset({"float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"})
"""Floats whose sums and norms are stored as float32: 32,768 values of 2 overflow float16, and bfloat16 has 8 bits."""

_HALF = 32
"""Bits in each half of a 64-bit integer: the sums of the halves do not overflow."""


LEAST_SOUND_NORM = 1e-140
"""Squares of smaller numbers lose bits in float64."""


def _norm(values: Array, axis: tuple[int, ...], dtype: Any) -> Array:
    squares: Array = np.sum(np.square(np.abs(values), dtype=dtype), axis=axis)
    return np.sqrt(squares)


def _extreme(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda values, axis, dtype: function(values, axis=axis)


_OPERATIONS: dict[str, Callable[..., Array]] = {
    "mean": np.mean,
    "sum": np.sum,
    "max": _extreme(np.max),
    "min": _extreme(np.min),
    "norm": _norm,
}


@dataclass(frozen=True)
class Reduced:
    """The result of a reduction, and how many of its numbers do not fit: these are infinite, or the largest integer."""

    values: Array
    overflowed: int = 0


@dataclass(frozen=True)
class Reduction:
    """One operation over some axes of a tensor; `axes` is a tuple of axis numbers, `spatial`, or None.

    `spatial` means all axes but the first and the last, None all but the first. Axis 0, which holds the examples, is
    never reduced.
    """

    operation: str
    axes: tuple[int, ...] | str | None

    def axes_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the axes to reduce in a tensor of this shape; empty if it has none of them."""
        rank = len(shape)
        if self.axes is None:
            return tuple(range(1, rank))
        if isinstance(self.axes, str):
            return tuple(range(1, rank - 1))
        inside = {axis % rank for axis in self.axes if -rank <= axis < rank}
        return tuple(sorted(inside - {0}))

    def dtype_of(self, dtype: str) -> str:
        """Return the dtype in which a tensor of this dtype is stored after a reduction.

        Sums and norms of 16-bit and 8-bit floats, which might not fit, are float32. Sums of integers are int64 (uint64
        for uint64), means and norms of integers float64, and norms of complex numbers real.
        """
        kind = kind_of(dtype)
        if kind in "SV" or self.operation in ("max", "min"):
            return dtype
        if kind in "iub" and self.operation == "sum":
            return "uint64" if dtype == "uint64" else "int64"
        if kind in "iub":
            return "float64"
        if self.operation == "norm" and kind == "c":
            return {"complex64": "float32"}.get(dtype, "float64")
        return "float32" if self.operation in ("sum", "norm") and dtype in NARROW_FLOATS else dtype

    def apply(self, values: Array) -> Array:
        """Return the reduced values, in the dtype that `dtype_of` returns; see `reduce`."""
        return self.reduce(values).values

    def reduce(self, values: Array) -> Reduced:
        """Return the reduced values, in the dtype that `dtype_of` returns.

        Sums run in float64 or, if they may overflow it, in the longest float; sums of integers are exact. Without an
        axis to reduce, and for text, the values are returned unchanged. An empty axis gives NaN (0 for sums).
        """
        axes = self.axes_of(values.shape)
        if not axes or values.dtype.kind in "OSU":
            return Reduced(values)
        exact = values.dtype.kind in "iub"
        stored = numpy_dtype(self.dtype_of(values.dtype.name))
        if 0 in (values.shape[axis] for axis in axes) and self.operation in ("max", "min", "mean"):
            dtype = np.dtype(np.float64) if exact else stored
            return Reduced(np.full([n for axis, n in enumerate(values.shape) if axis not in axes], np.nan, dtype))
        if exact and self.operation == "sum":
            return _exact_sum(values, axes, stored)
        with np.errstate(all="ignore"):
            reduced = self._in_wide_floats(values, axes)
            narrowed = reduced.astype(stored)
            if narrowed.dtype.itemsize >= reduced.dtype.itemsize:
                return Reduced(narrowed)
            return Reduced(narrowed, int(np.count_nonzero(~np.isfinite(narrowed) & np.isfinite(reduced))))

    def _in_wide_floats(self, values: Array, axes: tuple[int, ...]) -> Array:
        """Return the results in float64 or complex128, computed in the longest float if intermediate values need it.

        The squares and sums of 64-bit floats may overflow even if their norm and mean do not.
        """
        function = _OPERATIONS[self.operation]
        is_complex = values.dtype.kind == "c" and self.operation != "norm"
        reduced = np.asarray(function(values, axis=axes, dtype=np.complex128 if is_complex else np.float64))
        if self.operation in ("max", "min") or values.dtype.name not in ("float64", "complex128"):
            return reduced
        sound = np.isfinite(reduced)
        if self.operation == "norm":
            sound &= reduced > LEAST_SOUND_NORM
        if sound.all():
            return reduced
        longest = function(values, axis=axes, dtype=np.clongdouble if is_complex else np.longdouble)
        return np.where(sound, reduced, longest)

    def __str__(self) -> str:
        if self.axes is None:
            return self.operation
        axes = self.axes if isinstance(self.axes, str) else ",".join(map(str, self.axes))
        return f"{self.operation}:{axes}"


def _exact_sum(values: Array, axes: tuple[int, ...], stored: np.dtype[Any]) -> Reduced:
    """Sum integers and booleans in int64 or uint64; a sum that does not fit becomes the nearest number that does."""
    total = np.asarray(values.sum(axis=axes, dtype=stored))
    limits = np.iinfo(stored)
    count = math.prod(values.shape[axis] for axis in axes)
    if values.dtype.itemsize < stored.itemsize or not values.size:
        return Reduced(total)
    if max(int(values.max()), -int(values.min())) * count <= limits.max:
        return Reduced(total)
    low = np.asarray((values & (2**_HALF - 1)).sum(axis=axes, dtype=np.int64))
    high = np.asarray((values >> _HALF).sum(axis=axes, dtype=np.int64)) + (low >> _HALF)
    above, below = high > limits.max >> _HALF, high < limits.min >> _HALF
    total[above], total[below] = limits.max, limits.min
    return Reduced(total, int(np.count_nonzero(above | below)))


def parse_reduction(text: str) -> Reduction:
    """Read `OP[:AXES]`; raises TfdumpError for an unknown operation, for axes that are not numbers, and for axis 0."""
    operation, colon, axes_text = text.partition(":")
    if operation not in _OPERATIONS:
        raise TfdumpError(f"cannot reduce by '{operation}' (choose one of {', '.join(_OPERATIONS)})")
    if not colon:
        return Reduction(operation, None)
    if axes_text == SPATIAL:
        return Reduction(operation, SPATIAL)
    try:
        axes = tuple(int(part) for part in axes_text.split(","))
    except ValueError:
        raise TfdumpError(f"axes '{axes_text}' of --reduce are neither numbers (1,2) nor '{SPATIAL}'") from None
    if 0 in axes:
        raise TfdumpError("--reduce cannot reduce axis 0, which holds the examples")
    return Reduction(operation, axes)
