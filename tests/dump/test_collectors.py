"""Batches of one tensor end in the file as rows, a constant, a stack, a ragged or a sparse composite."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from tfdump.dump.collectors import ByExample, Collector, Constant, Stack
from tfdump.dump.composites import RaggedRows, RaggedStack, SparseRows, SparseStack, SparseSteps, SparseValue
from tfdump.dump.layout import stored_dtype
from tfdump.dump.rows import Storage
from tfdump.dump.without_values import NoValues
from tfdump.tensors import Ragged, Sparse

F4 = np.dtype("f4")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "collected.h5", "w") as file:
        yield file


def collect(collector: Collector, *batches: object) -> tuple[h5py.Dataset | h5py.Group, dict]:
    for batch in batches:
        collector.append(batch)
    return collector.finish()


def array(*values: object) -> np.ndarray:
    return np.array(values, np.float32)


# Rows an example


def test_rows_of_batches_are_concatenated(file: h5py.File) -> None:
    rows = np.arange(14, dtype=np.float32).reshape(7, 2)
    item, attributes = collect(ByExample(file, F4, Storage(), 7), rows[:3], rows[3:6], rows[6:])
    np.testing.assert_array_equal(item[()], rows)
    assert attributes == {"axis0": "example"}


def test_no_batch_at_all_gives_no_rows(file: h5py.File) -> None:
    item, _ = collect(ByExample(file, F4, Storage(), 7))
    assert item.shape == (0,)


@pytest.mark.parametrize("storage", [Storage(), Storage(16), Storage(64, {"compression": "gzip"})])
def test_batches_padded_to_different_lengths_end_as_a_composite(file: h5py.File, storage: Storage) -> None:
    batches = [np.full((2, 3), 1, np.float32), np.full((2, 3), 2, np.float32), np.full((2, 5), 3, np.float32)]
    batches.append(np.full((1, 3), 4, np.float32))
    item, attributes = collect(ByExample(file, F4, storage, 7), *batches)
    assert attributes == {"axis0": "batch", "encoding": "stack"}
    assert list(item) == ["0", "1", "2", "3"]
    for name, batch in zip(item, batches, strict=True):
        np.testing.assert_array_equal(item[name][()], batch)


def test_text_of_different_lengths_ends_as_a_composite(file: h5py.File) -> None:
    batches = [np.array([[b"a", b"b"]], object), np.array([[b"c"]], object)]
    item, _ = collect(ByExample(file, stored_dtype("string"), Storage(), 2), *batches)
    assert [item[name][()].tolist() for name in item] == [[[b"a", b"b"]], [[b"c"]]]


# Constants


@pytest.mark.parametrize("value", [array(1, 2), np.float32(3), array(np.nan, 0), np.zeros((2, 0), np.float32)])
def test_a_value_that_all_batches_share_is_stored_once(file: h5py.File, value: np.ndarray) -> None:
    value = np.asarray(value)
    item, attributes = collect(Constant(file, F4, Storage(), 3), value, value.copy(), value.copy())
    assert item.shape == value.shape
    np.testing.assert_array_equal(item[()], value)
    assert attributes == {"axis0": "none"}


def test_a_value_that_changes_late_is_stacked_from_the_first_batch_on(file: h5py.File) -> None:
    item, attributes = collect(Constant(file, F4, Storage(), 4), array(1, 2), array(1, 2), array(9, 9), array(1, 2))
    assert item[()].tolist() == [[1, 2], [1, 2], [9, 9], [1, 2]]
    assert attributes == {"axis0": "batch"}


def test_a_value_whose_shape_changes_late_ends_as_a_composite(file: h5py.File) -> None:
    item, attributes = collect(Constant(file, F4, Storage(), 3), array(1, 2), array(1, 2), array(1, 2, 3))
    assert [item[name][()].tolist() for name in item] == [[1, 2], [1, 2], [1, 2, 3]]
    assert attributes == {"axis0": "batch", "encoding": "stack"}


def test_zeros_of_different_signs_are_not_the_same_value(file: h5py.File) -> None:
    item, _ = collect(Constant(file, F4, Storage(), 2), array(0.0), array(-0.0))
    assert np.signbit(item[()]).tolist() == [[False], [True]]


def test_a_constant_is_remembered_as_it_was(file: h5py.File) -> None:
    value = array(1, 2)
    constant = Constant(file, F4, Storage(), 2)
    constant.append(value)
    value[:] = 5
    assert constant.finish()[0][()].tolist() == [1, 2]


@pytest.mark.parametrize("storage", [Storage(), Storage(64, {"compression": "gzip"})])
def test_a_constant_of_text_and_one_of_bfloat16_come_back(file: h5py.File, storage: Storage) -> None:
    text = np.array([b"a", b"\xc3\xa9"], object)
    item, _ = collect(Constant(file, stored_dtype("string"), storage, 2), text, text.copy())
    assert item[()].tolist() == [b"a", b"\xc3\xa9"]
    narrow = array(1.5, -2).astype(ml_dtypes.bfloat16)
    item, _ = collect(Constant(file, stored_dtype("bfloat16"), storage, 2), narrow, narrow)
    assert (item.dtype, item[()].tolist()) == (F4, [1.5, -2.0])


# Stacks


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
def test_values_of_the_batch_are_stacked_along_a_new_axis(file: h5py.File, shape: tuple[int, ...]) -> None:
    batches = [np.full(shape, n, np.float32) for n in range(4)]
    item, attributes = collect(Stack(file, F4, Storage(), 4), *batches)
    np.testing.assert_array_equal(item[()], np.stack(batches))
    assert attributes == {"axis0": "batch"}


def test_a_stack_of_unequal_shapes_is_a_composite_in_the_order_of_the_batches(file: h5py.File) -> None:
    batches = [np.full((n, n), n, np.float32) for n in (3, 3, 2)] + [np.full((n,), n, np.float32) for n in range(9)]
    item, attributes = collect(Stack(file, F4, Storage(), len(batches)), *batches)
    assert list(item) == [str(n) for n in range(12)]
    for name, batch in zip(item, batches, strict=True):
        np.testing.assert_array_equal(item[name][()], batch)
    assert attributes == {"axis0": "batch", "encoding": "stack"}


# Ragged and sparse


def test_ragged_batches_join_behind_each_other(file: h5py.File) -> None:
    item, attributes = collect(
        RaggedRows(file, F4, Storage(16)),
        Ragged(array(1, 2, 3), (np.array([0, 2, 3]),)),
        Ragged(array(), (np.array([0, 0]),)),
        Ragged(array(4), (np.array([0, 0, 1]),)),
    )
    assert list(item) == ["values", "row_splits"]
    assert item["values"][()].tolist() == [1, 2, 3, 4]
    assert item["row_splits"][()].tolist() == [0, 2, 3, 3, 3, 4]
    assert item["row_splits"].dtype == np.int64
    assert attributes == {"axis0": "example", "encoding": "ragged"}


def test_two_ragged_axes_keep_two_lists_of_offsets(file: h5py.File) -> None:
    # [[[1, 2], [3]]] and then [[[4]], []]
    item, _ = collect(
        RaggedRows(file, F4, Storage()),
        Ragged(array(1, 2, 3), (np.array([0, 2]), np.array([0, 2, 3]))),
        Ragged(array(4), (np.array([0, 1, 1]), np.array([0, 1]))),
    )
    assert list(item) == ["values", "row_splits", "row_splits_1"]
    assert item["row_splits"][()].tolist() == [0, 2, 3, 3]
    assert item["row_splits_1"][()].tolist() == [0, 2, 3, 4]


def test_ragged_rows_of_vectors_keep_their_inner_axis(file: h5py.File) -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    item, _ = collect(RaggedRows(file, F4, Storage()), Ragged(values, (np.array([0, 1, 3]),)))
    np.testing.assert_array_equal(item["values"][()], values)


def test_ragged_rows_that_are_all_empty_have_zero_length_values(file: h5py.File) -> None:
    item, _ = collect(RaggedRows(file, F4, Storage()), Ragged(array(), (np.array([0, 0, 0]),)))
    assert item["values"].shape == (0,)
    assert item["row_splits"][()].tolist() == [0, 0, 0]


def test_sparse_batches_count_their_rows_on(file: h5py.File) -> None:
    item, attributes = collect(
        SparseRows(file, F4, Storage(16)),
        Sparse(array(1, 2), np.array([[0, 1], [1, 0]]), (2, 4)),
        Sparse(array(), np.zeros((0, 2), np.int64), (1, 4)),
        Sparse(array(3), np.array([[0, 5]]), (1, 6)),
    )
    assert item["values"][()].tolist() == [1, 2, 3]
    assert item["indices"][()].tolist() == [[0, 1], [1, 0], [3, 5]]
    assert attributes.pop("dense_shape").tolist() == [4, 6]
    assert attributes == {"axis0": "example", "encoding": "sparse"}


def test_sparse_batches_of_blocks_keep_the_axes_of_a_block(file: h5py.File) -> None:
    item, attributes = collect(
        SparseRows(file, F4, Storage(16)),
        Sparse(np.ones((2, 3), np.float32), np.array([[0], [1]]), (2, 3)),
        Sparse(np.full((1, 3), 2, np.float32), np.array([[3]]), (4, 3)),
    )
    assert item["values"][()].tolist() == [[1, 1, 1], [1, 1, 1], [2, 2, 2]]
    assert item["indices"][()].tolist() == [[0], [1], [5]]
    assert attributes["dense_shape"].tolist() == [6, 3]


@pytest.mark.parametrize("storage", [Storage(), Storage(16, {"compression": "gzip"})])
@pytest.mark.parametrize(
    ("values", "indices", "dense_shape"),
    [
        (np.arange(12).reshape(4, 3), [[7], [0], [7], [2]], (9, 3)),
        (np.arange(4), [[0, 1], [1, 0], [1, 2], [0, 0]], (2, 3)),
        (np.zeros((0, 3)), np.zeros((0, 1)), (9, 3)),
        (np.zeros((2, 0)), [[4], [5]], (9, 0)),
    ],
)
def test_a_sparse_value_is_stored_as_it_is(
    file: h5py.File, values: np.ndarray, indices: list, dense_shape: tuple[int, ...], storage: Storage
) -> None:
    value = Sparse(values.astype(np.float32), np.array(indices, np.int64), dense_shape)
    item, attributes = collect(SparseValue(file, F4, storage), value)
    assert list(item) == ["values", "indices"]
    np.testing.assert_array_equal(item["values"][()], values)
    np.testing.assert_array_equal(item["indices"][()], np.array(indices))
    assert (item["values"].shape, item["values"].dtype) == (values.shape, F4)
    assert (item["indices"].shape, item["indices"].dtype) == (np.shape(indices), np.int64)
    for part in item.values():
        assert part.id.get_space().get_simple_extent_type() == h5py.h5s.SIMPLE
    assert attributes.pop("dense_shape").tolist() == list(dense_shape)
    assert attributes == {"axis0": "none", "encoding": "sparse"}


def test_a_sparse_tensor_without_examples_has_one_value(file: h5py.File) -> None:
    collector = SparseValue(file, F4, Storage())
    value = Sparse(array(1), np.array([[0]]), (2,))
    collector.append(value)
    with pytest.raises(ValueError, match="one value"):
        collector.append(value)


def test_the_steps_of_a_sparse_value_are_located_by_their_first_index(file: h5py.File) -> None:
    item, attributes = collect(
        SparseSteps(file, F4, Storage(16)),
        Sparse(np.ones((2, 3), np.float32), np.array([[8], [1]]), (9, 3)),
        Sparse(np.zeros((0, 3), np.float32), np.zeros((0, 1), np.int64), (9, 3)),
        Sparse(np.full((1, 3), 2, np.float32), np.array([[3]]), (9, 3)),
    )
    assert item["values"][()].tolist() == [[1, 1, 1], [1, 1, 1], [2, 2, 2]]
    assert item["indices"][()].tolist() == [[0, 8], [0, 1], [2, 3]]
    assert attributes.pop("dense_shape").tolist() == [3, 9, 3]
    assert attributes == {"axis0": "step", "encoding": "sparse"}


# Steps


@pytest.mark.parametrize("storage", [Storage(), Storage(16), Storage(64, {"compression": "gzip"})])
def test_batches_of_every_step_are_concatenated_behind_the_step_axis(file: h5py.File, storage: Storage) -> None:
    values = np.arange(42, dtype=np.float32).reshape(3, 7, 2)
    batches = [batch for step in values for batch in (step[:3], step[3:6], step[6:])]
    item, attributes = collect(ByExample(file, F4, storage, 7, 3), *batches)
    np.testing.assert_array_equal(item[()], values)
    assert attributes == {"axis0": "step"}


@pytest.mark.parametrize("storage", [Storage(), Storage(16), Storage(64, {"compression": "gzip"})])
@pytest.mark.parametrize("late", [2, 3, 4])
def test_batches_that_come_to_differ_end_as_a_composite_of_all_steps(
    file: h5py.File, storage: Storage, late: int
) -> None:
    """Two steps of three batches, one of which has a longer axis."""
    shapes = [(3, 2), (3, 2), (1, 2)] * 2
    shapes[late] = (shapes[late][0], 5)
    batches = [np.full(shape, n, np.float32) for n, shape in enumerate(shapes)]
    item, attributes = collect(ByExample(file, F4, storage, 7, 2), *batches)
    assert attributes == {"axis0": "batch", "encoding": "stack"}
    assert list(item) == ["0", "1", "2", "3", "4", "5"]
    for name, batch in zip(item, batches, strict=True):
        np.testing.assert_array_equal(item[name][()], batch)


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,), (5, 0)])
def test_a_value_a_step_is_stacked_even_if_it_stays_the_same(file: h5py.File, shape: tuple[int, ...]) -> None:
    steps = [np.full(shape, n, np.float32) for n in (1, 1, 2)]
    item, attributes = collect(Stack(file, F4, Storage(16), 3, "step"), *steps)
    np.testing.assert_array_equal(item[()], np.stack(steps))
    assert attributes == {"axis0": "step"}


def test_values_of_steps_with_unequal_shapes_are_a_composite_of_steps(file: h5py.File) -> None:
    item, attributes = collect(Stack(file, F4, Storage(), 2, "step"), array(1), array(2, 3))
    assert [item[name][()].tolist() for name in item] == [[1], [2, 3]]
    assert attributes == {"axis0": "step", "encoding": "stack"}


# Shapes alone


@pytest.mark.parametrize(
    ("axis0", "shapes", "expected"),
    [
        ("example", [(4, 2), (3, 2)], [7, 2]),
        ("batch", [(5,), (5,)], [2, 5]),
        ("none", [(5,), (5,)], [5]),
        ("none", [()], []),
    ],
)
def test_without_values_the_shape_is_what_it_would_have_been(
    file: h5py.File, axis0: str, shapes: list[tuple[int, ...]], expected: list[int]
) -> None:
    item, attributes = collect(NoValues(file, F4, axis0), *(np.zeros(shape, np.float32) for shape in shapes))
    assert attributes.pop("computed_shape").tolist() == expected
    assert attributes == {"axis0": axis0, "values": False}
    assert item.size == 0


def test_without_values_a_constant_that_changes_belongs_to_the_batch(file: h5py.File) -> None:
    _, attributes = collect(NoValues(file, F4, "none"), array(1, 2), array(1, 3))
    assert (attributes["axis0"], attributes["computed_shape"].tolist()) == ("batch", [2, 2])


def test_without_values_rows_of_different_lengths_say_so(file: h5py.File) -> None:
    """As the composite would: its item axis counts batches, and its other axes are open where they differ."""
    _, attributes = collect(NoValues(file, F4, "example"), np.zeros((2, 3)), np.zeros((2, 5)))
    assert (attributes["axis0"], attributes["computed_shape"].tolist()) == ("batch", [2, 2, -1])


@pytest.mark.parametrize(
    ("axis0", "shapes", "expected", "ends_as"),
    [
        ("none", [(5, 2)] * 3, [3, 5, 2], "step"),
        ("none", [()] * 3, [3], "step"),
        ("none", [(5,), (6,), (5,)], [3, -1], "step"),
        ("example", [(4, 2), (3, 2)] * 3, [3, 7, 2], "step"),
        ("example", [(4,), (3,)] * 3, [3, 7], "step"),
        ("example", [(4, 0)] * 3, [3, 4, 0], "step"),
        ("example", [(4, 2), (3, 5)] * 3, [6, -1, -1], "batch"),
        ("batch", [(5, 2), (5, 2)] * 3, [6, 5, 2], "batch"),
    ],
)
def test_without_values_the_steps_are_counted(
    file: h5py.File, axis0: str, shapes: list[tuple[int, ...]], expected: list[int], ends_as: str
) -> None:
    batches = [np.full(shape, n, np.float32) for n, shape in enumerate(shapes)]
    item, attributes = collect(NoValues(file, F4, axis0, 3), *batches)
    assert attributes.pop("computed_shape").tolist() == expected
    assert attributes == {"axis0": ends_as, "values": False}
    assert item.size == 0


def test_without_values_a_sparse_value_has_the_shape_of_the_dense_one(file: h5py.File) -> None:
    value = Sparse(np.ones((2, 3), np.float32), np.array([[0], [4]]), (9, 3))
    _, attributes = collect(NoValues(file, F4, "none"), value)
    assert (attributes["axis0"], attributes["computed_shape"].tolist()) == ("none", [9, 3])
    _, attributes = collect(NoValues(file, F4, "none", 2), value, value)
    assert (attributes["axis0"], attributes["computed_shape"].tolist()) == ("step", [2, 9, 3])


# What was appended can be had back, to be collected in another way


def ragged(*lengths: int, start: int = 0) -> Ragged:
    return Ragged(np.arange(start, start + sum(lengths), dtype=np.float32), (np.cumsum([0, *lengths]),))


DEEP = [
    Ragged(np.arange(5, dtype=np.float32), (np.array([0, 2, 2]), np.array([0, 1, 5]))),
    Ragged(np.arange(5, 7, dtype=np.float32), (np.array([0, 1]), np.array([0, 2]))),
]
SPARSES = [
    Sparse(array(1, 2), np.array([[0, 1], [3, 0]]), (4, 2)),
    Sparse(array(), np.zeros((0, 2), np.int64), (1, 2)),
    Sparse(array(5), np.array([[1, 1]]), (2, 2)),
]
ROWS = np.arange(14, dtype=np.float32).reshape(7, 2)
TEXT = [np.array([[b"a", b""]], object), np.array([[b"bc", b"d"]], object)]

BACK = {
    "rows": (lambda *c: ByExample(*c, 7), [ROWS[:3], ROWS[3:6], ROWS[6:]]),
    "rows of steps": (lambda *c: ByExample(*c, 4, 2), [ROWS[:3], ROWS[3:4], ROWS[4:7], ROWS[:1]]),
    "unequal rows": (lambda *c: ByExample(*c, 4), [ROWS[:3], ROWS[:1, :1]]),
    "constant": (lambda *c: Constant(*c, 3), [ROWS, ROWS, ROWS]),
    "varied constant": (lambda *c: Constant(*c, 3), [ROWS, ROWS, -ROWS]),
    "stack": (lambda *c: Stack(*c, 2), [ROWS, -ROWS]),
    "unequal stack": (lambda *c: Stack(*c, 3), [ROWS, -ROWS, ROWS[0, 0]]),
    "ragged": (RaggedRows, [ragged(1, 0, 3), ragged(), ragged(2)]),
    "ragged stack": (RaggedStack, [ragged(1, 0, 3), ragged(), ragged(2)]),
    "ragged twice": (RaggedRows, DEEP),
    "ragged twice, stack": (RaggedStack, DEEP),
    "sparse": (SparseRows, SPARSES),
    "sparse stack": (SparseStack, SPARSES),
    "one sparse value": (SparseValue, SPARSES[:1]),
}


def parts(value: object) -> list[object]:
    if isinstance(value, Ragged):
        return [value.values.tolist(), *(splits.tolist() for splits in value.row_splits)]
    if isinstance(value, Sparse):
        return [value.values.tolist(), value.indices.tolist(), value.dense_shape]
    return [np.asarray(value).tolist(), np.shape(value)]


@pytest.mark.parametrize("storage", [Storage(), Storage(16), Storage(64, {"compression": "gzip"})])
@pytest.mark.parametrize("name", BACK)
def test_batches_come_back_one_by_one(file: h5py.File, name: str, storage: Storage) -> None:
    make, batches = BACK[name]
    for number in range(len(batches) + 1):
        collector = make(file, F4, storage)
        for batch in batches[:number]:
            collector.append(batch)
        assert [parts(value) for value in collector.batches()] == [parts(value) for value in batches[:number]]


def test_batches_of_text_come_back_as_text(file: h5py.File) -> None:
    collector = ByExample(file, stored_dtype("string"), Storage(), 2)
    for batch in TEXT:
        collector.append(batch)
    assert [value.tolist() for value in collector.batches()] == [value.tolist() for value in TEXT]


def test_without_values_the_shapes_come_back_and_the_value_of_a_constant(file: h5py.File) -> None:
    rows, constant = NoValues(file, F4, "example"), NoValues(file, F4, "none")
    for collector in (rows, constant):
        collector.append(ROWS)
        collector.append(ROWS)
    assert [value.shape for value in rows.batches()] == [(7, 2), (7, 2)]
    assert [value.tolist() for value in constant.batches()] == [ROWS.tolist()] * 2


def test_stacks_of_ragged_and_sparse_batches_have_one_axis_more(file: h5py.File) -> None:
    item, attributes = collect(RaggedStack(file, F4, Storage()), *BACK["ragged"][1])
    assert attributes == {"axis0": "batch", "encoding": "ragged"}
    assert item["row_splits"][()].tolist() == [0, 3, 3, 4]
    assert item["row_splits_1"][()].tolist() == [0, 1, 1, 4, 6]
    assert item["values"][()].tolist() == [0, 1, 2, 3, 0, 1]
    item, attributes = collect(SparseStack(file, F4, Storage()), *SPARSES)
    assert (attributes["axis0"], attributes["encoding"]) == ("batch", "sparse")
    assert attributes["dense_shape"].tolist() == [3, 4, 2]
    assert item["indices"][()].tolist() == [[0, 0, 1], [0, 3, 0], [2, 1, 1]]
