"""Histograms for percentiles: against counting by hand with `math.frexp`, in any order and in any parts."""

import json
import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from tfdump.quantile_histogram import (
    MOST_BINS,
    QuantileAccumulator,
    QuantileHistogram,
    merged_histogram,
    stored_histogram,
)

RANDOM = np.random.default_rng(3)
VALUES = {
    "normal": RANDOM.standard_normal(70_000).astype("f4"),
    "rectified": np.maximum(RANDOM.standard_normal(70_000), 0).astype("f4"),
    "softmax": (10.0 ** RANDOM.uniform(-44, 0, 70_000)).astype("f4"),
    "wide": np.concatenate([10.0 ** RANDOM.uniform(-320, 308, 5_000), -(10.0 ** RANDOM.uniform(-320, 308, 5_000))]),
    "tiny": np.array([5e-324, -5e-324, 0.0, -0.0, 1e-310]),
    "odd": np.array([np.nan, np.inf, -np.inf, -2.0, 0.0, 3.0, 3.0]),
    "integers": np.arange(-128, 128, dtype="i1"),
    "truths": np.array([True, False, True]),
    "none": np.zeros(0, "f4"),
    "nan": np.full(3, np.nan),
}


def histogram_of_parts(*parts: np.ndarray) -> QuantileHistogram:
    gathered = QuantileAccumulator()
    for part in parts:
        gathered.add(part)
    return gathered.histogram()


def bin_by_hand(value: float) -> tuple[float, float]:
    """The bin of a normal number: 128 of equal width between two powers of two."""
    mantissa, exponent = math.frexp(abs(value))
    step = math.ldexp(1, exponent - 8)
    low = math.floor(mantissa * 256) * step
    return (low, low + step) if value > 0 else (-low - step, -low)


@pytest.mark.parametrize("name", ["normal", "rectified", "softmax", "wide", "odd", "integers", "truths", "none", "nan"])
def test_every_value_is_counted_in_its_bin(name: str) -> None:
    values = VALUES[name]
    histogram = histogram_of_parts(values)
    numbers = values.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    assert histogram.finite == numbers.size
    normal = numbers[(np.abs(numbers) > 1e-300)]
    expected = Counter(bin_by_hand(value) for value in normal.tolist())
    lows, highs = histogram.edges()
    pairs = zip(lows.tolist(), highs.tolist(), histogram.counts.tolist(), strict=True)
    counted = {(low, high): count for low, high, count in pairs if max(abs(low), abs(high)) > 1e-300}
    assert counted == expected
    assert dict(zip(histogram.bins.tolist(), histogram.counts.tolist(), strict=True)).get(0, 0) == (numbers == 0).sum()


def test_the_smallest_numbers_are_not_zeros() -> None:
    histogram = histogram_of_parts(VALUES["tiny"])
    assert histogram.bins.tolist() == [-1, 0, 1]
    assert histogram.counts.tolist() == [1, 2, 2]
    assert histogram.edges()[1][2] == 2.0**-1029


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("most", [MOST_BINS, 50])
def test_parts_add_up_exactly_in_any_order(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfdump.quantile_histogram.QuantileHistogram.within.__defaults__", (most,))
    values = VALUES[name]
    whole = histogram_of_parts(values).within()
    assert len(whole.bins) <= most
    parts = [histogram_of_parts(part).within() for part in np.array_split(np.sort(values), 4)]
    for order in permutations(parts):
        first, second, *rest = order
        for one in (
            merged_histogram(order),
            merged_histogram([merged_histogram([first, second]), merged_histogram(rest)]),
        ):
            assert (one.bins.tolist(), one.counts.tolist(), one.shift) == (
                whole.bins.tolist(), whole.counts.tolist(), whole.shift,
            )  # fmt: skip


def test_the_resolution_falls_where_values_are_spread_over_many_octaves() -> None:
    histogram = histogram_of_parts(VALUES["wide"] * 0.5, 10.0 ** RANDOM.uniform(-300, 300, 400_000))
    stored = histogram.within()
    assert len(histogram.bins) > MOST_BINS >= len(stored.bins)
    assert (histogram.relative_error, stored.relative_error) == (2**-8, 2.0 ** (stored.shift - 53))
    assert stored.finite == histogram.finite
    coarsest = histogram.coarser(60)
    assert (coarsest.edges()[1][-1], coarsest.finite) == (np.inf, histogram.finite)


@pytest.mark.parametrize("name", VALUES)
def test_attributes_and_states_come_back(name: str) -> None:
    first, second = np.array_split(VALUES[name], 2)
    gathered = QuantileAccumulator()
    gathered.add(first)
    resumed = QuantileAccumulator.of_state(json.loads(json.dumps(gathered.state())))
    resumed.add(second)
    whole = histogram_of_parts(VALUES[name]).within()
    attributes = {name: np.asarray(value).tolist() for name, value in resumed.histogram().attributes().items()}
    stored = stored_histogram(attributes)
    assert stored is not None
    assert (stored.bins.tolist(), stored.counts.tolist(), stored.shift) == (
        whole.bins.tolist(), whole.counts.tolist(), whole.shift,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"quantile_counts": [1]},
        {"quantile_counts": [1, -1]},
        {"quantile_bins": [3, 2]},
        {"quantile_counts": [2**62, 2**62]},
        {"quantile_bins": [1, 2**40]},
        {"quantile_bins": "text"},
        {"quantile_bins": [1.5, 2]},
        {"quantile_shift": 3},
        {"quantile_shift": None},
    ],
)
def test_damaged_attributes_are_refused(change: dict[str, object]) -> None:
    attributes = {"quantile_bins": [1, 2], "quantile_counts": [1, 1], "quantile_shift": 45}
    assert stored_histogram(attributes) is not None
    with pytest.raises(ValueError, match="quantile_"):
        stored_histogram(attributes | change)
    assert stored_histogram({}) is None
