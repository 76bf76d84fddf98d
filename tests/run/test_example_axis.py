"""The example axis is told from two looks at a tensor, not from one shape."""

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.run.example_axis import (
    AxisFinding,
    agrees,
    find_by_rolling,
    find_example_axis,
    find_in_fixed_batches,
    identical,
)
from tfdump.tensors import Ragged, Sparse

ROWS = np.arange(15, dtype=np.float32).reshape(5, 3)


def test_rows_that_follow_the_batch_are_examples() -> None:
    assert find_example_axis(ROWS[-2:], ROWS, 2, 5, "float32") == AxisFinding(EXAMPLE, depends_on_batch=False)


def test_the_second_batch_may_be_the_smaller_one() -> None:
    assert find_example_axis(ROWS, ROWS[-2:], 5, 2, "float32") == AxisFinding(EXAMPLE, depends_on_batch=False)


@pytest.mark.parametrize("length", [2, 5])
def test_a_table_as_long_as_one_of_the_batches_is_a_constant(length: int) -> None:
    table = ROWS[:length]
    assert find_example_axis(table, table, 2, 5, "float32") == AxisFinding(NONE, depends_on_batch=False)


@pytest.mark.parametrize(
    "value", [np.float32(3), np.float32("nan"), np.array([], np.float32), np.array([b"x"], object)]
)
def test_what_is_the_same_in_both_batches_is_a_constant(value: object) -> None:
    value = np.asarray(value)
    assert find_example_axis(value, value.copy(), 2, 5, "float32") == AxisFinding(NONE, depends_on_batch=False)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (np.zeros((2, 2)), np.zeros((5, 5))),  # similarities between the examples
        (np.zeros((16, 4)), np.zeros((40, 4))),  # batch * heads
        (np.float32(1), np.float32(2)),  # a mean over the batch
        (np.zeros((3, 2)), np.zeros((3, 5))),  # the example is axis 1
        (np.zeros(2), np.zeros((5, 1))),  # another rank
        (np.array([1, 2, 3]), np.array([1, 2, 4])),
    ],
)
def test_what_follows_the_batch_otherwise_belongs_to_the_batch(small: np.ndarray, large: np.ndarray) -> None:
    assert find_example_axis(np.asarray(small), np.asarray(large), 2, 5, "float64") == AxisFinding(
        BATCH, depends_on_batch=True
    )


def test_rows_that_change_with_the_batch_size_mix_examples() -> None:
    finding = find_example_axis(ROWS[-2:] - ROWS[-2:].mean(0), ROWS - ROWS.mean(0), 2, 5, "float32")
    assert finding == AxisFinding(EXAMPLE, depends_on_batch=True)


def test_what_looks_back_along_the_batch_mixes_examples() -> None:
    """A cumulative sum agrees on the first rows of any two batches, so the last ones are compared."""
    finding = find_example_axis(np.cumsum(ROWS[-2:], 0), np.cumsum(ROWS, 0), 2, 5, "float32")
    assert finding == AxisFinding(EXAMPLE, depends_on_batch=True)


def test_rounding_does_not_count_as_mixing_examples() -> None:
    rounded = ROWS * np.float32(1 + 1e-6)
    assert not find_example_axis(ROWS[-2:], rounded, 2, 5, "float32").depends_on_batch


def ragged(rows: int) -> Ragged:
    return Ragged(np.arange(rows), (np.arange(rows + 1),))


def sparse(rows: int) -> Sparse:
    return Sparse(np.arange(1), np.array([[0, 0]]), (rows, 2))


@pytest.mark.parametrize("make", [ragged, sparse])
def test_ragged_and_sparse_tensors_have_a_row_an_example_where_they_follow_the_batch(
    make: Callable[[int], Ragged | Sparse],
) -> None:
    assert find_example_axis(make(2), make(5), 2, 5, "int64", (0, 1)) == AxisFinding(EXAMPLE, False)
    assert find_example_axis(make(2), make(5), 2, 5, "int64", (1, 0)) == AxisFinding(EXAMPLE, True)
    assert find_example_axis(make(1), make(5), 2, 5, "int64") == AxisFinding(BATCH, True)
    assert find_example_axis(make(2), make(4), 2, 5, "int64") == AxisFinding(BATCH, True)
    assert find_example_axis(make(2), ROWS, 2, 5, "int64") == AxisFinding(BATCH, True)
    assert find_by_rolling(make(2), make(2), 2, "int64", (0, 1)) == AxisFinding(EXAMPLE, False)
    assert find_by_rolling(make(2), make(2), 2, "int64") == AxisFinding(EXAMPLE, True)
    assert find_by_rolling(make(3), make(3), 2, "int64") == AxisFinding(BATCH, True)


