"""Sums against rational arithmetic: exact, correctly rounded, and the same in whatever order and groups."""

import itertools
import json
import math
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tfdump.accumulators.sums import ArraySum, ExactMoments, ExactSum, float_sum, root_of

finite = st.floats(allow_nan=False, allow_infinity=False)
lists = st.lists(finite, min_size=1, max_size=20)


def exact_sum(numbers: list[float]) -> Fraction:
    return sum(map(Fraction, numbers), Fraction(0))


def is_root(root: float, square: Fraction) -> bool:
    """Whether a float is the nearest to the square root: the root is between the midpoints to both neighbors."""
    low, high = (Fraction(math.nextafter(root, side)) for side in (-math.inf, math.inf))
    return max((Fraction(root) + low) / 2, Fraction(0)) ** 2 <= square <= ((Fraction(root) + high) / 2) ** 2


@given(lists)
@example([1e308, 1e308, -1e308, 5e-324])
def test_a_sum_of_floats_is_exact(numbers: list[float]) -> None:
    total = ExactSum()
    for number in numbers:
        total.add(number)
    assert Fraction(*total.fraction) == exact_sum(numbers)


@given(lists, lists, st.integers(0, 5), st.randoms())
def test_the_state_of_a_sum_does_not_know_the_order(
    one: list[float], two: list[float], times: int, random: Random
) -> None:
    first, second, shuffled = ExactSum(), ExactSum(), ExactSum()
    for number in one:
        first.add(number)
    for number in two:
        second.add(number)
    second = ExactSum.of_state(json.loads(json.dumps(second.state())))
    second.merge(first, times)
    numbers = two + one * times
    random.shuffle(numbers)
    for number in numbers:
        shuffled.add(number)
    assert second.state() == shuffled.state()
    integer, exponent = second.state()
    assert Fraction(*second.fraction) == integer * Fraction(2) ** exponent == exact_sum(numbers)


def moments_of(blocks: list[tuple[int, float, float]]) -> ExactMoments:
    moments = ExactMoments()
    for count, total, squares in blocks:
        moments.add_sums(count, total, squares)
    return moments


@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=20))
@example([1.0, 1.0 + 2**-52])
@example([1e150, 1e-150])
@example([0.0, 0.0])
def test_moments_are_correctly_rounded(numbers: list[float]) -> None:
    moments = ExactMoments()
    for number in numbers:
        moments.add_deviations(1, number, 0.0, 0.0)
    mean = exact_sum(numbers) / len(numbers)
    assert moments.mean() == float(mean)
    assert is_root(
        moments.std(), sum(((Fraction(number) - mean) ** 2 for number in numbers), Fraction(0)) / Fraction(len(numbers))
    )
    assert is_root(moments.l2(), sum((Fraction(number) ** 2 for number in numbers), Fraction(0)))


def test_a_block_scaled_by_a_power_of_two_is_that_block() -> None:
    scaled, plain = ExactMoments(), ExactMoments()
    scaled.add_sums(3, 0.75, 0.5, 9)
    scaled.add_deviations(5, 0.5, 2**-60, 0.25, 9)
    plain.add_sums(3, 0.75 * 2**9, 0.5 * 2**18)
    plain.add_deviations(5, 0.5 * 2**9, 2**-51, 0.25 * 2**18)
    assert scaled.state() == plain.state()


def test_moments_that_are_merged_are_those_of_all_blocks() -> None:
    rng = np.random.default_rng(0)
    blocks = [(7, float(total), float(total**2 + 1)) for total in rng.normal(size=6) * 10.0 ** rng.integers(-9, 9, 6)]
    whole = moments_of(blocks).state()
    for order in itertools.permutations(blocks):
        for cut in range(1, 6):
            first, second = moments_of(list(order[:cut])), moments_of(list(order[cut:]))
            first.merge(ExactMoments.of_state(json.loads(json.dumps(second.state()))))
            assert first.state() == whole
    repeated = ExactMoments()
    repeated.merge(moments_of(blocks), 4)
    assert repeated.state() == moments_of(blocks * 4).state()


@given(st.integers(1, 10**30), st.integers(1, 10**30))
@example(10**300, 7)
@example(7, 10**600)
@example(4, 9)
def test_a_root_is_the_nearest_float(numerator: int, denominator: int) -> None:
    assert is_root(root_of(numerator, denominator), Fraction(numerator, denominator))


def test_roots_at_the_ends_of_float64() -> None:
    assert root_of(0, 3) == 0
    assert root_of(10**700, 1) == math.inf
    assert root_of(25, 4) == 2.5


