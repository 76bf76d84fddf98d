"""Where gradients go: sums over batches, rows of examples, norms, touched rows of tables, and zeros of float16."""

import functools
import itertools
import json
import math
import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from tfdump.accumulators.statistics import ExactNorm
from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.writer import DumpWriter
from tfdump.run.gradients.norms import MOST_NORMS, GradientNorms
from tfdump.run.gradients.sinks import RowsSink, SumSink
from tfdump.run.gradients.store import GradientStore, RowNorms
from tfdump.run.options import StoreOptions
from tfdump.tensors import Sparse, TensorInfo

GROUP = "gradients/weights"


def record(dtype: str = "float32", shape: tuple[int, ...] | None = (2, 3)) -> TensorInfo:
    return TensorInfo("dense.kernel", "dense", "dense.kernel", ("Dense",), 0, dtype, shape)


class File:
    """A sink's surroundings: a real file, and what is in it at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[str] = []

    def run(
        self,
        make: Callable[[Any], SumSink | RowsSink],
        steps: list[list[Any]],
        store: GradientStore,
        examples: int = 5,
        several: bool = False,
    ) -> tuple[SumSink | RowsSink, Any, dict[str, Any]]:
        """Give the sink all batches of each step; return it, the values in the file, and the attributes."""
        with DumpWriter(self.path, force=True) as writer:

            def collector(info: TensorInfo, value: Any, axis0: str) -> Any:
                self.opened.append(axis0)
                return writer.collector(
                    info, value, axis0=axis0, examples=examples, batches=len(steps[0]),
                    steps=len(steps) if several else None,
                    dtype=store.for_info(info).dtype, values=store.tensors.values,
                )  # fmt: skip

            sink = make(collector)
            for batches in steps:
                for batch in batches:
                    sink.add(batch, len(batch) if isinstance(batch, np.ndarray) and batch.ndim else 1)
                sink.end_step()
            collected, extra = sink.finish()
            writer.link(GROUP, sink.info, collected, extra)
        with h5py.File(self.path) as file:
            item = file[GROUP]["dense.kernel"]
            values = item[()] if isinstance(item, h5py.Dataset) else {key: part[()] for key, part in item.items()}
            return sink, values, dict(item.attrs)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "d.h5")


def summed(info: TensorInfo, store: GradientStore, half: bool = False) -> Callable[[Any], SumSink]:
    return lambda collector: SumSink(GROUP, info, store, collector, half)


def rowwise(info: TensorInfo, store: GradientStore, axis0: str = EXAMPLE, half: bool = False) -> Callable[[Any], Any]:
    return lambda collector: RowsSink(GROUP, info, axis0, store, collector, half)


def batches_of(*shape: int, count: int = 3, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32"))


# --- sums


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batches_are_added_up(file: File, count: int) -> None:
    batches, store = batches_of(2, 3, count=count), GradientStore()
    sink, values, attributes = file.run(summed(record(), store), [batches], store)
    expected = np.sum(np.array(batches, "float64"), axis=0)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected.astype("float32"))
    assert file.opened == [NONE]
    assert (attributes["axis0"], attributes["norm"].shape) == ("none", ())
    assert attributes["norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-12)
    assert sink.norm == attributes["norm"]
    np.testing.assert_array_equal(sink.gradient, values)
    assert "float16_zeros" not in attributes


def test_sums_do_not_lose_what_float32_would(file: File) -> None:
    batches = [np.full((2, 3), value, "float32") for value in (1e8, 1.0, 1.0, 1.0, -1e8)]
    store = GradientStore()
    _, values, _ = file.run(summed(record(), store), [batches], store)
    np.testing.assert_array_equal(values, 3)


def test_the_batches_are_left_as_they_were(file: File) -> None:
    batches, store = batches_of(2, 3), GradientStore()
    before = [batch.copy() for batch in batches]
    file.run(summed(record(), store), [batches], store)
    np.testing.assert_array_equal(batches, before)


def test_no_batch_at_all_is_zero(file: File) -> None:
    store = GradientStore()
    _, values, attributes = file.run(summed(record(), store), [[]], store)
    np.testing.assert_array_equal(values, np.zeros((2, 3)))
    assert attributes["norm"] == 0


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "complex64"])
def test_a_sum_has_the_dtype_of_the_weight(file: File, dtype: str) -> None:
    kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    batches = [np.ones((2, 3)).astype(kind), np.full((2, 3), 2).astype(kind)]
    store = GradientStore()
    _, values, attributes = file.run(summed(record(dtype), store), [batches], store)
    assert values.dtype == np.dtype("float32" if dtype == "bfloat16" else dtype)
    np.testing.assert_array_equal(values, 3)
    assert attributes["dtype"] == dtype
    assert attributes["norm"] == pytest.approx(3 * np.sqrt(6))


@pytest.mark.filterwarnings("error")
def test_nan_and_infinity_stay(file: File) -> None:
    """And NumPy says nothing of it: a warning would stand on stderr among the notes."""
    batches = [np.array([[np.nan, 1, np.inf]], "float32"), np.array([[1, 1, -np.inf]], "float32")]
    store = GradientStore()
    _, values, attributes = file.run(summed(record(shape=(1, 3)), store), [batches], store)
    np.testing.assert_array_equal(values, [[np.nan, 2, np.nan]])
    assert np.isnan(attributes["norm"])


def test_a_scalar_weight(file: File) -> None:
    store = GradientStore()
    batches = [np.array(2, "float32"), np.array(3, "float32")]
    _, values, attributes = file.run(summed(record(shape=()), store), [batches], store)
    assert (values, attributes["norm"]) == (5, 5)


def test_norms_of_large_tensors_are_summed_in_blocks(file: File) -> None:
    batches, store = batches_of(300, 300, count=1), GradientStore()
    _, values, attributes = file.run(summed(record(shape=(300, 300)), store), [batches], store)
    assert attributes["norm"] == pytest.approx(np.linalg.norm(values.astype("float64")), rel=1e-12)


def test_every_step_begins_anew(file: File) -> None:
    steps, store = [batches_of(2, 3, seed=n) for n in range(4)], GradientStore()
    sink, values, attributes = file.run(summed(record(), store), steps, store, several=True)
    expected = np.array([np.sum(np.array(step, "float64"), axis=0) for step in steps])
    np.testing.assert_array_equal(values, expected.astype("float32"))
    assert attributes["axis0"] == "step"
    np.testing.assert_allclose(attributes["norm"], np.linalg.norm(expected.reshape(4, -1), axis=1), rtol=1e-12)
    assert sink.norm == attributes["norm"][-1]
    np.testing.assert_array_equal(sink.gradient, values[-1])


def test_more_norms_than_an_attribute_holds_are_left_out(file: File) -> None:
    store = GradientStore(norms_only=True)
    steps = [[np.ones((1, 1), "float32")]] * (MOST_NORMS + 1)
    _, values, attributes = file.run(summed(record(shape=(1, 1)), store), steps, store, several=True)
    assert values.shape == (MOST_NORMS + 1,)
    assert "norm" not in attributes
    _, _, attributes = file.run(summed(record(shape=(1, 1)), store), steps[1:], store, several=True)
    assert attributes["norm"].shape == (MOST_NORMS,)


def test_a_norm_instead_of_a_sum(file: File) -> None:
    batches, store = batches_of(2, 3), GradientStore(norms_only=True)
    _, values, attributes = file.run(summed(record(), store), [batches], store)
    expected = np.linalg.norm(np.sum(np.array(batches, "float64"), axis=0))
    assert values.shape == ()
    assert values == pytest.approx(expected, rel=1e-6)
    assert (attributes["reduce"], list(attributes["shape"])) == ("norm", [2, 3])
    assert attributes["norm"] == pytest.approx(expected, rel=1e-12)


def test_a_norm_of_float16_does_not_overflow(file: File) -> None:
    batches, store = [np.full((100, 100), 6e4, "float16")], GradientStore(norms_only=True)
    _, values, _ = file.run(summed(record("float16", (100, 100)), store), [batches], store)
    assert values == pytest.approx(100 * float(np.float16(6e4)), rel=1e-6)


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1.0])
@pytest.mark.parametrize("kind", ["sum", "rows"])
def test_a_norm_is_right_where_its_squares_leave_float64(file: File, scale: float, kind: str) -> None:
    values = [scale * np.array([[3.0, 0, 0], [0, 0, 4]]), scale * np.array([[0, 12.0, 0], [0, 0, 0]])]
    store = GradientStore(norms_only=True)
    make = summed if kind == "sum" else rowwise
    sink, tensor, _ = file.run(make(record("float64"), store), [values], store, examples=4)
    assert sink.finite
    np.testing.assert_allclose(tensor[()], 13 * scale if kind == "sum" else scale * np.array([3, 4, 12, 0]), rtol=1e-15)
    np.testing.assert_allclose(sink.norm, 13 * scale, rtol=1e-15)


def test_an_infinite_or_undefined_norm_stays_so(file: File) -> None:
    for bad in (np.inf, np.nan):
        values = np.array([[1e200, 0, 0], [0, 0, bad]])
        sink, _, _ = file.run(summed(record("float64"), GradientStore()), [[values]], GradientStore())
        np.testing.assert_equal(sink.norm, bad)


def test_statistics_of_a_sum_are_those_of_the_sum(file: File) -> None:
    batches, store = batches_of(2, 3), GradientStore(StoreOptions(statistics=True))
    _, values, attributes = file.run(summed(record(), store), [batches], store)
    wide = values.astype("float64")
    assert attributes["stat_count"] == 6
    assert attributes["stat_mean"] == pytest.approx(wide.mean())
    assert (attributes["stat_min"], attributes["stat_max"]) == (wide.min(), wide.max())


def test_statistics_without_values(file: File) -> None:
    batches, store = batches_of(2, 3), GradientStore(StoreOptions(statistics=True, values=False))
    _, values, attributes = file.run(summed(record(), store), [batches], store)
    assert values.size == 0
    assert list(attributes["computed_shape"]) == [2, 3]
    assert attributes["stat_count"] == 6


def test_what_a_sum_loses_in_the_stored_dtype_is_counted(file: File) -> None:
    batches = [np.array([[1e5, 1, -1e6]], "float32"), np.array([[1e5, np.inf, 0]], "float32")]
    store = GradientStore(StoreOptions(dtype="float16"))
    sink, values, attributes = file.run(summed(record(shape=(1, 3)), store), [batches], store)
    np.testing.assert_array_equal(values, [[np.inf, np.inf, -np.inf]])
    assert attributes["overflowed"] == 2
    assert sink.overflowed == 2


# --- tables


def lookup(rows: list[int], seed: int = 0) -> Sparse:
    values = np.random.default_rng(seed).normal(size=(len(rows), 3)).astype("float32")
    return Sparse(values, np.array(rows, np.int64)[:, None], (6, 3))


def dense(*parts: Sparse) -> np.ndarray:
    table = np.zeros((6, 3))
    for part in parts:
        for row, value in zip(part.indices[:, 0], part.values, strict=True):
            table[row] += value
    return table


def test_the_rows_of_a_table_are_added_to_it(file: File) -> None:
    """Rows repeat within a batch and over batches."""
    batches, store = [lookup([4, 1, 4]), lookup([1, 5], 1)], GradientStore()
    _, values, attributes = file.run(summed(record(shape=(6, 3)), store), [batches], store)
    np.testing.assert_allclose(values, dense(*batches), rtol=1e-6)
    assert attributes["norm"] == pytest.approx(np.linalg.norm(dense(*batches)), rel=1e-7)


def test_the_touched_rows_of_a_table(file: File) -> None:
    batches = [lookup([4, 1, 4]), lookup([1, 5], 1)]
    store = GradientStore(sparse=True)
    _, values, attributes = file.run(summed(record(shape=(6, 3)), store), [batches], store)
    assert values["indices"].tolist() == [[1], [4], [5]]
    np.testing.assert_allclose(values["values"], dense(*batches)[[1, 4, 5]], rtol=1e-6)
    assert attributes["encoding"] == "sparse"
    assert list(attributes["dense_shape"]) == [6, 3]
    assert attributes["norm"] == pytest.approx(np.linalg.norm(dense(*batches)), rel=1e-7)


def test_a_touched_row_whose_gradient_is_zero_is_still_touched(file: File) -> None:
    one = lookup([2])
    store = GradientStore(sparse=True)
    back = Sparse(-one.values, one.indices, one.dense_shape)
    _, values, _ = file.run(summed(record(shape=(6, 3)), store), [[one, back]], store)
    assert values["indices"].tolist() == [[2]]
    assert values["values"].tolist() == [[0, 0, 0]]


def test_a_table_with_a_dense_part_is_kept_whole(file: File) -> None:
    """A regularised table: every row has a gradient, and --sparse must not lose those that no example touched."""
    store, own = GradientStore(sparse=True), np.full((6, 3), 0.5, "float32")
    touched = lookup([4])
    _, values, _ = file.run(summed(record(shape=(6, 3)), store), [[touched, own]], store)
    if isinstance(values, dict):
        back = np.zeros((6, 3))
        back[values["indices"][:, 0]] = values["values"]
        values = back
    np.testing.assert_allclose(values, dense(touched) + 0.5, rtol=1e-6)


def test_a_dense_gradient_stays_dense_with_sparse(file: File) -> None:
    batches, store = batches_of(2, 3), GradientStore(sparse=True)
    _, values, attributes = file.run(summed(record(), store), [batches], store)
    assert isinstance(values, np.ndarray)
    assert "encoding" not in attributes


# --- rows


@pytest.mark.parametrize("cuts", [[], [2], [1, 3, 4]])
def test_rows_follow_each_other(file: File, cuts: list[int]) -> None:
    rows, store = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32"), GradientStore()
    sink, values, attributes = file.run(rowwise(record(), store), [np.split(rows, cuts)], store)
    np.testing.assert_array_equal(values, rows)
    assert attributes["axis0"] == "example"
    assert attributes["norm"] == pytest.approx(np.linalg.norm(rows.astype("float64")), rel=1e-12)
    assert sink.norm == attributes["norm"]


def test_only_the_rows_that_count_do(tmp_path: Path) -> None:
    rows, store = np.arange(1, 7, dtype="float32").reshape(6, 1), GradientStore(StoreOptions(statistics=True))
    with DumpWriter(tmp_path / "d.h5") as writer:
        sink = RowsSink(
            GROUP, record("float16", (-1, 1)), EXAMPLE, store,
            lambda info, value, axis0: writer.collector(info, value, axis0=axis0, examples=4, batches=1), True, 6,
        )  # fmt: skip
        sink.add(np.vstack([rows[:4], np.zeros((2, 1), "float32")]).astype("float16"), 4)
        sink.end_step()
        collector, extra = sink.finish()
        writer.link(GROUP, sink.info, collector, extra)
    with h5py.File(tmp_path / "d.h5") as file:
        item = file[GROUP]["dense.kernel"]
        assert item[:, 0].tolist() == [1, 2, 3, 4]
        assert item.attrs["norm"] == pytest.approx(np.sqrt(30))
        assert item.attrs["float16_zeros"] == 0
        assert item.attrs["stat_count"] == 4


def test_rows_of_every_step(file: File) -> None:
    steps = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    store = GradientStore(StoreOptions(statistics=True))
    batches = [np.split(step, [2, 4]) for step in steps]
    _, values, attributes = file.run(rowwise(record(shape=(-1, 2)), store), batches, store, several=True)
    np.testing.assert_array_equal(values, steps)
    assert attributes["axis0"] == "step"
    assert attributes["norm"].shape == (3,)
    np.testing.assert_allclose(attributes["norm"], np.linalg.norm(steps.reshape(3, -1).astype("f8"), axis=1), rtol=1e-9)
    assert attributes["stat_count"] == 30


def test_one_norm_a_row(file: File) -> None:
    rows, store = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32"), GradientStore(norms_only=True)
    _, values, attributes = file.run(rowwise(record(), store), [np.split(rows, [3])], store)
    np.testing.assert_allclose(values, np.linalg.norm(rows.reshape(5, -1).astype("float64"), axis=1), rtol=1e-6)
    assert attributes["reduce"] == "norm"
    assert attributes["norm"] == pytest.approx(np.linalg.norm(rows.astype("float64")), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_norms_of_narrow_rows_are_wide(file: File, dtype: str) -> None:
    kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    rows, store = np.full((5, 100), 6e4).astype(kind), GradientStore(norms_only=True)
    _, values, _ = file.run(rowwise(record(dtype, (-1, 100)), store), [[rows]], store)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, 10 * float(rows[0, 0]), rtol=1e-6)


def test_gradients_of_a_batch_are_stacked(file: File) -> None:
    batches, store = batches_of(2, 2, count=3), GradientStore()
    sink, values, attributes = file.run(rowwise(record(), store, BATCH), [batches], store)
    np.testing.assert_array_equal(values, batches)
    assert attributes["axis0"] == "batch"
    assert sink.axis0 == BATCH


def test_rows_that_are_not_one_per_example_are_a_stack_with_the_norm_of_all(file: File) -> None:
    batches, store = [np.ones((2, 3), "float32"), np.full((4, 3), 2, "float32")], GradientStore()
    with DumpWriter(file.path) as writer:
        sink = rowwise(record(), store)(
            lambda info, value, axis0: writer.collector(info, value, axis0=axis0, examples=4, batches=2)
        )
        for batch in batches:
            sink.add(batch, 2)
        sink.end_step()
        collector, extra = sink.finish()
        writer.link(GROUP, sink.info, collector, extra)
    with h5py.File(file.path) as dump:
        item = dump[GROUP]["dense.kernel"]
        assert [part[()].tolist() for part in item.values()] == [batch.tolist() for batch in batches]
        assert (item.attrs["axis0"], item.attrs["norm"]) == ("batch", pytest.approx(np.sqrt(6 + 48)))


def test_gradients_of_unequal_shapes_are_no_sum(file: File) -> None:
    sink = summed(record(), GradientStore())(None)
    sink.add(np.ones((2, 3), "float32"))
    sink.add(np.ones((0, 3), "float32"))
    sink.end_step()
    assert sink.finish()[0] is None
    assert sink.lost == "its gradients cannot be added up: (2, 3) in one batch, (0, 3) in another"


# --- float16


@pytest.mark.parametrize("kind", [summed, rowwise])
def test_zeros_that_passed_through_float16_are_counted(file: File, kind: Callable[..., Any]) -> None:
    batches = np.array([[0, 1, -0.0], [2, 0, np.nan]], "float32")
    store = GradientStore()
    sink, _, attributes = file.run(kind(record(), store, half=True), [[batches]], store)
    assert (sink.zeros, attributes["float16_zeros"]) == (3, 3)
    sink, _, attributes = file.run(kind(record(), store), [[batches]], store)
    assert sink.zeros == 0
    assert "float16_zeros" not in attributes


def test_zeros_of_a_sum_are_those_of_the_sum(file: File) -> None:
    store = GradientStore()
    batches = [np.array([[0, 0, 1]], "float32"), np.array([[0, 1, 0]], "float32")]
    sink, _, _ = file.run(summed(record(shape=(1, 3)), store, half=True), [batches], store)
    assert sink.zeros == 1


# --- what is stored


def test_norms_of_rows_reduce_all_axes_but_the_first() -> None:
    reduction = RowNorms("norm", None)
    assert reduction.axes_of((5, 2, 3)) == (1, 2)
    assert reduction.apply(np.array([[3, 4], [0, 0]], "float32")).tolist() == [5, 0]
    assert reduction.apply(np.array([3, -4], "float32")).tolist() == [3, 4]
    assert reduction.apply(np.array([[3 + 4j]])).tolist() == [5]
    assert reduction.apply(np.full((1, 4), 1e30, "float32")).tolist() == [pytest.approx(2e30)]


@pytest.mark.parametrize(
    ("dtype", "wanted", "stored"),
    [
        ("float16", None, "float32"),
        ("bfloat16", None, "float32"),
        ("float32", None, None),
        ("float16", "float64", "float64"),
    ],
)
def test_the_dtype_of_norms(dtype: str, wanted: str | None, stored: str | None) -> None:
    store = GradientStore(StoreOptions(dtype=wanted), norms_only=True)
    assert store.for_info(record(dtype)).dtype == stored
    plain = GradientStore(StoreOptions(dtype=wanted))
    assert plain.for_info(record(dtype)) is plain.tensors


def test_neither_the_order_nor_the_grouping_of_batches_changes_a_sum(file: File) -> None:
    """Terms whose sum in float64, rounded to float32, would depend on the order."""
    batches = [np.full((2, 3), number, np.float32) for number in (2.0**60, 1.0, -(2.0**60), 2.0**-20)]
    exact = np.float32(1 + 2.0**-20)
    plain = functools.reduce(operator.add, (float(batch[0, 0]) for batch in batches))  # sum() compensates since 3.12
    assert np.float32(plain) != exact
    for order in itertools.permutations(batches):
        _, values, attributes = file.run(summed(record(), GradientStore()), [list(order)], GradientStore())
        assert (values == exact).all()
        assert attributes["norm"] == pytest.approx(float(exact) * math.sqrt(6), rel=1e-15)


def test_norms_that_are_merged_are_those_of_all_batches() -> None:
    """In any order, with squares that overflow and underflow, and with NaN."""
    rng = np.random.default_rng(3)
    batches = [scale * rng.normal(size=size) for scale, size in ((1, 9000), (1e200, 5), (1e-200, 7), (3, 2), (0, 4))]

    def measured(batches: Iterable[np.ndarray]) -> GradientNorms:
        norms = GradientNorms(True)
        for batch in batches:
            norms.add(batch)
        return norms

    whole = measured(batches)
    for order in itertools.permutations(batches):
        parts = [json.loads(json.dumps(measured(part).state())) for part in (order[:2], order[2:])]
        joined = ExactNorm.of_state(parts[0])
        joined.merge(ExactNorm.of_state(parts[1]))
        assert joined.state() == whole.state()
    whole.end_step()
    squares = sum(Fraction(float(value)) ** 2 for batch in batches for value in batch)
    assert whole.last is not None
    assert whole.last == pytest.approx(float(squares / 10**400) ** 0.5 * 1e200, rel=1e-15)
    assert joined.norm == whole.last
    for infinite, norm in (([np.inf], np.inf), ([np.inf, -np.inf], np.inf), ([np.inf, np.nan], np.nan)):
        joined.infinite = 0.0
        joined.merge(ExactNorm.of_state(measured([np.array(infinite)]).state()))
        np.testing.assert_equal(joined.norm, norm)
