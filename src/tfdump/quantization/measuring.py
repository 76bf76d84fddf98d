"""The range of one tensor or channel, and what narrower numbers make of it: few passes over its values."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfdump.accumulators.quantile_histogram import QuantileAccumulator, QuantileHistogram
from tfdump.quantization import scales
from tfdump.quantization.order_statistics import estimated_percentiles, exact_percentiles
from tfdump.quantization.quantizers import (
    LARGEST,
    FixedPointQuantizer,
    FloatQuantizer,
    IntegerQuantizer,
    Quantizer,
    integer_bits_for,
)
from tfdump.quantization.records import (
    PERCENTS,
    FixedPoint,
    FloatLoss,
    IntegerScale,
    Percentile,
    TensorRange,
)
from tfdump.quantization.values import RealValues
from tfdump.statistics.sqnr import SignalToNoise

SHOWN = ("range", "bits", "int8", "int16", "float")
"""What can be told about a tensor."""

METHODS = ("max", "percentile", "mse")
"""What decides the range of integers."""

_FEW = 1 << 13
"""Up to so many values are searched for the least error themselves, and more by their histogram."""


@dataclass(frozen=True)
class RangeOptions:
    """What is told: which of SHOWN, the width of fixed-point types, and the percentage of the method `percentile`."""

    shown: frozenset[str] = frozenset(SHOWN)
    bits: int = 16
    percentile: float = 99.99

    @property
    def percents(self) -> tuple[float, ...]:
        """All percentages that are needed."""
        further = (100 - self.percentile, self.percentile) if self.widths else ()
        return tuple(dict.fromkeys((*(PERCENTS if "range" in self.shown else ()), *further)))

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of integers that are told."""
        return tuple(bits for bits in (8, 16) if f"int{bits}" in self.shown)


class Summary:
    """Counts and ends of the values of a tensor, and their histogram."""

    def __init__(self) -> None:
        self.count = self.nan = self.inf = self.zero = 0
        self.min, self.max = math.inf, -math.inf
        self._gathered = QuantileAccumulator()

    def add(self, blocks: Iterable[Any]) -> None:
        """Add blocks of numbers."""
        for block in blocks:
            self.count += block.size
            finite = np.isfinite(block)
            if not finite.all():
                self.nan += int(np.count_nonzero(np.isnan(block)))
                self.inf += int(np.count_nonzero(np.isinf(block)))
            self._add_finite(block if finite.all() else block[finite])

    def _add_finite(self, numbers: Any) -> None:
        if numbers.size:
            self.zero += int(numbers.size - np.count_nonzero(numbers))
            self.min, self.max = min(self.min, float(numbers.min())), max(self.max, float(numbers.max()))
            self._gathered.add(numbers)

    def histogram(self) -> QuantileHistogram:
        """Return the histogram of the finite values."""
        return self._gathered.histogram()


def measured(record: TensorRange, values: RealValues, options: RangeOptions) -> TensorRange:
    """Return a record with what the values tell."""
    summary = Summary()
    summary.add(values.blocks())
    histogram = summary.histogram()
    record = replace(record, count=summary.count, nan=summary.nan, inf=summary.inf, zero=summary.zero)
    if not histogram.finite:
        return replace(record, min=math.nan, max=math.nan, **_nothing(options))
    record = replace(record, min=summary.min, max=summary.max)
    percentiles = exact_percentiles(values.finite_wide_blocks, histogram, options.percents, values.leading_bits)
    distribution = None
    if options.widths and histogram.finite <= _FEW:
        distribution = scales.Distribution.of_values(np.concatenate(list(values.finite_wide_blocks())))
    elif options.widths:
        distribution = scales.Distribution.of_histogram(histogram, record.min, record.max)
    return _with_losses(_with_types(record, percentiles, options, distribution), values)


def estimated(
    record: TensorRange, histogram: QuantileHistogram | None, options: RangeOptions, whole: bool
) -> TensorRange:
    """Return a record that has the counts and the ends with what they and a histogram tell; there are no ratios."""
    if record.count == record.nan + record.inf:
        return replace(record, min=math.nan, max=math.nan, **_nothing(options))
    if histogram is None:
        return _with_types(record, (), options, None)
    percentiles = estimated_percentiles(histogram, record.min, record.max, options.percents, whole)
    distribution = scales.Distribution.of_histogram(histogram, record.min, record.max)
    return _with_types(record, percentiles, options, distribution)


def _nothing(options: RangeOptions) -> dict[str, Any]:
    """Return the percentiles of a tensor without a finite value."""
    percents = PERCENTS if "range" in options.shown else ()
    return {"percentiles": tuple(Percentile(percent, math.nan, 0.0) for percent in percents)}