# Models whose batch size is fixed


def test_rows_that_move_along_with_the_examples_are_examples() -> None:
    assert find_by_rolling(ROWS, np.roll(ROWS, 1, axis=0), 5, "float32") == AxisFinding(EXAMPLE, False)


def test_a_table_that_stays_is_a_constant_though_as_long_as_the_batch() -> None:
    assert find_by_rolling(ROWS, ROWS, 5, "float32") == AxisFinding(NONE, False)


def test_a_scalar_that_stays_is_a_constant() -> None:
    assert find_by_rolling(np.asarray(1.0), np.asarray(1.0), 5, "float64") == AxisFinding(NONE, False)


def test_similarities_move_along_both_axes_and_belong_to_the_batch() -> None:
    similar = ROWS @ ROWS.T
    moved = np.roll(similar, (1, 1), axis=(0, 1))
    assert find_by_rolling(similar, moved, 5, "float32") == AxisFinding(BATCH, True)


def test_another_shape_after_rolling_belongs_to_the_batch() -> None:
    assert find_by_rolling(ROWS, ROWS[:4], 5, "float32") == AxisFinding(BATCH, True)


MIXING = {
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(0),
    "sort": lambda x: np.sort(x, 0),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_rolling_does_not_change_mixes_examples_all_the_same(name: str) -> None:
    x = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
    looks = [MIXING[name](rows) for rows in (x, np.roll(x, 1, axis=0), np.repeat(x[-1:], 5, axis=0))]
    assert find_in_fixed_batches(*looks, 5, "float32") == AxisFinding(BATCH, True)


def test_rows_that_move_along_may_mix_examples_too() -> None:
    looks = (ROWS, np.roll(ROWS, 1, axis=0), np.repeat(ROWS[:1], 5, axis=0))
    for mix in (lambda x: x - x.mean(0), lambda x: np.broadcast_to(x.max(), (len(x), 2))):
        assert find_in_fixed_batches(*map(mix, looks), 5, "float32") == AxisFinding(EXAMPLE, True)


@pytest.mark.parametrize("axis0", [EXAMPLE, NONE])
def test_rows_and_constants_in_a_fixed_batch_mix_nothing(axis0: str) -> None:
    looks = [ROWS, np.roll(ROWS, 1, axis=0), np.repeat(ROWS[-1:], 5, axis=0)] if axis0 == EXAMPLE else [ROWS[:2]] * 3
    assert find_in_fixed_batches(*looks, 5, "float32") == AxisFinding(axis0, False)


# Comparing


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.complex64])
def test_nan_is_identical_to_nan(dtype: type) -> None:
    values = np.array([1, np.nan, 2]).astype(dtype)
    assert identical(values, values.copy())
    assert not identical(values, np.array([1, 3, 2]).astype(dtype))


@pytest.mark.parametrize("values", [[True, False], [1, 2], ["a", "b"], [b"a", b"b"], np.array(["a", "b"], object)])
def test_exact_kinds_are_identical_only_when_equal(values: object) -> None:
    values = np.asarray(values)
    assert identical(values, values.copy())
    assert not identical(values, values[::-1])


@pytest.mark.parametrize(
    ("dtype", "close", "far"),
    [("float64", 1e-10, 1e-8), ("float32", 5e-5, 2e-4), ("float16", 5e-3, 0.02), ("bfloat16", 0.05, 0.2)],
)
def test_floats_agree_up_to_the_rounding_of_their_dtype(dtype: str, close: float, far: float) -> None:
    base = np.array([0.0, 1.0])
    assert agrees(base, base + close, dtype)
    assert not agrees(base, base + far, dtype)


def test_infinities_agree_only_in_sign_and_nan_only_with_nan() -> None:
    odd = np.array([np.inf, -np.inf, np.nan, 1.0])
    assert agrees(odd, odd, "float64")
    for changed in ([-np.inf, -np.inf, np.nan, 1], [np.inf, -np.inf, 0, 1], [1e300, -np.inf, np.nan, 1]):
        assert not agrees(odd, np.array(changed), "float64")


@pytest.mark.parametrize("dtype", ["int32", "bool", "string"])
def test_other_kinds_agree_only_when_equal(dtype: str) -> None:
    assert not agrees(np.array([1000, 1001]), np.array([1000, 1000]), dtype)
