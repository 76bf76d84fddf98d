"""Two arrays are judged as the rule says: against whole arrays in NumPy, in extended precision, and by hand."""

import threading
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfdump.comparison import elementwise
from tfdump.comparison.arrays import compare_arrays
from tfdump.comparison.plain_arrays import ArrayPart, MemoryReader
from tfdump.comparison.rule import Rule
from tfdump.comparison.tolerance import Tolerance
from tfdump.comparison.verdict import Comparison
from tfdump.dump.parts import pieces
from tfdump.errors import DumpError

EXACT = Rule(Tolerance())


class SmallPieces(ArrayPart):
    """An array that is read in pieces of few bytes, and counts how often each is read."""

    def __init__(self, array: Any, most: int) -> None:
        super().__init__("", MemoryReader(array))
        self.piece_bytes = most
        self.reads: list[Any] = []

    def keys(self, most_bytes: int = 0) -> Iterator[tuple[slice, ...]]:
        return pieces(self.shape, self.dtype.itemsize, None, self.piece_bytes)

    def read(self, key: Any = ()) -> Any:
        self.reads.append(key)
        return super().read(key)


def compare(golden: Any, new: Any, rule: Rule, most: int = 1 << 22) -> Comparison:
    return compare_arrays([(SmallPieces(golden, most), SmallPieces(new, most))], rule)


def failing(golden: Any, new: Any, tolerance: Tolerance, nan_equal: bool = True) -> Any:
    """The rule over whole arrays, in extended precision: which elements fail."""
    wide = np.clongdouble if golden.dtype.kind == "c" else np.longdouble
    with np.errstate(all="ignore"):
        old, other = golden.astype(wide), new.astype(wide)
        finite = np.isfinite(old) & np.isfinite(other)
        magnitudes = np.abs(old[np.isfinite(old)])
        largest = magnitudes.max() if magnitudes.size else np.longdouble(0)
        terms = [np.longdouble(tolerance.atol), np.longdouble(tolerance.rtol) * np.abs(old),
                 np.longdouble(tolerance.scale) * largest]  # fmt: skip
        inside = np.abs(other - old) <= sum(terms)
        alike = old == other
        if nan_equal:
            alike |= np.isnan(old) & np.isnan(other)
    return ~np.where(finite, inside, alike)


