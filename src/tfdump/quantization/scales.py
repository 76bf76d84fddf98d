"""Scales and zero points of integers: by the range, and by the least mean squared error."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.accumulators.quantile_histogram import QuantileHistogram
from tfdump.quantization.quantizers import IntegerQuantizer

_Floats = npt.NDArray[np.float64]

_LEAST = 5e-324
_MOST_SEARCHED = 2_000
"""The bins of a histogram that are searched for the least error: more are joined."""

_COARSE, _FINE = 2.0 ** (-np.arange(0, 48) / 4), 2.0 ** (np.arange(-8, 9) / 32)
"""The shares of the range that are tried: twelve octaves in steps of a quarter, then the best one in finer steps."""


def symmetric_quantizer(bits: int, low: float, high: float) -> IntegerQuantizer:
    """Return the quantizer from `low` to `high` with the zero point 0: -127 to 127 for 8 bits.

    The scale is that of TensorFlow Lite's weights, `max(-low, high) / 127`.
    """
    most = 2 ** (bits - 1) - 1
    return IntegerQuantizer(_scale(0.0, max(-low, high, 0.0), most), 0, -most, most)


def asymmetric_quantizer(bits: int, low: float, high: float) -> IntegerQuantizer:
    """Return the quantizer from `low` to `high` and with 0, at -128 to 127 for 8 bits.

    The zero point is the integer nearest to the real one, as in TensorFlow Lite
    (`tensorflow/compiler/mlir/lite/quantization/ir/UniformSupport`, "nudged zero point").
    """
    low, high = min(low, 0.0), max(high, 0.0)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = _scale(low, high, most - least)
    if low == high:
        return IntegerQuantizer(scale, 0, least, most)
    zero_point = int(np.clip(np.rint(least - low / scale), least, most))
    return IntegerQuantizer(scale, zero_point, least, most)


def _scale(low: float, high: float, steps: int) -> float:
    """Return the scale with so many steps from `low` to `high`, above 0: 1 for a range of zeros alone."""
    return max(high / steps - low / steps, _LEAST) if low or high else 1.0


@dataclass(frozen=True)
class Distribution:
    """Values with how often they occur: single values, or intervals over which they are spread evenly."""

    low: _Floats
    high: _Floats
    counts: npt.NDArray[np.int64]

    @classmethod
    def of_values(cls, values: _Floats) -> "Distribution":
        """Return the distribution of finite values."""
        single, counts = np.unique(values, return_counts=True)
        return cls(single, single, counts)

    @classmethod
    def of_histogram(cls, histogram: QuantileHistogram, low: float, high: float) -> "Distribution":
        """Return the distribution of a histogram of values from `low` to `high`."""
        coarse = histogram.within(_MOST_SEARCHED)
        lows, highs = coarse.edges()
        return cls(np.clip(lows, low, high), np.clip(highs, low, high), coarse.counts)

    def squared_error(self, quantizer: IntegerQuantizer) -> float:
        """Return the sum of the squared errors, in units of the squared largest magnitude."""
        least, most = (end - quantizer.zero_point for end in (quantizer.low, quantizer.high))
        a = self.low / quantizer.scale
        errors = np.square(a - np.clip(np.rint(a), least, most))
        if self.high is not self.low:
            b = self.high / quantizer.scale
            width = b - a
            spread = width > 1e-9 * np.maximum(np.abs(a), np.abs(b))
            integrals = _integral(b, least, most) - _integral(a, least, most)
            np.divide(integrals, width, out=errors, where=spread)
        unit = quantizer.scale / (max(float(np.abs(self.low).max()), float(np.abs(self.high).max())) or 1.0)
        return float(np.dot(errors, self.counts)) * unit * unit


def _integral(steps: _Floats, least: int, most: int) -> _Floats:
    """Return the integral of the squared error from 0 to `steps`, in units of the scale.

    Between two integers it is 1/12; beyond the ends it grows with the third power.
    """
    inside = np.clip(steps, least, most)
    nearest = np.rint(inside)
    rest, beyond = inside - nearest, steps - inside
    return nearest / 12 + rest * rest * rest / 3 + beyond * beyond * beyond / 3


def symmetric_by_error(bits: int, low: float, high: float, values: Distribution) -> IntegerQuantizer:
    """Return the symmetric quantizer of the least mean squared error, up to the steps of the search."""
    return _best(lambda share: symmetric_quantizer(bits, low * share, high * share), values)[0]


def asymmetric_by_error(bits: int, low: float, high: float, values: Distribution) -> IntegerQuantizer:
    """Return the asymmetric quantizer of the least mean squared error: both ends are moved, then each alone."""
    low, high = min(low, 0.0), max(high, 0.0)
    best, share = _best(lambda share: asymmetric_quantizer(bits, low * share, high * share), values)
    low, high = low * share, high * share
    if not low or not high:
        return best
    _, share = _best(lambda share: asymmetric_quantizer(bits, low, high * share), values)
    high *= share
    return _best(lambda share: asymmetric_quantizer(bits, low * share, high), values)[0]


def _best(quantizer_of: Callable[[float], IntegerQuantizer], values: Distribution) -> tuple[IntegerQuantizer, float]:
    """Return the quantizer of the least error, and its share of the range."""

    def errors(shares: _Floats) -> Iterator[tuple[float, float]]:
        for share in shares.tolist():
            yield values.squared_error(quantizer_of(share)), -share

    _, coarse = min(errors(_COARSE))
    _, fine = min(errors(np.minimum(-coarse * _FINE, 1.0)))
    return quantizer_of(-fine), -fine
