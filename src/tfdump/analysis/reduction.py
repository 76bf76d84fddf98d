"""`--reduce OP[:AXES]`: make a tensor smaller before it is stored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.errors import TfdumpError
from tfdump.tensors import Array

SPATIAL = "spatial"


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
class Reduction:
    """One operation over some axes of a tensor; `axes` is a tuple of axis numbers, `spatial`, or None.

    `spatial` means all axes but the first and the last, None all but the first. Axis 0, where the examples
    are, is never reduced.
    """

    operation: str
    axes: tuple[int, ...] | str | None

    def axes_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the axes to reduce in a tensor of this shape; none where it has none of them."""
        rank = len(shape)
        if self.axes is None:
            return tuple(range(1, rank))
        if isinstance(self.axes, str):
            return tuple(range(1, rank - 1))
        inside = {axis % rank for axis in self.axes if -rank <= axis < rank}
        return tuple(sorted(inside - {0}))

    def apply(self, values: Array) -> Array:
        """Return the reduced values, in the dtype of the tensor (float64 for the mean or norm of integers).

        Sums run in float64. Without an axis to reduce, and for text, the values come back as they are; an
        empty axis gives NaN (0 for sums).
        """
        axes = self.axes_of(values.shape)
        if not axes or values.dtype.kind in "OSU":
            return values
        exact = values.dtype.kind in "iub"
        nothing = 0 in (values.shape[axis] for axis in axes)
        if nothing and self.operation in ("max", "min", "mean"):
            dtype = np.dtype(np.float64) if exact else values.dtype
            return np.full([n for axis, n in enumerate(values.shape) if axis not in axes], np.nan, dtype)
        with np.errstate(all="ignore"):
            if exact and self.operation == "sum":
                return np.asarray(values.sum(axis=axes, dtype=np.int64))
            wide = np.complex128 if values.dtype.kind == "c" and self.operation != "norm" else np.float64
            reduced = np.asarray(_OPERATIONS[self.operation](values, axis=axes, dtype=wide))
        keep = np.float64 if exact and self.operation in ("mean", "norm") else values.dtype
        if values.dtype.kind == "c" and self.operation == "norm":
            keep = values.real.dtype
        return reduced.astype(keep)

    def __str__(self) -> str:
        if self.axes is None:
            return self.operation
        axes = self.axes if isinstance(self.axes, str) else ",".join(map(str, self.axes))
        return f"{self.operation}:{axes}"


def parse_reduction(text: str) -> Reduction:
    """Read `OP[:AXES]`; raises TfdumpError for an unknown operation, for axes that are no numbers, and for axis 0."""
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
