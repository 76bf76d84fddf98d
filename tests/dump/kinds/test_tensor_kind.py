"""What the batches of one tensor turn out to be."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.kinds.tensor_kind import Departure, TensorKind, common_dtype, first_rows
from tfdump.tensors import Ragged, Sparse, TensorInfo

ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)

CUBE = Sparse(np.ones(1, np.float32), np.zeros((1, 3), np.int64), (2, 3, 4))
PAIRS = Ragged(np.ones((3, 2), np.float32), (np.array([0, 1, 3]),))


def info(dtype: str = "float32", shape: tuple[int, ...] | None = (-1, 2)) -> TensorInfo:
    return TensorInfo("t", "t", "t", ("Layer",), 0, dtype, shape)


def ragged(*lengths: int) -> Ragged:
    return Ragged(np.arange(sum(lengths), dtype=np.float32), (np.cumsum([0, *lengths]),))


def sparse(rows: int) -> Sparse:
    indices = np.array([[row, 0] for row in range(rows)], np.int64).reshape(rows, 2)
    return Sparse(np.ones(rows, np.float32), indices, (rows, 3))


@pytest.mark.parametrize("value", [ROWS[:4], ragged(1, 0, 2, 1), sparse(4)])
def test_a_row_per_example_stays_one(value: Any) -> None:
    kind = TensorKind(info(shape=None), EXAMPLE)
    assert kind.take(value, 4) is value
    assert (kind.axis0, kind.departure, kind.depends_on_batch) == (EXAMPLE, None, False)


@pytest.mark.parametrize(
    ("value", "rows"), [(ROWS[:3], 3), (ROWS, 6), (ragged(1, 2), 2), (sparse(5), 5), (ROWS[0, 0], -1)]
)
def test_any_other_number_of_rows_belongs_to_its_batch_as_it_is(value: Any, rows: int) -> None:
    kind = TensorKind(info(shape=None), EXAMPLE)
    kind.take(ROWS[:4], 4) if isinstance(value, (np.ndarray, np.generic)) else None
    before = kind.batches
    assert kind.take(value, 4) is value
    assert (kind.axis0, kind.departure) == (BATCH, Departure(before + 1, rows, 4))
    assert kind.take(value, 4) is value


def test_padding_is_cut_where_every_example_that_was_fed_has_a_row() -> None:
    kind = TensorKind(info(), EXAMPLE, padded_to=4)
    np.testing.assert_array_equal(kind.take(ROWS[:4], 3), ROWS[:3])
    assert kind.axis0 == EXAMPLE


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_rows_of_a_padded_batch_that_are_not_one_each_stay_whole(rows: int) -> None:
    """Three rows of four that were fed are not those of the three examples."""
    kind = TensorKind(info(), EXAMPLE, padded_to=4)
    assert len(kind.take(ROWS[:rows], 3)) == rows
    assert kind.axis0 == BATCH


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("int32", "float32", "float64"),
        ("int16", "float32", "float32"),
        ("int8", "float16", "float16"),
        ("int16", "float16", "float32"),
        ("bool", "int8", "int8"),
        ("bool", "float16", "float16"),
        ("uint8", "int8", "int16"),
        ("uint32", "int32", "int64"),
        ("bfloat16", "float16", "float32"),
        ("bfloat16", "float32", "float32"),
        ("float8_e5m2", "bfloat16", "float32"),
        ("float32", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
        ("int64", "float32", None),
        ("int64", "complex64", None),
        ("uint64", "int64", None),
        ("string", "float32", None),
        ("string", "string", "string"),
    ],
)
def test_the_common_dtype_holds_every_value(first: str, second: str, expected: str | None) -> None:
    assert common_dtype(first, second) == common_dtype(second, first) == expected
    for name in (first, second):
        if expected is None or "string" in (first, second):
            continue
        dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
        kind = np.iinfo(dtype) if dtype.kind in "iu" else None
        extremes = [kind.min, kind.max, kind.max - 1] if kind else [0, 1]
        values = np.array(extremes).astype(dtype)
        np.testing.assert_array_equal(values.astype(expected).astype(dtype), values)


def test_a_dtype_that_changes_twice_holds_all_three() -> None:
    kind = TensorKind(info("bool"), BATCH)
    for dtype in (np.bool_, np.int16, np.float32):
        kind.take(np.ones((2, 2), dtype), 2)
    assert (kind.info.dtype, kind.widened) == ("float32", ("bool", "int16", 2))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (ROWS, sparse(6), "dense in the first batches and sparse (rank 2, 2 located) in batch 2"),
        (ragged(1, 2), ROWS, "ragged (1 ragged axis) in the first batches and dense in batch 2"),
        (
            sparse(2),
            Sparse(np.ones(1, np.float32), np.zeros((1, 3), np.int64), (2, 3, 4)),
            "and sparse (rank 3, 3 located) in",
        ),
        (
            ragged(1, 2),
            Ragged(np.ones((3, 2), np.float32), (np.array([0, 1, 3]),)),
            "and ragged (1 ragged axis, values of shape (2,)) in",
        ),
        (ROWS, np.array(["a"], object), "and no dtype holds both"),
        (np.zeros(2, np.int64), np.zeros(2, np.float32), "changes from int64 to float32 in batch 2, and no dtype"),
    ],
)
def test_what_cannot_be_stored_together_is_lost_with_the_reason(first: Any, second: Any, reason: str) -> None:
    kind = TensorKind(info(shape=None), BATCH)
    kind.take(first, 2)
    assert kind.lost is None
    kind.take(second, 2)
    assert reason in str(kind.lost)


@pytest.mark.parametrize(
    ("declared", "shapes", "expected"),
    [
        ((-1, 2), [(4, 2), (3, 2)], (-1, 2)),
        ((4, 2), [(4, 2), (3, 2)], (-1, 2)),
        ((4, 2), [(4, 2), (3, 5)], (-1, -1)),
        ((4, 2), [(4, 2), ()], None),
        ((1, 2), [(4, 2), (3, 2)], (1, 2)),  # the model declares another batch than runs, and is left alone
        (None, [(4, 2), (3, 2)], None),
    ],
)
def test_axes_that_differ_from_batch_to_batch_are_open(declared: Any, shapes: list[Any], expected: Any) -> None:
    kind = TensorKind(info(shape=declared), BATCH)
    for shape in shapes:
        kind.take(np.zeros(shape, np.float32), 4)
    assert kind.info.shape == expected


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_what_is_known_survives_as_json(batches: int) -> None:
    values = [np.ones((4, 2), np.int32), np.ones((3, 2), np.float32), np.array(["a"], object)]
    kind, other = (TensorKind(info("int32", (4, 2)), EXAMPLE) for _ in range(2))
    for value in values[:batches]:
        kind.take(value, 4)
    other.take(values[0], 4)
    other.restore(json.loads(json.dumps(kind.state())))
    for value in values[batches:]:
        assert (kind.take(value, 4) is value) == (other.take(value, 4) is value)
    assert other.state() == kind.state()
    assert (other.info, other.departure, other.widened) == (kind.info, kind.departure, kind.widened)


def test_a_constant_that_varies_belongs_to_its_batch() -> None:
    kind = TensorKind(info(), NONE)
    kind.take(ROWS, 4)
    kind.take(ROWS, 4)
    kind.vary()
    assert (kind.axis0, kind.varied, kind.depends_on_batch) == (BATCH, 2, True)


def test_first_rows_of_nested_ragged_rows() -> None:
    deep = Ragged(np.arange(5), (np.array([0, 2, 2, 3]), np.array([0, 1, 4, 5])))
    cut = first_rows(deep, 2)
    assert cut.values.tolist() == [0, 1, 2, 3]
    assert [splits.tolist() for splits in cut.row_splits] == [[0, 2, 2], [0, 1, 4]]
