"""`--reduce` makes tensors smaller as NumPy would by hand."""

import warnings

import ml_dtypes
import numpy as np
import pytest

from tfdump.errors import TfdumpError
from tfdump.statistics.reduction import SPATIAL, Reduction, parse_reduction

IMAGE = np.random.default_rng(3).normal(size=(2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean", Reduction("mean", None)),
        ("sum:1", Reduction("sum", (1,))),
        ("max:1,2", Reduction("max", (1, 2))),
        ("norm:-1", Reduction("norm", (-1,))),
        ("min:spatial", Reduction("min", SPATIAL)),
    ],
)
def test_the_text_is_read_and_written_back(text: str, expected: Reduction) -> None:
    assert parse_reduction(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("median", "cannot reduce by 'median'.*mean, sum, max, min, norm"),
        ("", "cannot reduce by ''"),
        ("mean:", "axes '' of --reduce"),
        ("mean:x", "axes 'x' of --reduce"),
        ("mean:1,", "axes '1,' of --reduce"),
        ("mean:1.5", "axes '1.5' of --reduce"),
        ("mean:0", "axis 0"),
        ("mean:1,0", "axis 0"),
    ],
)
def test_nonsense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(TfdumpError, match=complaint):
        parse_reduction(text)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [(None, (1, 2, 3)), (SPATIAL, (1, 2)), ((1,), (1,)), ((-1,), (3,)), ((1, -3), (1,)), ((2, 1), (1, 2))],
)
def test_axes_of_a_tensor_with_four(axes: object, expected: tuple[int, ...]) -> None:
    assert Reduction("mean", axes).axes_of((2, 3, 4, 5)) == expected


@pytest.mark.parametrize("axes", [None, SPATIAL, (1,), (-1,), (-2,), (5,)])
def test_the_examples_are_never_reduced_and_missing_axes_are_no_error(axes: object) -> None:
    values = np.arange(3.0)
    np.testing.assert_array_equal(Reduction("sum", axes).apply(values), values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean", IMAGE.astype(np.float64).mean((1, 2, 3))),
        ("mean:spatial", IMAGE.astype(np.float64).mean((1, 2))),
        ("sum:-1", IMAGE.astype(np.float64).sum(3)),
        ("max:1", IMAGE.max(1)),
        ("min:2,3", IMAGE.min((2, 3))),
        ("norm:spatial", np.sqrt((IMAGE.astype(np.float64) ** 2).sum((1, 2)))),
    ],
)
def test_a_float32_tensor_is_reduced_in_float64_and_stays_float32(text: str, expected: np.ndarray) -> None:
    reduced = parse_reduction(text).apply(IMAGE)
    assert reduced.dtype == np.float32
    np.testing.assert_array_equal(reduced, expected.astype(np.float32))


def test_float16_is_summed_wide() -> None:
    ones = np.ones((1, 60_001), np.float16)
    assert parse_reduction("mean").apply(ones) == 1
    assert parse_reduction("sum").apply(ones[:, :3000]) == 3000


@pytest.mark.parametrize(
    ("text", "expected", "dtype"),
    [("sum", 500, np.int64), ("mean", 250.0, np.float64), ("max", 255, np.uint8), ("norm", 125050**0.5, np.float64)],
)
def test_integers_do_not_wrap(text: str, expected: float, dtype: type) -> None:
    reduced = parse_reduction(text).apply(np.array([[245, 255]], np.uint8))
    assert reduced.dtype == dtype
    assert reduced[0] == pytest.approx(expected)


def test_booleans_are_counted() -> None:
    values = np.array([[True, True, False]])
    assert parse_reduction("sum").apply(values).tolist() == [2]
    assert parse_reduction("mean").apply(values).tolist() == [pytest.approx(2 / 3)]
    assert parse_reduction("max").apply(values).tolist() == [True]


def test_complex_sums_stay_complex_and_norms_are_real() -> None:
    values = np.array([[3 + 4j, 5j]], np.complex64)
    assert parse_reduction("sum").apply(values).tolist() == [3 + 9j]
    norm = parse_reduction("norm").apply(values)
    assert norm.dtype == np.float32
    assert norm[0] == pytest.approx(np.sqrt(50))


def test_bfloat16_keeps_its_dtype() -> None:
    reduced = parse_reduction("mean").apply(np.array([[1, 2, 3]]).astype(ml_dtypes.bfloat16))
    assert reduced.dtype == ml_dtypes.bfloat16
    assert float(reduced[0]) == 2.0


def test_nan_is_passed_on() -> None:
    for operation in ("mean", "sum", "max", "min", "norm"):
        assert np.isnan(parse_reduction(operation).apply(np.array([[1.0, np.nan]]))).all()


def test_text_comes_back_as_it_is() -> None:
    text = np.array([[b"a", b"b"]], object)
    assert parse_reduction("max").apply(text) is text


