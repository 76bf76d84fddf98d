"""Streaming statistics equal exact ones, whatever the dtype, the magnitude and the batches."""

import itertools
import json
import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tfdump.accumulators.statistics import BLOCK, ExactStatistics, Statistics
from tfdump.dump.attributes import STATISTIC_NAMES, STATISTIC_PREFIX, statistics_attributes


def streamed(*batches: object) -> Statistics:
    accumulator = ExactStatistics()
    for batch in batches:
        accumulator.add(np.asarray(batch))
    return accumulator.result()


def root(number: Fraction) -> float:
    """The square root of a rational number, whose square may overflow or vanish in float64."""
    if not number:
        return 0.0
    shift = (number.numerator.bit_length() - number.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(number / Fraction(4) ** shift), shift)


def exact_moments(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard deviation and L2 norm in rational arithmetic."""
    numbers = [Fraction(float(value)) for value in values.ravel()]
    mean = sum(numbers) / len(numbers)
    variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
    return float(mean), root(variance), root(sum(number**2 for number in numbers))


def assert_moments(statistics: Statistics, values: np.ndarray, rel: float = 1e-12) -> None:
    mean, std, l2 = exact_moments(values)
    assert statistics.mean == pytest.approx(mean, rel=rel, abs=1e-15 * float(np.abs(values).max()))
    assert statistics.std == pytest.approx(std, rel=rel, abs=0)
    assert statistics.l2 == pytest.approx(l2, rel=rel, abs=0)


def test_statistics_of_a_small_array_by_hand() -> None:
    assert streamed([[3.0, -4.0], [0.0, 1.0]]) == Statistics(
        count=4, min=-4.0, max=3.0, mean=0.0, std=math.sqrt(26 / 4), l2=math.sqrt(26), nan=0, inf=0, zero=1
    )


def test_nothing_at_all_has_no_moments() -> None:
    statistics = streamed()
    assert (statistics.count, statistics.nan, statistics.inf, statistics.zero, statistics.l2) == (0, 0, 0, 0, 0.0)
    assert all(math.isnan(value) for value in (statistics.min, statistics.max, statistics.mean, statistics.std))


def test_an_empty_batch_changes_nothing() -> None:
    assert streamed([1.0, 2.0], np.zeros((0, 3)), [4.0]) == streamed([1.0, 2.0], [4.0])


def test_a_scalar_counts_as_one_element() -> None:
    assert streamed(np.float32(2.5)) == Statistics(1, 2.5, 2.5, 2.5, 0.0, 2.5, 0, 0, 0)


def test_nan_and_infinity_are_counted_and_left_out_of_the_moments() -> None:
    statistics = streamed([np.nan, 1.0, np.inf, -np.inf, 3.0, np.nan, 0.0])
    assert (statistics.count, statistics.nan, statistics.inf, statistics.zero) == (7, 2, 2, 1)
    assert (statistics.min, statistics.max, statistics.mean) == (0.0, 3.0, pytest.approx(4 / 3))
    assert statistics.l2 == pytest.approx(math.sqrt(10))


@pytest.mark.parametrize(
    ("batches", "low", "high"),
    [
        ([[np.nan, np.inf], [-np.inf]], -np.inf, np.inf),
        ([[-np.inf], [-np.inf, np.nan]], -np.inf, -np.inf),
        ([[np.inf]], np.inf, np.inf),
        ([[np.nan], [np.nan]], np.nan, np.nan),
        ([np.array([complex(np.inf, 1), complex(-np.inf, 0)])], np.inf, np.inf),
    ],
)
def test_only_nan_and_infinity_have_no_moments(batches: list[Any], low: float, high: float) -> None:
    """Neither a mean nor a norm; the range is that of the infinities."""
    statistics = streamed(*batches)
    values = np.concatenate([np.asarray(batch) for batch in batches])
    assert (statistics.count, statistics.nan, statistics.inf) == (
        len(values),
        np.isnan(values).sum(),
        np.isinf(values).sum(),
    )
    np.testing.assert_array_equal([statistics.min, statistics.max], [low, high])
    assert all(math.isnan(value) for value in (statistics.mean, statistics.std, statistics.l2))
    first = ExactStatistics()
    first.add(np.asarray(batches[0]))
    later = ExactStatistics.of_state(json.loads(json.dumps(first.state())))
    for batch in batches[1:]:
        later.add(np.asarray(batch))
    np.testing.assert_array_equal(list(vars(later.result()).values()), list(vars(statistics).values()))


def test_a_batch_without_finite_values_does_not_spoil_the_others() -> None:
    statistics = streamed([1.0, 3.0], [np.nan, np.inf], [5.0])
    assert (statistics.min, statistics.max, statistics.mean, statistics.nan, statistics.inf) == (1.0, 5.0, 3.0, 1, 1)
    assert statistics.std == pytest.approx(math.sqrt(8 / 3))


def test_negative_zero_is_a_zero() -> None:
    assert streamed([-0.0, 0.0, 1e-320]).zero == 2


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float32])
def test_numbers_of_every_width_are_summed_without_overflow(dtype: type) -> None:
    statistics = streamed(np.full((300, 7), 120, dtype))
    assert (statistics.mean, statistics.std, statistics.count) == (120.0, 0.0, 2100)
    assert statistics.l2 == pytest.approx(120 * math.sqrt(2100))


def test_the_smallest_integers_keep_their_sign() -> None:
    assert streamed(np.array([-128, 127], np.int8)).min == -128.0
    assert streamed(np.array([2**63], np.uint64)).max == 2.0**63


def test_booleans_count_as_zero_and_one() -> None:
    statistics = streamed([True, False, True, True])
    assert (statistics.min, statistics.max, statistics.mean, statistics.zero) == (0.0, 1.0, 0.75, 1)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_enter_by_their_magnitude(dtype: type) -> None:
    statistics = streamed(np.array([3 + 4j, 0, -5j, complex(np.nan, 1), complex(np.inf, 1)], dtype))
    assert (statistics.min, statistics.max, statistics.zero, statistics.nan, statistics.inf) == (0.0, 5.0, 1, 1, 1)
    assert (statistics.mean, statistics.l2) == (pytest.approx(10 / 3), pytest.approx(math.sqrt(50)))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_narrow_floats_are_summed_in_float64(dtype: type) -> None:
    statistics = streamed(np.array([1.5, -0.5, 0, -0.0, np.nan] + [1.0] * 4000).astype(dtype))
    assert (statistics.count, statistics.zero, statistics.nan, statistics.min, statistics.max) == (
        4005,
        2,
        1,
        -0.5,
        1.5,
    )
    assert statistics.mean == pytest.approx(4001 / 4004, rel=1e-14)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_infinities_of_narrow_floats_are_counted(dtype: type) -> None:
    assert streamed(np.array([np.inf, -np.inf, 1]).astype(dtype)).inf == 2


@pytest.mark.parametrize("text", [np.array([b"a", b"b"], object), np.array(["a"]), np.array([b"a"])])
def test_text_is_ignored(text: np.ndarray) -> None:
    assert streamed(text).count == 0


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9, -1e9])
def test_a_large_offset_does_not_cancel_the_deviation(offset: float) -> None:
    values = offset + np.random.default_rng(1).normal(size=3000)
    assert_moments(streamed(values[:1000], values[1000:1001], values[1001:]), values, rel=1e-9)


def test_an_offset_near_the_precision_of_float64_keeps_the_deviation() -> None:
    values = 1e15 + np.arange(7000) % 7
    assert streamed(values[:5000], values[5000:]).std == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e15 + 1, -7e-5, np.float32(1e7 / 3)])
def test_a_constant_does_not_deviate(constant: float) -> None:
    assert streamed(*[np.full(count, constant) for count in (100_001, 17)]).std == 0.0


def test_a_norm_beyond_float64_is_infinite() -> None:
    assert streamed(np.full(4, 1.7e308)).l2 == math.inf


@pytest.mark.parametrize("size", [1e200, 1.5e308, -1e200])
def test_squares_that_overflow_float64_do_not(size: float) -> None:
    values = size * np.array([1.0, 0.5, -0.25, 0.125])
    assert_moments(streamed(values), values)


def test_huge_values_beside_ordinary_ones() -> None:
    values = np.concatenate([np.ones(1000), [1e200]])
    assert_moments(streamed(values[:10], values[10:]), values)


def test_squares_that_vanish_in_float64_do_not() -> None:
    values = np.array([1e-200, -1e-200, 3e-200])
    assert_moments(streamed(values), values)


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_blocks_join_without_a_seam(count: int) -> None:
    values = np.random.default_rng(2).normal(5, 2, count)
    statistics = streamed(values)
    wide = values.astype(np.longdouble)
    assert statistics.count == count
    assert (statistics.min, statistics.max) == (values.min(), values.max())
    assert statistics.mean == pytest.approx(math.fsum(values) / count, rel=1e-13)
    assert statistics.std == pytest.approx(float(wide.std()), rel=1e-12)
    assert statistics.l2 == pytest.approx(math.sqrt(math.fsum(values**2)), rel=1e-12)


def test_the_values_are_left_as_they_were() -> None:
    values = np.array([1.0, 2.0, 4.0])
    streamed(values)
    assert values.tolist() == [1.0, 2.0, 4.0]


def test_strided_and_fortran_arrays_are_read_in_full() -> None:
    values = np.arange(24.0).reshape(4, 6)
    assert streamed(np.asfortranarray(values)) == streamed(values)
    strided = streamed(values[:, ::2])  # 0, 2, ..., 22
    assert (strided.count, strided.mean, strided.max) == (12, 11.0, 22.0)


finite = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-100)
odd = st.sampled_from([math.nan, math.inf, -math.inf, 0.0])


@given(st.lists(finite | odd, max_size=40), st.lists(st.integers(0, 40), max_size=5))
@example([1.0, math.nan, 2.0], [1, 2])
def test_any_division_into_batches_gives_the_same(values: list[float], cuts: list[int]) -> None:
    whole = np.array(values, np.float64)
    statistics = streamed(*np.split(whole, sorted(cuts)))
    finite = [value for value in values if math.isfinite(value)]
    assert statistics.count == len(values)
    assert statistics.nan == sum(map(math.isnan, values))
    assert statistics.inf == sum(map(math.isinf, values))
    assert statistics.zero == values.count(0.0)
    if finite:
        assert (statistics.min, statistics.max) == (min(finite), max(finite))
        assert_moments_up_to_magnitude(statistics, finite)


def assert_moments_up_to_magnitude(statistics: Statistics, finite: list[float]) -> None:
    """As `assert_moments`, with an error relative to the largest value."""
    mean, std, l2 = exact_moments(np.array(finite))
    slack = 1e-12 * max(map(abs, finite))
    assert statistics.mean == pytest.approx(mean, abs=slack)
    assert statistics.std == pytest.approx(std, abs=slack)
    assert statistics.l2 == pytest.approx(l2, rel=1e-12)


def accumulated(batches: list[np.ndarray]) -> ExactStatistics:
    accumulator = ExactStatistics()
    for batch in batches:
        accumulator.add(batch)
    return accumulator


def batches_of_all_kinds() -> list[np.ndarray]:
    """Batches near zero, far from it, of one value, of extreme sizes, with NaN, and longer than a block."""
    rng = np.random.default_rng(7)
    batches = [rng.normal(mean, 1, size) for mean, size in ((0, 100), (1e6, 333), (-7, BLOCK + 5))]
    batches += [np.full(50, 0.1), 1e200 * rng.normal(size=9), 1e-200 * rng.normal(size=9)]
    return [*batches, np.array([np.nan, -np.inf, 0.0, 3.0])]


def test_neither_the_order_of_batches_nor_who_takes_them_changes_a_bit() -> None:
    batches = batches_of_all_kinds()
    whole = accumulated(batches)
    rng = np.random.default_rng(8)
    for _ in range(50):
        order = [batches[n] for n in rng.permutation(len(batches))]
        cuts = sorted(rng.integers(0, len(batches) + 1, 2))
        parts = [accumulated(order[start:stop]) for start, stop in itertools.pairwise([0, *cuts, len(batches)])]
        joined = ExactStatistics()
        for part in parts:
            joined.merge(ExactStatistics.of_state(json.loads(json.dumps(part.state()))))
        assert joined.state() == whole.state()
        assert joined.result() == whole.result()


def test_batches_that_repeat_can_be_added_at_once() -> None:
    batches = batches_of_all_kinds()
    repeated = ExactStatistics()
    repeated.merge(accumulated(batches), 5)
    assert repeated.state() == accumulated(batches * 5).state()


@pytest.mark.parametrize("mean", [0, 3, 1e4, 1e8])
def test_statistics_are_those_of_rational_arithmetic_but_for_a_few_last_bits(mean: float) -> None:
    values = np.random.default_rng(9).normal(mean, 1, 20_000)
    statistics = streamed(*np.split(values, [100, 101, 9000]))
    mean, std, l2 = exact_moments(values)
    assert abs(statistics.mean - mean) <= 2 * math.ulp(max(abs(mean), 1e-2))
    assert abs(statistics.std - std) <= 16 * math.ulp(std)
    assert abs(statistics.l2 - l2) <= 2 * math.ulp(l2)


def test_attributes_are_float64_and_int64_under_stat_names() -> None:
    attributes = statistics_attributes(streamed([1.0, 2.0]))
    assert list(attributes) == [f"{STATISTIC_PREFIX}{name}" for name in STATISTIC_NAMES]
    assert {name: type(value) for name, value in attributes.items()} == {
        **dict.fromkeys(("stat_count", "stat_nan", "stat_inf", "stat_zero"), np.int64),
        **dict.fromkeys(("stat_min", "stat_max", "stat_mean", "stat_std", "stat_l2"), np.float64),
    }
    assert (attributes["stat_count"], attributes["stat_mean"]) == (2, 1.5)