def _with_types(
    record: TensorRange,
    percentiles: Sequence[Percentile],
    options: RangeOptions,
    distribution: scales.Distribution | None,
) -> TensorRange:
    """Return a record with percentiles and types, whose ratios are not known yet."""
    by_percent = {one.percent: one for one in percentiles}
    integers: list[IntegerScale] = []
    for bits in options.widths:
        for symmetric in (True, False):
            ends = [by_percent.get(percent) for percent in (100 - options.percentile, options.percentile)]
            integers += _integer_scales(record, bits, symmetric, ends, distribution)
    fixed_point = None
    if "bits" in options.shown:
        before = integer_bits_for(record.min, record.max)
        fixed_point = FixedPoint(options.bits, before, options.bits - before, None)
    return replace(
        record,
        percentiles=tuple(by_percent[percent] for percent in PERCENTS if percent in by_percent)
        if "range" in options.shown
        else (),
        fixed_point=fixed_point,
        integers=tuple(integers),
        floats=tuple(FloatLoss(dtype, None, None) for dtype in LARGEST) if "float" in options.shown else (),
    )


def _integer_scales(
    record: TensorRange,
    bits: int,
    symmetric: bool,
    ends: Sequence[Percentile | None],
    distribution: scales.Distribution | None,
) -> list[IntegerScale]:
    """Return the scales of one width by each method that can be told."""
    by_range = scales.symmetric_quantizer if symmetric else scales.asymmetric_quantizer
    by_error = scales.symmetric_by_error if symmetric else scales.asymmetric_by_error
    quantizers = {"max": (by_range(bits, record.min, record.max), 0.0)}
    low, high = ends
    if low is not None and high is not None:
        steps = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
        error = max(low.error, high.error) if symmetric else low.error + high.error
        quantizers["percentile"] = (by_range(bits, low.value, high.value), error / steps)
        if not (low.value or high.value):  # a range of zeros alone quantizes nothing
            quantizers["percentile"] = quantizers["max"]
    if distribution is not None:
        quantizers["mse"] = (by_error(bits, record.min, record.max, distribution), 0.0)
    return [
        IntegerScale(bits, symmetric, method, one.scale, one.zero_point, error, None)
        for method, (one, error) in quantizers.items()
    ]


def _quantizer_of(one: IntegerScale) -> IntegerQuantizer:
    most = 2 ** (one.bits - 1) - 1
    return IntegerQuantizer(one.scale, one.zero_point, -most if one.symmetric else -most - 1, most)


def _with_losses(record: TensorRange, values: RealValues) -> TensorRange:
    """Return a record with the ratios, by one more pass that quantizes the values."""
    fixed = record.fixed_point
    quantizers: dict[Any, Quantizer] = {one: _quantizer_of(one) for one in record.integers}
    quantizers |= {one: FloatQuantizer(one.dtype) for one in record.floats}
    if fixed is not None:
        quantizers[fixed] = FixedPointQuantizer(fixed.bits, fixed.integer_bits)
    noise = {quantizer: SignalToNoise() for quantizer in quantizers.values()}
    beyond = {quantizer: 0 for quantizer in noise if isinstance(quantizer, FloatQuantizer)}
    if not noise:
        return record
    largest = max(-record.min, record.max)
    for block in values.finite_blocks():
        wide = block.astype(np.float64)
        for quantizer, gathered in noise.items():
            gathered.add(wide, quantizer.quantized(block if quantizer in beyond else wide))
        for quantizer in beyond:
            beyond[quantizer] += quantizer.overflowed(block) if largest > quantizer.largest else 0
    ratios = {one: noise[quantizer].decibels() for one, quantizer in quantizers.items()}
    return replace(
        record,
        fixed_point=None if fixed is None else replace(fixed, sqnr=ratios[fixed]),
        integers=_best_by_error([replace(one, sqnr=ratios[one]) for one in record.integers]),
        floats=tuple(
            replace(one, sqnr=ratios[one], overflowed=beyond[FloatQuantizer(one.dtype)]) for one in record.floats
        ),
    )


def _best_by_error(integers: Sequence[IntegerScale]) -> tuple[IntegerScale, ...]:
    """Return the scales; where another method left less noise than the search, it is the one of the least error."""

    def best(one: IntegerScale) -> IntegerScale:
        alike = [other for other in integers if (other.bits, other.symmetric) == (one.bits, one.symmetric)]
        return replace(max(alike, key=lambda other: (other.sqnr, other.method == "mse")), method="mse")

    return tuple(best(one) if one.method == "mse" else one for one in integers)
