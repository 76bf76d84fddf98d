"""The signal-to-quantization-noise ratio, against its definition in exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest

from tfdump.statistics.sqnr import SignalToNoise


def ratio(*blocks: tuple[np.ndarray, np.ndarray]) -> float:
    gathered = SignalToNoise()
    for values, quantized in blocks:
        gathered.add(values, quantized)
    return gathered.decibels()


def by_definition(values: np.ndarray, quantized: np.ndarray) -> float:
    """The definition, in fractions."""
    pairs = [(Fraction(x), Fraction(q)) for x, q in zip(values.tolist(), quantized.tolist(), strict=True)
             if math.isfinite(x) and math.isfinite(q)]  # fmt: skip
    share = sum(x * x for x, _ in pairs) / sum((x - q) ** 2 for x, q in pairs)
    return 10 * (math.log10(share.numerator) - math.log10(share.denominator))


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e-160, 1e200, 1e307])
@pytest.mark.parametrize("blocks", [1, 7])
def test_the_ratio_is_that_of_the_definition(scale: float, blocks: int) -> None:
    random = np.random.default_rng(0)
    values = random.uniform(-1, 1, 1000) * scale
    quantized = values + random.uniform(-1e-3, 1e-3, 1000) * scale
    values[3], quantized[5], quantized[7] = np.nan, np.inf, -np.inf
    pairs = zip(np.array_split(values, blocks), np.array_split(quantized, blocks), strict=True)
    assert ratio(*pairs) == pytest.approx(by_definition(values, quantized), abs=1e-9)


def test_the_ends_of_the_scale() -> None:
    zeros, ones = np.zeros(3), np.ones(3)
    assert ratio((ones, ones)) == math.inf
    assert ratio((zeros, zeros)) == math.inf
    assert ratio((zeros, ones)) == -math.inf
    assert math.isnan(ratio((ones * np.nan, ones)))
    assert math.isnan(ratio())


def test_narrow_types_are_compared_in_float64() -> None:
    values = np.array([1 / 3, 2 / 3, 1000.0], "f4")
    narrow = values.astype("f2")
    assert ratio((values, narrow)) == pytest.approx(by_definition(values, narrow), abs=1e-9)