@pytest.mark.parametrize(("operation", "expected"), [("sum", 0), ("mean", np.nan), ("max", np.nan), ("min", np.nan)])
def test_an_empty_axis_gives_nan_or_a_sum_of_zero_without_a_warning(operation: str, expected: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reduced = parse_reduction(f"{operation}:1").apply(np.zeros((2, 0, 3), np.float32))
    np.testing.assert_array_equal(reduced, np.full((2, 3), expected))


@pytest.mark.parametrize("operation", ["max", "min"])
def test_an_empty_axis_of_floats_keeps_the_dtype(operation: str) -> None:
    assert parse_reduction(operation).apply(np.zeros((2, 0), np.float32)).dtype == np.float32


def test_no_examples_reduce_to_no_examples() -> None:
    assert parse_reduction("max").apply(np.zeros((0, 4), np.float32)).shape == (0,)


# What does not fit into the dtype of the tensor


def wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
@pytest.mark.parametrize("text", ["sum", "norm"])
def test_sums_and_norms_of_narrow_floats_are_float32(dtype: type, text: str) -> None:
    values = np.full((2, 3000), 400).astype(dtype)
    reduced = parse_reduction(text).apply(values)
    exact = wide(values).sum(1) if text == "sum" else np.sqrt((wide(values) ** 2).sum(1))
    assert reduced.dtype == np.float32
    np.testing.assert_array_equal(reduced, exact.astype(np.float32))


@pytest.mark.parametrize("text", ["mean", "max", "min"])
def test_what_fits_into_float16_stays_float16(text: str) -> None:
    values = np.full((2, 3000), 60000, np.float16)
    reduced = parse_reduction(text).apply(values)
    assert (reduced.dtype, reduced.tolist()) == (np.float16, [60000.0, 60000.0])


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ("sum", "float16", "float32"),
        ("norm", "bfloat16", "float32"),
        ("sum", "float8_e5m2", "float32"),
        ("mean", "float16", "float16"),
        ("max", "bfloat16", "bfloat16"),
        ("sum", "float32", "float32"),
        ("norm", "float64", "float64"),
        ("sum", "uint8", "int64"),
        ("sum", "bool", "int64"),
        ("sum", "uint64", "uint64"),
        ("mean", "int32", "float64"),
        ("norm", "int8", "float64"),
        ("min", "int8", "int8"),
        ("norm", "complex64", "float32"),
        ("sum", "complex64", "complex64"),
        ("sum", "string", "string"),
    ],
)
def test_the_dtype_of_what_is_stored_is_known_before(text: str, dtype: str, expected: str) -> None:
    reduction = parse_reduction(text)
    assert reduction.dtype_of(dtype) == expected
    if dtype != "string":
        kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
        assert reduction.apply(np.ones((1, 2), kind)).dtype.name == expected


def test_sums_that_no_dtype_holds_are_counted() -> None:
    values = np.array([[3e38, 3e38], [1, 2], [np.inf, 1], [-3e38, -3e38]], np.float32)
    reduced = parse_reduction("sum").reduce(values)
    assert reduced.overflowed == 2
    assert reduced.values.tolist() == [np.inf, 3, np.inf, -np.inf]


@pytest.mark.parametrize(
    ("dtype", "row", "expected", "overflowed"),
    [
        (np.int64, [2**62, 2**62], 2**63 - 1, 1),
        (np.int64, [-(2**63), -1], -(2**63), 1),
        (np.int64, [2**62, 2**62 - 1], 2**63 - 1, 0),
        (np.int64, [2**62, 2**62, -(2**62)], 2**62, 0),
        (np.uint64, [2**63, 5], 2**63 + 5, 0),
        (np.uint64, [2**63, 2**63], 2**64 - 1, 1),
        (np.int32, [2**31 - 1] * 4, 2**33 - 4, 0),
        (np.int8, [-128] * 5, -640, 0),
    ],
)
def test_sums_of_integers_do_not_wrap(dtype: type, row: list[int], expected: int, overflowed: int) -> None:
    reduced = parse_reduction("sum").reduce(np.array([row], dtype))
    assert (int(reduced.values[0]), reduced.overflowed) == (expected, overflowed)


@pytest.mark.parametrize(
    ("text", "row", "expected", "overflowed"),
    [
        ("norm", [3e200, 4e200], 5e200, 0),
        ("norm", [3e-200, 4e-200], 5e-200, 0),
        ("norm", [3e200 + 4e200j, 0], 5e200, 0),
        ("norm", [1.5e308, 1.5e308], np.inf, 1),
        ("mean", [1.5e308, 1.5e308], 1.5e308, 0),
        ("mean", [1.5e308j, 1.5e308j], 1.5e308j, 0),
        ("sum", [1.5e308, 1.5e308, -1.5e308], 1.5e308, 0),
        ("sum", [1.5e308, 1.5e308], np.inf, 1),
        ("sum", [np.inf, 1.0], np.inf, 0),
        ("norm", [0.0, 0.0], 0.0, 0),
    ],
)
def test_squares_and_sums_of_64_bit_floats_may_overflow_on_the_way(
    text: str, row: list[complex], expected: complex, overflowed: int
) -> None:
    """The other row of the batch keeps its bits."""
    values = np.stack([np.array(row), np.array([0.1, 0.7, 0.3][: len(row)])])
    reduced = parse_reduction(text).reduce(values)
    assert reduced.values.dtype == (values.real.dtype if text == "norm" else values.dtype)
    np.testing.assert_allclose(reduced.values[0], expected, rtol=1e-15)
    assert reduced.overflowed == overflowed
    assert reduced.values[1] == parse_reduction(text).reduce(values[1:]).values[0]
