"""How far two arrays are apart, element by element: in numbers, in representable values, and in bits."""

import numpy as np
import numpy.typing as npt

from tfdump.dtypes import numpy_dtype
from tfdump.tensors import Array

Wide = npt.NDArray[np.floating]
"""float64, or extended precision where float64 would round or overflow."""

_LARGE, _SMALL = 1e150, 1e-290
"""Products of larger numbers than the first may overflow float64; those of smaller numbers than the second lose
digits.
"""


_BEYOND = np.uint64(1 << 63)
"""The steps to a number that a dtype cannot hold: more than any dtype has."""


def distances(golden: Array, new: Array, buffers: tuple[Array, Array]) -> tuple[Wide, Wide]:
    """Return `|new - golden|` and `|golden|` of two flat arrays of one kind, in a dtype wider than both.

    `buffers` are float64 and hold the result if float64 is wide enough. 64-bit integers are subtracted as integers. If
    a number is NaN or infinite, so is the result.
    """
    if golden.dtype.kind in "iu" and max(golden.dtype.itemsize, new.dtype.itemsize) > 4:
        return _integer_distances(golden, new)
    if max(golden.dtype.itemsize, new.dtype.itemsize) > (16 if golden.dtype.kind == "c" else 8):
        return _extended_distances(golden, new)
    if golden.dtype.kind == "c":
        wide = golden.astype(np.complex128)
        error, magnitude = np.abs(new.astype(np.complex128) - wide), np.abs(wide)
    else:
        error, magnitude = (buffer[: golden.size] for buffer in buffers)
        np.copyto(magnitude, golden, casting="same_kind")
        np.copyto(error, new, casting="same_kind")
        np.subtract(error, magnitude, out=error)
        np.abs(error, out=error)
        np.abs(magnitude, out=magnitude)
    largest = max(error.max(), magnitude.max())
    if largest > _LARGE or 0 < largest < _SMALL:  # false for NaN, which is set aside before this matters
        return _extended_distances(golden, new)
    return error, magnitude


def _extended_distances(golden: Array, new: Array) -> tuple[Wide, Wide]:
    wide = np.clongdouble if golden.dtype.kind == "c" else np.longdouble
    return np.abs(new.astype(wide) - golden.astype(wide)), np.abs(golden.astype(wide))


def _integer_distances(golden: Array, new: Array) -> tuple[Wide, Wide]:
    """Subtract integers without losing bits: add magnitudes of unlike signs, subtract others as uint64."""
    below, others_below = golden < 0, new < 0
    a, b = _magnitudes(golden), _magnitudes(new)
    same = below == others_below
    gap = np.where(a > b, a - b, b - a).astype(np.longdouble)
    error = np.where(same, gap, a.astype(np.longdouble) + b.astype(np.longdouble))
    return error, a.astype(np.longdouble)


def _magnitudes(values: Array) -> npt.NDArray[np.uint64]:
    """Return the magnitudes of integers; that of the smallest int64 is what wrapping around gives."""
    wide = values.astype(np.uint64)
    return np.where(values < 0, np.uint64(0) - wide, wide)


def ulps_apart(golden: Array, new: Array, dtype: str) -> npt.NDArray[np.uint64]:
    """Return how many steps between neighboring numbers of the float `dtype` lie between finite numbers.

    Both are rounded to `dtype`, the coarser of their two. For complex numbers, the part that is further apart counts.
    """
    if golden.dtype.kind == "c":
        parts = [ulps_apart(part(golden), part(new), dtype) for part in (np.real, np.imag)]
        return np.maximum(*parts)
    (a, a_below), (b, b_below) = (_steps_from_zero(values, numpy_dtype(dtype)) for values in (golden, new))
    steps = np.where(a_below == b_below, np.where(a > b, a - b, b - a), a + b)
    return np.where((golden != new) & ((a == _BEYOND) | (b == _BEYOND)), _BEYOND, steps)


def _steps_from_zero(values: Array, dtype: np.dtype) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return how many numbers lie between zero and each value, and which values are negative.

    Floats are sign-magnitude numbers. A number that the dtype cannot hold is _BEYOND all others.
    """
    rounded = np.ascontiguousarray(values.astype(dtype))
    bits = rounded.view(f"u{dtype.itemsize}").astype(np.uint64)
    sign = np.uint64(1 << (8 * dtype.itemsize - 1))
    held = np.isfinite(rounded.astype(np.float64)) | ~np.isfinite(values)
    return np.where(held, bits & ~sign, _BEYOND), (bits & sign) != 0


def same_where_not_finite(golden: Array, new: Array, nan_equal: bool) -> npt.NDArray[np.bool_]:
    """Tell which numbers agree, if one of the two is NaN or infinite; for complex numbers, both parts must agree."""
    if golden.dtype.kind == "c":
        parts = [same_where_not_finite(part(golden), part(new), nan_equal) for part in (np.real, np.imag)]
        return np.asarray(parts[0] & parts[1], bool)
    alike = golden == new
    return np.asarray(alike | (np.isnan(golden) & np.isnan(new)) if nan_equal else alike, bool)


def zeros_of_unlike_sign(golden: Array, new: Array) -> npt.NDArray[np.bool_]:
    """Tell which equal numbers differ in their bits: 0.0 and -0.0."""
    if golden.dtype.kind == "c":
        parts = zeros_of_unlike_sign(golden.real, new.real) | zeros_of_unlike_sign(golden.imag, new.imag)
        return np.asarray(parts & (golden == new), bool)
    if golden.dtype.kind != "f":
        return np.zeros(golden.shape, bool)
    return np.asarray((golden == 0) & (new == 0) & (np.signbit(golden) != np.signbit(new)), bool)


def bits_are_equal(golden: Array, new: Array) -> bool:
    """Tell whether two contiguous arrays of numbers hold the same bytes."""
    if golden.dtype != new.dtype or golden.dtype.kind not in "fiubc":
        return False
    old, other = (array.reshape(-1).view(np.uint8) for array in (golden, new))
    if not np.array_equal(old[:4096], other[:4096]):
        return False
    whole = old.size - old.size % 8
    words = np.array_equal(old[:whole].view(np.uint64), other[:whole].view(np.uint64))
    return words and np.array_equal(old[whole:], other[whole:])


def largest_magnitude(values: Array) -> float | None:
    """Return the largest magnitude of numbers without copying them, or None if one is NaN or infinite."""
    if values.dtype.kind in "bc" or values.dtype == np.float16 or values.dtype.itemsize > 8:
        values = np.abs(values.astype(np.complex128 if values.dtype.kind == "c" else np.float64))
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        return None
    return max(abs(int(low)), abs(int(high))) if values.dtype.kind in "iu" else max(abs(float(low)), abs(float(high)))
