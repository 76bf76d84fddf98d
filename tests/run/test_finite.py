"""NaN and infinity are seen wherever they are, in every dtype, and nothing else is taken for them."""

import warnings

import ml_dtypes
import numpy as np
import pytest

from tfdump.run.finite import first_bad_row, first_not_finite
from tfdump.tensors import Ragged, Sparse

FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
SHAPES = [(1,), (7,), (3, 5), (2, 3, 4), (1 << 17,), ((1 << 17) + 1,), (3, 1 << 17)]


@pytest.fixture(autouse=True)
def _no_warning() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def normal(shape: tuple[int, ...], dtype: object, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_bad_value_is_found_at_every_place(dtype: type, shape: tuple[int, ...]) -> None:
    values = normal(shape, dtype)
    assert first_not_finite(values) is None
    for bad in (np.nan, -np.nan, np.inf, -np.inf):
        for place in {0, values.size // 3, values.size - 1}:
            spoiled = values.copy()
            spoiled.reshape(-1)[place] = bad
            spoiled.reshape(-1)[-1] = bad  # a later one does not count
            assert first_not_finite(spoiled) == place
            assert first_not_finite(spoiled, allow_inf=True) == (place if np.isnan(bad) else None)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_numbers_are_finite_though_their_sum_is_not(dtype: type) -> None:
    largest = ml_dtypes.finfo(dtype).max
    values = np.full(1000, largest, dtype)
    assert first_not_finite(values) is None
    values[::2] = -largest
    assert first_not_finite(values) is None
    values[[613, 614]] = np.inf, -np.inf  # which add up to NaN
    assert first_not_finite(values) == 613
    assert first_not_finite(values, allow_inf=True) is None


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float8_e5m2fnuz"])
def test_every_bit_pattern_of_float8(name: str) -> None:
    dtype = getattr(ml_dtypes, name)
    patterns = np.arange(256, dtype=np.uint8).view(dtype)
    wide = patterns.astype(np.float32)
    for number in range(256):
        expected = None if np.isfinite(wide[number]) else 0
        assert first_not_finite(patterns[number : number + 1]) == expected
        assert first_not_finite(patterns[number : number + 1], allow_inf=True) == (
            0 if np.isnan(wide[number]) else None
        )
    finite = patterns[np.isfinite(wide)]
    assert first_not_finite(np.tile(finite, 100)) is None


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_bit_pattern_of_16_bits(dtype: type) -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    wide = patterns.astype(np.float32)
    bad = [number for number in range(1 << 16) if first_not_finite(patterns[number : number + 1]) is not None]
    assert bad == np.flatnonzero(~np.isfinite(wide)).tolist()
    nans = [n for n in range(1 << 16) if first_not_finite(patterns[n : n + 1], allow_inf=True) is not None]
    assert nans == np.flatnonzero(np.isnan(wide)).tolist()


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_both_parts_of_a_complex_number_count(dtype: type) -> None:
    values = normal((4, 6), dtype)
    assert first_not_finite(values) is None
    values[2, 1] = complex(0, np.nan)
    assert first_not_finite(values) == 13
    values[1, 5] = complex(np.inf, 1)
    assert (first_not_finite(values), first_not_finite(values, allow_inf=True)) == (11, 13)


@pytest.mark.parametrize(
    "values",
    [
        np.full(9, np.iinfo(np.int64).max),
        np.full(9, 0x7C00, np.uint16),
        np.ones(3, bool),
        np.array(["nan", "inf"], object),
        np.array([b"nan"]),
        np.zeros((0, 3), np.float32),
        np.array([1, 2], ml_dtypes.int4),
    ],
    ids=["int64", "uint16", "bool", "text", "bytes", "empty", "int4"],
)
def test_what_cannot_be_nan_is_finite(values: np.ndarray) -> None:
    assert first_not_finite(values) is None
    assert first_bad_row(values) is None


def test_the_position_is_in_c_order_whatever_the_layout() -> None:
    values = np.asfortranarray(normal((5, 7), np.float32))
    values[1, 6] = values[3, 0] = np.nan
    assert first_not_finite(values) == 13
    assert first_not_finite(values[:, ::-1]) == 7
    assert first_bad_row(values.T) == 0
    assert first_bad_row(np.asfortranarray(normal((3, 4), np.float16))) is None


def test_rows_of_dense_values() -> None:
    values = normal((6, 2, 3), np.float32)
    values[4, 0, 2] = values[5, 0, 0] = np.inf
    assert first_bad_row(values) == 4
    assert first_bad_row(np.array(np.nan, np.float32)) == 0
    assert first_bad_row(np.array([1, np.nan], np.float32)) == 1
    assert first_bad_row(normal((2, 3), np.float32)) is None


def test_rows_of_ragged_values() -> None:
    """Rows of lengths 2, 0, 3, 1, where the bad value is the second of the third row."""
    values = np.array([[0], [1], [2], [np.nan], [4], [5]], np.float32)
    assert first_bad_row(Ragged(values, (np.array([0, 2, 2, 5, 6]),))) == 2
    inner, outer = np.array([0, 2, 2, 5, 6]), np.array([0, 0, 1, 4])
    assert first_bad_row(Ragged(values, (outer, inner))) == 2
    assert first_bad_row(Ragged(values[:3], (np.array([0, 2, 3]),))) is None
    values[2], values[3] = np.nan, 3  # the first value of its row, behind an empty row
    assert first_bad_row(Ragged(values, (np.array([0, 2, 2, 5, 6]),))) == 2
    assert first_bad_row(Ragged(values, (outer, inner))) == 2


def test_rows_of_sparse_values_in_any_order() -> None:
    values = np.array([1, np.nan, 3, np.inf], np.float32)
    indices = np.array([[0, 1], [5, 0], [1, 1], [4, 2]])
    assert first_bad_row(Sparse(values, indices, (6, 3))) == 4
    assert first_bad_row(Sparse(values, indices, (6, 3)), allow_inf=True) == 5
    blocks = np.array([[1, 2], [3, np.nan]], np.float32)
    assert first_bad_row(Sparse(blocks, np.array([[7], [2]]), (9, 2))) == 2