FLOATS = {np.float16: 16, np.float32: 32, np.float64: 64}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Two arrays of floats: the second is the first, moved a little here and there."""
    dtype = draw(st.sampled_from(list(FLOATS)))
    shape = draw(arrays.array_shapes(max_dims=3, max_side=6, min_side=0))
    numbers = st.floats(width=FLOATS[dtype]) | st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf])
    golden = draw(arrays.arrays(dtype, shape, elements=numbers))
    moved = draw(arrays.arrays(np.float64, shape, elements=st.sampled_from([0, 0, 1e-6, -1e-4, 1e-3, -1, np.inf])))
    with np.errstate(all="ignore"):
        new = (golden * (1 + moved) + draw(st.sampled_from([0, 0, 1e-5]))).astype(draw(st.sampled_from(list(FLOATS))))
    return golden, new


TOLERANCES = st.builds(Tolerance, *(st.sampled_from([0.0, 0.0, 1e-6, 1e-4, 1e-2, 1.0]) for _ in range(3)))


@settings(max_examples=400, deadline=None)
@given(pairs(), TOLERANCES, st.booleans(), st.sampled_from([8, 24, 1 << 20]))
@example((np.array([1e308, -1e308]), np.array([-1e308, 1e308])), Tolerance(scale=3.0), True, 8)
@example((np.array([5e-324]), np.array([1e-323])), Tolerance(rtol=0.5), True, 8)
def test_blocks_give_the_verdict_of_whole_arrays(
    both: tuple[Any, Any], tolerance: Tolerance, nan_equal: bool, most: int
) -> None:
    """Elements within rounding of the bound may fall on either side, and are left out."""
    golden, new = both
    comparison = compare(golden, new, Rule(tolerance, nan_equal=nan_equal, ulp_dtype="float16"), most)
    slightly = [Tolerance(*(term * (1 + sign * 1e-12) for term in vars(tolerance).values())) for sign in (-1, 1)]
    most_failing, least_failing = (int(failing(golden, new, t, nan_equal).sum()) for t in slightly)
    if most_failing == least_failing:
        assert comparison.failed == most_failing
        assert comparison.passed == (not most_failing)
    assert comparison.count == golden.size


@settings(max_examples=200, deadline=None)
@given(pairs(), TOLERANCES)
def test_the_smallest_scale_passes_and_a_smaller_one_does_not(both: tuple[Any, Any], tolerance: Tolerance) -> None:
    comparison = compare(*both, Rule(tolerance))
    if comparison.scale is None:
        assert comparison.unlike or not comparison.largest
        return
    assert compare(*both, Rule(Tolerance(tolerance.rtol, tolerance.atol, comparison.scale))).passed
    if comparison.scale > 0:
        below = float(np.nextafter(comparison.scale, 0))
        assert not compare(*both, Rule(Tolerance(tolerance.rtol, tolerance.atol, below))).passed


def test_a_later_maximum_lets_earlier_elements_pass_and_only_doubtful_blocks_are_read_again() -> None:
    golden = np.array([1, 1, 1, 1, 1, 1, 100, 100], np.float32)
    new = np.array([1.05, 1, 1.2, 1, 9, 9, 100, 100], np.float32)
    sides = SmallPieces(golden, 8), SmallPieces(new, 8)
    comparison = compare_arrays([sides], Rule(Tolerance(scale=1e-3)))  # 0.001 while the maximum is 1, 0.1 at the end
    assert (comparison.failed, comparison.index, comparison.golden, comparison.new) == (3, (4,), 1.0, 9.0)
    assert comparison.scale == pytest.approx(0.08, rel=1e-6)
    assert len(sides[0].reads) == 4  # no block has elements on both sides of the final bound
    mixed = SmallPieces(golden, 16), SmallPieces(new, 16)
    assert compare_arrays([mixed], Rule(Tolerance(scale=1e-3))).failed == 3
    assert len(mixed[0].reads) == 3  # the first of two blocks holds 1.05, which passes, and 1.2, which does not


class TornPieces(SmallPieces):
    """An array whose third piece cannot be read."""

    def read(self, key: Any = ()) -> Any:
        if len(self.reads) == 2:
            raise DumpError("torn")
        return super().read(key)


def test_what_cannot_be_read_ahead_is_told_and_no_thread_stays() -> None:
    before = threading.active_count()
    values = np.arange(32, dtype=np.float32)
    with pytest.raises(DumpError, match="torn"):
        compare_arrays([(SmallPieces(values, 16), TornPieces(values, 16))], Rule(Tolerance()))
    assert threading.active_count() == before


@pytest.mark.parametrize("off", [0, 1e-6, 1.01e-4, 1.11e-4, 3e-4, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_many_pieces_of_random_numbers(monkeypatch: pytest.MonkeyPatch, off: float, dtype: Any) -> None:
    """Most pieces are settled in float32 there; verdict, worst element and numbers are those of float64."""
    monkeypatch.setattr(elementwise, "PIECE", 64)
    random = np.random.default_rng(5)
    golden = random.standard_normal((30, 400)).astype(dtype)
    new = (golden + off * random.standard_normal(golden.shape)).astype(np.float32)
    tolerance = Tolerance(1e-4, 1e-7, 1e-5)
    comparison = compare(golden, new, Rule(tolerance), 4000)
    assert comparison.failed == failing(golden, new, tolerance).sum()
    error = np.abs(new.astype(float) - golden)
    need = error - 1e-4 * np.abs(golden.astype(float)) - 1e-7
    worst = need if need.max() > 0 else error
    assert comparison.max_error == error.max()
    assert comparison.index == (np.unravel_index(worst.argmax(), worst.shape) if error.any() else None)
    assert comparison.largest == np.abs(golden).max()
    assert comparison.scale == pytest.approx(max(0, need.max() / comparison.largest), rel=1e-12)


def test_a_maximum_that_grows_a_little_lets_elements_pass_without_reading_again() -> None:
    """The bound grows from 0.1 to 0.15 behind elements that are 0.12 off, and others that are 0.2 off."""
    golden = np.full((40, 8), 1, np.float32)
    golden[-1, -1] = 1.5
    new = golden.copy()
    new[3:9] += np.float32(0.12)
    new[20:22, :4] += np.float32(0.2)
    sides = SmallPieces(golden, 128), SmallPieces(new, 128)
    comparison = compare_arrays([sides], Rule(Tolerance(scale=0.1)))
    assert (comparison.failed, len(sides[0].reads)) == (8, 10)
    assert failing(golden, new, Tolerance(scale=0.1)).sum() == 8


@pytest.mark.parametrize("piece", [2, 3, 1 << 15])
def test_the_worst_element_has_its_index_and_both_values(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(elementwise, "PIECE", piece)
    golden = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 5
    new = golden.copy()
    new[1, 2, 0] += 3
    new[0, 1, 1] = np.nan
    golden[0, 1, 2] = new[0, 1, 2] = np.nan
    comparison = compare(golden, new, Rule(Tolerance(1e-4, 0, 1e-5)), 20)
    assert (comparison.failed, comparison.unlike, comparison.index, comparison.scale) == (2, 1, (0, 1, 1), None)
    new[0, 1, 1] = golden[0, 1, 1]
    comparison = compare(golden, new, Rule(Tolerance(1e-4, 0, 1e-5), ulp_dtype="float32"), 20)
    assert (comparison.failed, comparison.index, comparison.golden, comparison.new) == (1, (1, 2, 0), 15.0, 18.0)
    assert (comparison.max_error, comparison.largest) == (3.0, 18.0)
    assert comparison.ulp == int(np.float32(18).view(np.int32)) - int(np.float32(15).view(np.int32))
    assert comparison.scale == pytest.approx((3 - 15e-4) / 18)


@pytest.mark.parametrize(
    ("golden", "new", "passes"),
    [
        ([np.inf, -np.inf], [np.inf, -np.inf], True),
        ([np.inf], [-np.inf], False),
        ([np.inf], [3.4e38], False),
        ([1.0], [np.inf], False),
        ([np.nan], [np.nan], True),
        ([np.nan], [1.0], False),
        ([1.0], [np.nan], False),
        ([0.0, 0.0], [0.0, -0.0], True),
        ([0.0, 0.0], [0.0, 1e-30], False),
        ([], [], True),
        (2.5, 2.5, True),
        (2.5, 2.6, False),
        ([7.0] * 9, [7.0] * 9, True),
    ],
)
def test_special_values(golden: Any, new: Any, passes: bool) -> None:
    rule = Rule(Tolerance(1e-4, 0, 1e-5))
    assert compare(np.array(golden, np.float32), np.array(new, np.float32), rule).passed is passes
    complexes = [np.array(side, np.complex64) for side in (golden, new)]
    assert compare(*complexes, rule).passed is passes


def test_nan_can_be_made_unequal() -> None:
    values = np.array([1, np.nan], np.float32)
    assert not compare(values, values.copy(), Rule(Tolerance(1.0), nan_equal=False)).passed


def test_all_nan_goldens_and_all_zero_goldens() -> None:
    nothing = np.full(5, np.nan, np.float32)
    assert compare(nothing, nothing.copy(), Rule(Tolerance(1e-4, 0, 1e-5))).passed
    comparison = compare(
        np.zeros(5, np.float32), np.array([0, 0, 0.25, 0, 0], np.float32), Rule(Tolerance(1e-4, 0, 1e-5))
    )
    assert (comparison.passed, comparison.scale, comparison.max_error, comparison.index) == (False, None, 0.25, (2,))
    assert compare(np.zeros(5), np.full(5, 0.25), Rule(Tolerance(atol=0.25))).passed


@pytest.mark.parametrize(
    ("golden", "new", "error"),
    [
        (np.array([2**53], np.int64), np.array([2**53 + 1], np.int64), 1),
        (np.array([2**64 - 1], np.uint64), np.array([2**64 - 2], np.uint64), 1),
        (np.array([-(2**63)], np.int64), np.array([2**63 - 1], np.int64), 2**64 - 1),
        (np.array([-1], np.int64), np.array([2**64 - 1], np.uint64), 2**64),
        (np.array([2**63], np.uint64), np.array([2**63 - 1], np.int64), 1),
        (np.array([-128], np.int8), np.array([127], np.int8), 255),
        (np.array([200], np.uint8), np.array([100], np.uint8), 100),
    ],
)
def test_integers_are_compared_without_rounding(golden: Any, new: Any, error: int) -> None:
    comparison = compare(golden, new, EXACT)
    assert (comparison.passed, comparison.max_error) == (False, float(error))
    assert compare(golden, golden.copy(), EXACT).passed
    assert compare(golden, new, Rule(Tolerance(atol=float(error)))).passed
    assert (comparison.golden, comparison.new) == (int(golden[0]), int(new[0]))


def test_complex_numbers_by_the_magnitude_of_the_difference() -> None:
    golden, new = np.array([3 + 4j, 0], np.complex64), np.array([3 + 4j + 0.3 + 0.4j, 0], np.complex64)
    assert not compare(golden, new, Rule(Tolerance(rtol=0.0999))).passed
    assert compare(golden, new, Rule(Tolerance(rtol=0.1001))).passed
    infinite = np.array([complex(np.inf, 1)])
    assert compare(infinite, infinite.copy(), EXACT).passed
    assert not compare(infinite, np.array([complex(np.inf, 2)]), EXACT).passed


def test_complex_numbers_that_share_one_nan_part_must_share_the_other() -> None:
    nan, rule = np.nan, Rule(Tolerance(1e-4, 0, 1e-5))
    golden = np.array([complex(nan, 5), complex(np.inf, nan), complex(nan, nan), 1])
    assert compare(golden, golden.copy(), rule).passed
    comparison = compare(golden, np.array([complex(nan, 7), complex(-np.inf, nan), complex(nan, nan), 1]), rule)
    assert (comparison.passed, comparison.unlike, comparison.index) == (False, 2, (0,))


def test_bools_and_text() -> None:
    assert compare(np.array([True, False]), np.array([True, False]), EXACT).passed
    assert compare(np.array([True, False]), np.array([True, True]), EXACT).index == (1,)
    comparison = compare(np.array([["a", "é"], ["c", ""]]), np.array([["a", "é"], ["x", ""]]), EXACT)
    assert (comparison.failed, comparison.count, comparison.index, comparison.golden, comparison.new) == (
        1,
        4,
        (1, 0),
        "c",
        "x",
    )


def test_exact_sees_the_sign_of_zero_and_no_payload_of_nan() -> None:
    exact = Rule(Tolerance(), exact=True)
    comparison = compare(np.array([1, 0.0], np.float32), np.array([1, -0.0], np.float32), exact)
    assert (comparison.failed, comparison.index, comparison.scale) == (1, (1,), None)
    payloads = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert compare(payloads[:1], payloads[1:], exact).passed
    assert not compare(np.array([0j]), np.array([complex(0, -0.0)]), exact).passed


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_ulps_are_steps_between_neighbours(dtype: str) -> None:
    """Neighbours by the bits of NumPy and ml_dtypes: counting up the integers behind them."""
    known = np.dtype(getattr(ml_dtypes, dtype, dtype))
    bits = np.array([0, 1, 2, 3, 4], f"u{known.itemsize}")
    golden, new = bits.view(known), (bits + 3).view(known)
    stored = np.float32 if dtype == "bfloat16" else known
    golden, new = golden.astype(stored), new.astype(stored)
    assert compare(golden, new, Rule(None, max_ulp=3, ulp_dtype=dtype)).passed
    comparison = compare(golden, new, Rule(None, max_ulp=2, ulp_dtype=dtype))
    assert (comparison.failed, comparison.ulp) == (5, 3)
    across = compare(golden[:2], -golden[:2], Rule(None, max_ulp=2, ulp_dtype=dtype))
    assert across.passed
    assert across.ulp == 2


def test_ulps_of_unlike_dtypes_are_those_of_the_coarser() -> None:
    golden = np.array([1.0], np.float32)
    new = np.array([1 + 2**-10], np.float16)
    assert compare(golden, new, Rule(None, max_ulp=1, ulp_dtype="float16")).passed
    assert not compare(golden, new, Rule(None, max_ulp=0, ulp_dtype="float16")).passed
    assert not compare(golden, np.array([np.inf], np.float16), Rule(None, max_ulp=10**9, ulp_dtype="float16")).passed


@pytest.mark.parametrize(("dtype", "largest"), [("float16", 65504.0), ("float8_e4m3fn", 448.0)])
def test_what_the_coarser_dtype_cannot_hold_is_no_neighbour_of_its_largest_number(dtype: str, largest: float) -> None:
    golden = np.array([largest, -largest], np.float16)
    rule = Rule(None, max_ulp=1 << 16, ulp_dtype=dtype)
    assert compare(golden, golden.astype(np.float32), rule).passed
    comparison = compare(golden, np.array([1e30, -largest], np.float32), rule)
    assert (comparison.failed, comparison.index) == (1, (0,))


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float64, (7,), elements=st.floats(-1e3, 1e3)),
    arrays.arrays(np.float64, (7,), elements=st.floats(-1e3, 1e3)),
)
def test_the_cosine_is_that_of_numpy(golden: Any, new: Any) -> None:
    comparison = compare(golden, new, Rule(None, min_cosine=0.5), 16)
    old, other = golden.astype(np.longdouble), new.astype(np.longdouble)  # float64 squares of 1e-160 lose digits
    lengths = np.sqrt((old * old).sum()) * np.sqrt((other * other).sum())
    if lengths > 1e-200:
        expected = float((old * other).sum() / lengths)
        assert comparison.cosine == pytest.approx(expected, abs=1e-9)
        if abs(expected - 0.5) > 1e-9:
            assert comparison.passed == (expected >= 0.5)


def test_the_cosine_of_zeros_and_of_huge_numbers() -> None:
    rule = Rule(None, min_cosine=0.9)
    zeros, ones = np.zeros(3), np.ones(3)
    assert [compare(a, b, rule).cosine for a, b in ((zeros, zeros), (zeros, ones), (ones, zeros))] == [1, 0, 0]
    assert compare(ones * 1e300, ones * 1e-300, rule).cosine == pytest.approx(1)
    assert not compare(np.array([1, np.nan]), np.array([1, 2.0]), rule).passed


def test_big_endian_and_extended_precision() -> None:
    golden = np.array([1, 2, 3], ">f4")
    assert compare(golden, np.array([1, 2, 3], "<f4"), EXACT).passed
    assert compare(golden, golden.copy(), EXACT).passed
    assert compare(golden, np.array([1, 2, 4], ">f4"), EXACT).index == (2,)
    assert compare(np.array([1], np.longdouble), np.array([1], np.longdouble), EXACT).passed


@given(pairs(), TOLERANCES, st.integers(1, 4))
@settings(deadline=None)
def test_without_reading_again_the_verdict_is_the_same(pair: tuple[Any, Any], tolerance: Tolerance, rows: int) -> None:
    golden, new = pair
    rule = Rule(tolerance, ulp_dtype="float64")
    expected = compare(golden, new, rule)
    judge = elementwise.Judge(rule, rereads=False)
    for start in range(0, len(golden), rows):
        old, other = (ArrayPart("", MemoryReader(side[start : start + rows].copy())) for side in (golden, new))
        for key in old.keys(1 << 22):
            with np.errstate(all="ignore"):
                judge.add(old, other, key, old.read(key), other.read(key), "part")
    comparison = judge.finish()
    assert judge.fails == (not expected.passed)
    assert (comparison.passed, comparison.max_error, comparison.scale) == (
        expected.passed, expected.max_error, expected.scale
    )  # fmt: skip
    assert comparison.failed <= expected.failed
    assert comparison.at_least or comparison.failed == expected.failed


def test_a_block_that_is_gone_counts_as_at_least_one() -> None:
    golden, new = np.array([1.0, 1, 1, 1000]), np.array([1.0, 1 + 5e-4, 1 + 5e-2, 1000])
    rule = Rule(Tolerance(scale=1e-5), ulp_dtype="float64")
    judge = elementwise.Judge(rule, rereads=False)
    for start in (0, 3):
        old, other = (ArrayPart("", MemoryReader(side[start : start + 3])) for side in (golden, new))
        judge.add(old, other, (slice(0, len(old.read())),), old.read(), other.read())
    comparison = judge.finish()
    assert (comparison.failed, comparison.at_least, comparison.passed) == (1, True, False)
    assert compare(golden, new, rule).failed == 1