@given(st.lists(finite, max_size=20))
@example([1e308, 1e308, -1e308])
@example([-1e308, -1e308])
@example([0.1] * 10)
def test_floats_are_added_as_rational_numbers_are(numbers: list[float]) -> None:
    total = exact_sum(numbers)
    try:
        expected = float(total)
    except OverflowError:
        expected = math.inf if total > 0 else -math.inf
    assert float_sum(numbers) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([1.0, math.nan], math.nan), ([math.inf, -1e308], math.inf), ([math.inf, -math.inf], math.nan)],
)
def test_a_sum_with_nan_or_infinity_is_not_finite(numbers: list[float], expected: float) -> None:
    np.testing.assert_equal(float_sum(numbers), expected)


def terms_of(count: int, dtype: type, shape: tuple[int, ...] = (3, 7)) -> list[np.ndarray]:
    """Arrays whose sum in float64 depends on their order."""
    rng = np.random.default_rng(5)
    scales = 10.0 ** rng.integers(-8, 8, (count, *shape))
    return list((rng.normal(size=(count, *shape)) * scales).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_added_as_rational_numbers_are_in_every_order_and_grouping(dtype: type) -> None:
    terms = terms_of(5, dtype)
    expected = [float(exact_sum([float(term.flat[n]) for term in terms])) for n in range(21)]
    assert len({sum(order, np.zeros((3, 7))).tobytes() for order in itertools.permutations(terms)}) > 1
    for order in itertools.permutations(terms):
        parts = ArraySum((3, 7)), ArraySum((3, 7))
        for number, term in enumerate(order):
            parts[number < 2].add(term)
        parts[0].merge(parts[1])
        assert parts[0].result().shape == (3, 7)
        assert parts[0].result().reshape(-1).tolist() == expected


@pytest.mark.parametrize("spread", [0, 4, 9])
def test_terms_of_similar_sizes_are_added_exactly_too(spread: int) -> None:
    """Where float64 holds every sum exactly, where it just fails to, and where it fails."""
    rng = np.random.default_rng(spread)
    scales = 10.0 ** rng.integers(-spread, spread + 1, (6, 20_000))
    terms = list((rng.normal(size=(6, 20_000)) * scales * (rng.random((6, 20_000)) < 0.5)).astype(np.float32))
    total = ArraySum((20_000,))
    for term in terms:
        total.add(term)
    assert total.result().tolist() == [math.fsum(numbers) for numbers in zip(*terms, strict=True)]
    assert total.low.any() == (spread > 0)


def test_long_arrays_are_added_in_pieces() -> None:
    terms = terms_of(4, np.float32, (40_001,))
    total = ArraySum((40_001,))
    for term in terms:
        total.add(term)
    assert total.result().tolist() == [math.fsum(numbers) for numbers in zip(*terms, strict=True)]


def test_complex_numbers_are_added_as_two_floats() -> None:
    terms = [real + 1j * imaginary for real, imaginary in itertools.pairwise(terms_of(5, np.float64))]
    total = ArraySum((3, 7), np.complex128)
    for term in terms:
        total.add(term)
    real = [float(exact_sum([float(term.real.flat[n]) for term in terms])) for n in range(21)]
    imaginary = [float(exact_sum([float(term.imag.flat[n]) for term in terms])) for n in range(21)]
    np.testing.assert_array_equal(total.result().reshape(-1), np.array(real) + 1j * np.array(imaginary))


def test_rows_are_added_in_every_order_of_the_batches() -> None:
    rng = np.random.default_rng(6)
    batches = [(rng.integers(0, 6, 9), term) for term in terms_of(4, np.float32, (9, 3))]
    results = set()
    for order in itertools.permutations(batches):
        total = ArraySum((6, 3))
        for rows, values in order:
            total.add_rows(rows, values)
        results.add(total.result().tobytes())
    assert len(results) == 1
    plain = np.zeros((6, 3), np.longdouble)
    for rows, values in batches:
        np.add.at(plain, rows, values.astype(np.longdouble))
    np.testing.assert_allclose(total.result(), plain.astype(float), rtol=1e-12)


def test_nan_and_infinity_propagate_through_the_sum_of_arrays() -> None:
    terms = [np.array([1, np.inf, np.inf, np.nan, 1e308]), np.array([2, 3, -np.inf, 5, 1e308]), np.ones(5)]
    total = ArraySum((5,))
    for term in terms:
        total.add(term)
    np.testing.assert_array_equal(total.result(), [4, np.inf, np.nan, np.nan, np.inf])
    joined = ArraySum((5,))
    joined.add(np.zeros(5))
    joined.merge(total)
    np.testing.assert_array_equal(joined.result(), total.result())
