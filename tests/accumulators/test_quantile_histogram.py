"""Histograms for percentiles: against counting by hand with `math.frexp`, in any order and in any parts."""

import base64
import json
import math
import zlib
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from tfdump.accumulators.quantile_histogram import (
    MOST_BINS,
    QuantileAccumulator,
    QuantileHistogram,
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


def added_by_hand(parts: list[QuantileHistogram], most: int) -> tuple[list[int], list[int], int]:
    """The sum of histograms as docs/format.md describes it, number by number."""
    shift = max(part.shift for part in parts)
    counts: Counter[int] = Counter()
    for part in parts:
        for number, count in zip(part.bins.tolist(), part.counts.tolist(), strict=True):
            place = number
            for _ in range(shift - part.shift):
                place = halved(place)
            counts[place] += count
    while len(counts) > most:
        shift += 1
        finer, counts = counts, Counter()
        for number, count in finer.items():
            counts[halved(number)] += count
    return sorted(counts), [counts[number] for number in sorted(counts)], shift


def halved(number: int) -> int:
    return ((abs(number) - 1 >> 1) + 1) * (1 if number > 0 else -1) if number else 0


def numbers_of(histogram: QuantileHistogram) -> tuple[list[int], list[int], int]:
    return histogram.bins.tolist(), histogram.counts.tolist(), histogram.shift


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("most", [MOST_BINS, 50])
def test_parts_add_up_exactly_in_any_order(name: str, most: int) -> None:
    values = VALUES[name]
    whole = histogram_of_parts(values)
    assert len(whole.within(most).bins) <= most
    parts = []
    for part in np.array_split(np.sort(values), 4):
        parts.append(QuantileAccumulator())
        parts[-1].add(part)
    for order in permutations(parts):
        merged = QuantileAccumulator()
        for one in order:
            merged.merge(one)
        assert numbers_of(merged.histogram()) == numbers_of(whole)
    assert added_by_hand([one.histogram().within(most) for one in parts], most) == numbers_of(whole.within(most))


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_part_is_added_so_many_times(times: int) -> None:
    gathered, constant = QuantileAccumulator(), QuantileAccumulator()
    gathered.add(VALUES["normal"])
    constant.add(VALUES["odd"])
    gathered.merge(constant, times)
    assert numbers_of(gathered.histogram()) == numbers_of(
        histogram_of_parts(VALUES["normal"], *[VALUES["odd"]] * times)
    )


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
    assert numbers_of(stored) == numbers_of(whole)


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


@pytest.mark.parametrize(
    "state",
    [
        [0, 0, "text"],
        [0, 0, base64.b64encode(b"text").decode()],
        [0, 0, base64.b64encode(zlib.compress(bytes(24))).decode()],
        [0, 0, base64.b64encode(zlib.compress(bytes(2**26))).decode()],
        [0, 2**18, base64.b64encode(zlib.compress(bytes(16))).decode()],
        [0, -1, base64.b64encode(zlib.compress(bytes(16))).decode()],
        [0, "0", base64.b64encode(zlib.compress(bytes(16))).decode()],
        [0, 0, None],
        [0, 0],
    ],
    ids=["no base64", "not packed", "odd", "a bomb", "too high", "negative", "text", "nothing", "short"],
)
def test_damaged_states_are_refused(state: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        QuantileAccumulator.of_state(state)
