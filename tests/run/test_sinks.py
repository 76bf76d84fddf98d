"""What one tensor's batches leave behind: values, statistics, reductions and counts of overflow."""

from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from tfdump.accumulators.quantile_histogram import MOST_BINS, QuantileAccumulator, QuantileHistogram
from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.writer import DumpWriter
from tfdump.run.options import StoreOptions
from tfdump.run.sinks import TensorSink, stored_bytes
from tfdump.statistics.reduction import Reduction
from tfdump.tensors import Ragged, Sparse, TensorInfo


class Stored:
    """Runs batches through a sink into a real file and shows what is there afterwards."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "dump.h5"

    def __call__(
        self,
        batches: list,
        options: StoreOptions,
        axis0: str = EXAMPLE,
        dtype: str = "float32",
        examples: list[int] | None = None,
        padded_to: int | None = None,
    ) -> tuple[np.ndarray, dict]:
        counts = examples or [len(batch) if np.ndim(batch) else 1 for batch in batches]
        info = TensorInfo("t", "t", "t", ("Layer",), 0, dtype, None)
        with DumpWriter(self._path, force=True) as writer:

            def collector(stored: TensorInfo, value: object, axis: str) -> object:
                return writer.collector(
                    stored,
                    value,
                    axis0=axis,
                    examples=sum(counts),
                    batches=len(batches),
                    dtype=options.dtype,
                    values=options.values,
                )

            sink = TensorSink("activations", info, axis0, options, collector, padded_to)
            for batch, count in zip(batches, counts, strict=True):
                sink.add(batch, count)
            collector, extra = sink.finish()
            writer.link(
                "activations", sink.stored_info(batches[0]) if not options.reduction else info, collector, extra
            )
        with h5py.File(self._path) as file:
            tensor = file["activations/t"]
            return tensor[()] if isinstance(tensor, h5py.Dataset) else {k: v[()] for k, v in tensor.items()}, dict(
                tensor.attrs
            )


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)


def test_batches_are_concatenated(stored: Stored) -> None:
    values, attributes = stored([ROWS[:4], ROWS[4:]], StoreOptions())
    np.testing.assert_array_equal(values, ROWS)
    assert not any(name.startswith("stat_") for name in attributes)


def test_rows_that_only_pad_a_batch_are_dropped_from_values_and_statistics(stored: Stored) -> None:
    last = np.concatenate([ROWS[4:], np.full((2, 2), 99, np.float32)])
    values, attributes = stored([ROWS[:4], last], StoreOptions(statistics=True), examples=[4, 2], padded_to=4)
    np.testing.assert_array_equal(values, ROWS)
    assert (attributes["stat_count"], attributes["stat_max"]) == (12, 11.0)


def test_rows_that_only_pad_a_batch_are_dropped_from_ragged_tensors(stored: Stored) -> None:
    padded = Ragged(np.arange(4, dtype=np.float32), (np.array([0, 1, 3, 4]),))
    values, _ = stored([padded], StoreOptions(), examples=[2], padded_to=3)
    assert values["row_splits"].tolist() == [0, 1, 3]
    assert values["values"].tolist() == [0, 1, 2]


def test_statistics_are_of_the_tensor_before_it_is_reduced_and_cast(stored: Stored) -> None:
    options = StoreOptions(Reduction("mean", None), "float16", statistics=True)
    values, attributes = stored([ROWS * 1000], options)
    np.testing.assert_array_equal(values, (ROWS * 1000).mean(1).astype(np.float16))
    assert values.dtype == np.float16
    assert (attributes["stat_max"], attributes["stat_count"], attributes["reduce"]) == (11000.0, 12, "mean")


def test_the_largest_histogram_fits_the_attributes(stored: Stored) -> None:
    values = (10.0 ** np.random.default_rng(0).uniform(-300, 300, (20, 20_000))) * np.resize([1, -1], (20, 1))
    options = StoreOptions(statistics=True, quantiles=True, values=False)
    _, attributes = stored([values[:5], values[5:]], options, dtype="float64")
    assert len(attributes["quantile_bins"]) == len(attributes["quantile_counts"]) > 0.4 * MOST_BINS
    assert attributes["quantile_counts"].sum() == values.size
    histogram = QuantileAccumulator()
    histogram.add(values)
    full = QuantileHistogram(np.arange(1, MOST_BINS + 1), np.full(MOST_BINS, 2**62))
    _, attributes = stored([values], options, dtype="float64")
    np.testing.assert_array_equal(attributes["quantile_bins"], histogram.histogram().attributes()["quantile_bins"])
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("t", data=0, track_order=True)
        for name, value in full.attributes().items():
            dataset.attrs[name] = value
        assert dataset.attrs["quantile_counts"].sum(dtype=object) == MOST_BINS * 2**62


def test_statistics_count_a_constant_once(stored: Stored) -> None:
    table = np.array([1.0, 2.0], np.float32)
    _, attributes = stored([table, table, table], StoreOptions(statistics=True), axis0=NONE)
    assert (attributes["axis0"], attributes["stat_count"]) == ("none", 2)


def test_statistics_cover_every_item_of_a_stack(stored: Stored) -> None:
    _, attributes = stored([np.float32(1), np.float32(5)], StoreOptions(statistics=True), axis0=BATCH)
    assert (attributes["stat_count"], attributes["stat_mean"]) == (2, 3.0)


def test_statistics_of_a_constant_that_changes_after_all_cover_the_whole_stack(stored: Stored) -> None:
    table = np.array([1.0, 2.0], np.float32)
    values, attributes = stored([table, table, table * 10], StoreOptions(statistics=True), axis0=NONE)
    assert values.tolist() == [[1, 2], [1, 2], [10, 20]]
    assert (attributes["axis0"], attributes["stat_count"], attributes["stat_max"]) == ("batch", 6, 20.0)


def test_text_has_no_statistics(stored: Stored) -> None:
    values, attributes = stored([np.array([b"a", b"b"], object)], StoreOptions(statistics=True), dtype="string")
    assert values.tolist() == [b"a", b"b"]
    assert not any(name.startswith("stat_") for name in attributes)


def test_statistics_alone_keep_the_shape_and_no_values(stored: Stored) -> None:
    values, attributes = stored([ROWS[:4], ROWS[4:]], StoreOptions(statistics=True, values=False))
    assert values.shape == (0, 2)
    assert attributes["computed_shape"].tolist() == [6, 2]
    assert attributes["values"] == np.False_
    assert (attributes["stat_count"], attributes["stat_mean"]) == (12, 5.5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_floats_are_reduced_in_the_dtype_that_is_stored(stored: Stored, dtype: str) -> None:
    narrow = np.array([[1, 1.25], [2, 2.5]]).astype(getattr(ml_dtypes, dtype))
    values, attributes = stored([narrow], StoreOptions(Reduction("mean", None)), dtype=dtype)
    assert values.tolist() == [1.125, 2.25]
    assert attributes["dtype"] == dtype


@pytest.mark.parametrize(("operation", "expected"), [("sum", 140_000), ("norm", 529.1502622129182)])
def test_what_overflows_float16_is_stored_as_float32(stored: Stored, operation: str, expected: float) -> None:
    values, attributes = stored(
        [np.full((2, 70_000), 2, np.float16)], StoreOptions(Reduction(operation, None)), dtype="float16"
    )
    np.testing.assert_allclose(values, [expected] * 2, rtol=1e-7)
    assert (attributes["dtype"], attributes["stored_as"]) == ("float16", "float32")
    assert "overflowed" not in attributes


def test_sums_that_overflow_float32_are_counted(stored: Stored) -> None:
    values, attributes = stored([np.full((3, 2), 3e38, np.float32)], StoreOptions(Reduction("sum", None)))
    assert values.tolist() == [np.inf] * 3
    assert attributes["overflowed"] == 3


def test_a_sum_in_float16_that_was_asked_for_is_counted_where_it_overflows(stored: Stored) -> None:
    options = StoreOptions(Reduction("sum", None), "float16")
    values, attributes = stored([np.full((2, 70_000), 2, np.float16)], options, dtype="float16")
    assert values.tolist() == [np.inf] * 2
    assert attributes["overflowed"] == 2


@pytest.mark.parametrize(("dtype", "expected"), [("float16", 2), ("float32", None), (None, None)])
def test_finite_values_that_become_infinite_are_counted(stored: Stored, dtype: str | None, expected: int) -> None:
    values = np.array([[1e5, -1e6], [np.inf, 1.0]], np.float32)
    _, attributes = stored([values], StoreOptions(dtype=dtype))
    assert attributes.get("overflowed") == expected


def test_overflow_of_bfloat16_is_counted(stored: Stored) -> None:
    _, attributes = stored(
        [np.array([1e30, 1]).astype(ml_dtypes.bfloat16)], StoreOptions(dtype="float16"), dtype="bfloat16"
    )
    assert attributes["overflowed"] == 1


def test_overflow_in_a_constant_is_counted_once(stored: Stored) -> None:
    table = np.array([1e6, 1], np.float32)
    _, attributes = stored([table, table], StoreOptions(dtype="float16"), axis0=NONE)
    assert attributes["overflowed"] == 1


def test_the_stored_dtype_does_not_touch_integers(stored: Stored) -> None:
    values, attributes = stored([np.array([70000, 1], np.int32)], StoreOptions(dtype="float16"), dtype="int32")
    assert (values.dtype, values.tolist()) == (np.int32, [70000, 1])
    assert "overflowed" not in attributes


def test_no_batches_leave_no_collector() -> None:
    sink = TensorSink("activations", TensorInfo("t", "t", "t", (), 0, "float32", None), EXAMPLE, StoreOptions(), None)
    assert sink.finish() == (None, {})


@pytest.mark.parametrize(
    ("reduction", "dtype", "expected"),
    [("mean", "int32", "float64"), ("sum", "bool", "int64"), ("max", "int32", "int32")],
)
def test_a_reduction_that_changes_the_dtype_is_recorded(reduction: str, dtype: str, expected: str) -> None:
    options = StoreOptions(Reduction(reduction, None))
    sink = TensorSink("activations", TensorInfo("t", "t", "t", (), 0, dtype, None), EXAMPLE, options, None)
    reduced = {"mean": np.float64, "sum": np.int64, "max": np.int32}[reduction]
    assert sink.stored_info(np.zeros(3, reduced)).dtype == expected


# The size that is announced before the run


@pytest.mark.parametrize(
    ("value", "axis0", "options", "expected"),
    [
        (np.zeros((2, 5), np.float32), EXAMPLE, StoreOptions(), 100 * 5 * 4),
        (np.zeros((2, 5), np.float32), EXAMPLE, StoreOptions(dtype="float16"), 100 * 5 * 2),
        (np.zeros((2, 5), np.float32), EXAMPLE, StoreOptions(Reduction("mean", None)), 100 * 4),
        (np.zeros((2, 5), np.float32), NONE, StoreOptions(), 2 * 5 * 4),
        (np.zeros((2, 5), np.float32), EXAMPLE, StoreOptions(values=False), 0),
        (np.zeros((2, 5), ml_dtypes.bfloat16), EXAMPLE, StoreOptions(), 100 * 5 * 4),
        (np.zeros((0, 5), np.float32), EXAMPLE, StoreOptions(), 0),
        (Ragged(np.zeros(6, np.float32), (np.array([0, 2, 6]),)), EXAMPLE, StoreOptions(), 100 * 3 * 4),
        (Sparse(np.zeros(4, np.float32), np.zeros((4, 2), np.int64), (2, 9)), EXAMPLE, StoreOptions(), 100 * 2 * 4),
    ],
)
def test_stored_bytes_grow_with_the_examples(value: object, axis0: str, options: StoreOptions, expected: int) -> None:
    assert stored_bytes(value, axis0, 100, options) == expected
