"""Relative errors, summed batch by batch, are those of all values at once in extended precision."""

import numpy as np
import pytest

from support.tiny_models import rng
from tfdump.side_by_side.error_sums import ErrorSum


def summed(reference: np.ndarray, value: np.ndarray, parts: int = 3) -> float:
    """The error, from batches of unequal sizes."""
    error = ErrorSum()
    for old, new in zip(np.array_split(reference, parts), np.array_split(value, parts), strict=True):
        error.add(old, new)
    return error.relative


def expected(reference: np.ndarray, value: np.ndarray) -> float:
    wide = np.clongdouble if reference.dtype.kind == "c" else np.longdouble
    old, new = reference.astype(wide), value.astype(wide)
    return float(np.sqrt((abs(new - old) ** 2).sum() / (abs(old) ** 2).sum()))


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e25, 1e-12])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(7, 3), (100, 40, 33), (70_000,)])
def test_every_scale_and_size(shape: tuple[int, ...], dtype: str, scale: float) -> None:
    reference = (rng().standard_normal(shape) * scale).astype(dtype)
    value = (reference * (1 + 1e-3 * rng(1).standard_normal(shape))).astype(dtype)
    assert summed(reference, value) == pytest.approx(expected(reference, value), rel=1e-6)
    assert summed(reference, reference) == 0


def test_a_small_error_of_large_numbers() -> None:
    reference = np.full(80_000, 1000, "float32")
    value = reference.copy()
    value[51_000] = np.nextafter(np.float32(1000), np.float32(2000))
    assert summed(reference, value) == pytest.approx(expected(reference, value), rel=1e-6)


def test_zeros_whole_numbers_and_what_is_not_finite() -> None:
    zeros, ones = np.zeros(600, "float32"), np.ones(600, "float32")
    assert summed(zeros, zeros) == 0
    assert summed(zeros, ones) == np.inf
    assert summed(np.arange(600), np.arange(600) + 1) == pytest.approx(expected(np.arange(600), np.arange(600) + 1))
    assert summed(ones > 0, ones > 2) == 1
    for odd in (np.nan, np.inf, -np.inf):
        both, one = ones.copy(), ones.copy()
        both[300] = odd
        assert summed(both, both) == 0
        assert summed(one, both) == np.inf
        other = both.copy()
        other[:100] = 2
        assert summed(both, other) == pytest.approx(np.sqrt(100 / 599), rel=1e-6)
    assert summed(np.array([np.inf], "float32"), np.array([-np.inf], "float32"), 1) == np.inf
