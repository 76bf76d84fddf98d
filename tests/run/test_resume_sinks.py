"""Batches of a journal go into the sinks as if they had just been computed: every sink, without a model."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.journal import Journal
from tfdump.dump.writer import DumpWriter
from tfdump.errors import DumpError
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.process.stages import silent_progress
from tfdump.run.batching import Batches
from tfdump.run.gradients.sinks import RowsSink, SumSink
from tfdump.run.gradients.store import GradientStore
from tfdump.run.options import StoreOptions
from tfdump.run.pipeline import BatchOutput, run_in_order
from tfdump.run.resume import JournaledBatches
from tfdump.run.sinks import TensorSink
from tfdump.tensors import InputSpec, Sparse, TensorInfo

X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
X[3, 1], X[7, 2] = np.nan, -np.inf
BATCHES = Batches(3, 10)
STATISTICS = StoreOptions(statistics=True, quantiles=True, dtype="float16")


def source() -> Source:
    return Source([InputSpec("x", (None, 4), "float32")], {"x": ArrayReader(X, "x")}, ReadingOptions(), print)


def values_of(batch: dict[str, np.ndarray], start: int, stop: int) -> tuple[list[Any], np.ndarray]:
    """As a model would: rows, a constant, a table that changes late, a stack, sums dense and sparse, and a gap."""
    assert threading.current_thread() is threading.main_thread(), "with a journal, one batch comes after the other"
    x = batch["x"] * 1e5
    table = np.arange(3, dtype=np.float32) + (start == 9)
    rows = Sparse(x[:, :2], np.arange(len(x))[:, None] % 2, (5, 2))
    total = x.sum(0)
    gap = None if start == 3 else x[:1]
    return [x, table[:2], table, total, x, x, total, rows, gap], np.array([float(start), np.nan])


def sinks_of(open_collector: Callable[..., Any]) -> list[Any]:
    def info(name: str) -> TensorInfo:
        return TensorInfo(name, name, name, ("Layer",), 0, "float32", None)

    store = GradientStore(STATISTICS)
    return [
        TensorSink("activations", info("rows"), EXAMPLE, STATISTICS, open_collector),
        TensorSink("activations", info("constant"), NONE, STATISTICS, open_collector),
        TensorSink("activations", info("late"), NONE, STATISTICS, open_collector),
        TensorSink("activations", info("stack"), BATCH, STATISTICS, open_collector),
        RowsSink("activations", info("gradient"), EXAMPLE, store, open_collector, True),
        RowsSink("activations", info("norms"), EXAMPLE, GradientStore(norms_only=True), open_collector, False),
        SumSink("activations", info("sum"), store, open_collector, True),
        SumSink("activations", info("table"), GradientStore(STATISTICS, sparse=True), open_collector, False),
        TensorSink("activations", info("gap"), BATCH, STATISTICS, open_collector),
    ]


def write(path: Path, compute: Callable[..., Any], journal: Journal | None = None) -> list[np.ndarray]:
    """Run all batches into a dump; return the numbers beside them."""
    with DumpWriter(path) as writer:

        def open_collector(info: TensorInfo, value: Any, axis0: str) -> Any:
            options = {"dtype": None if info.address == "norms" else "float16"}
            return writer.collector(info, value, axis0=axis0, examples=10, batches=4, **options)

        sinks = sinks_of(open_collector)
        journaled = JournaledBatches(journal, sinks, set(), lambda note: None) if journal is not None else None
        output = BatchOutput(sinks, writer.check, silent_progress)
        numbers = run_in_order(source(), BATCHES, compute, output, journaled)
        for sink in sinks:
            if isinstance(sink, (SumSink, RowsSink)):
                sink.end_step()
            collector, extra = sink.finish()
            writer.link(sink.group, sink.info, collector, {**extra, "batches": getattr(sink, "batches", 0)})
    return numbers


class Broken(Exception):
    """The end of a run."""


def until(batches: int) -> Callable[..., Any]:
    """What computes so many batches, and then breaks."""

    def compute(batch: dict[str, np.ndarray], start: int, stop: int) -> Any:
        if start >= 3 * batches:
            raise Broken
        return values_of(batch, start, stop)

    return compute


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_every_sink_ends_in_the_same_bytes(tmp_path: Path, batches: int) -> None:
    numbers = write(tmp_path / "whole.h5", values_of)
    calls = []
    with Journal(tmp_path / "j", {}) as journal:
        journal.begin({})
        with pytest.raises(Broken):
            write(tmp_path / "d.h5", until(batches), journal)

    def counted(batch: dict[str, np.ndarray], start: int, stop: int) -> Any:
        calls.append(start)
        return values_of(batch, start, stop)

    with Journal(tmp_path / "j", {}) as journal:
        journal.begin({})
        repeated = write(tmp_path / "d.h5", counted, journal)
    assert (tmp_path / "d.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert np.array(repeated).tobytes() == np.array(numbers).tobytes()
    replayed = [0, 3, 6, 9][:batches]
    assert calls == sorted({0, replayed[-1]}) + [0, 3, 6, 9][batches:]  # the first and the last are compared


@pytest.mark.parametrize(
    ("count", "about"),
    [
        (2, {"inputs": "", "late": [], "raw": 0, "states": [None] * 9}),
        (10, {"inputs": "", "late": [], "raw": 0, "states": []}),
        (10, {"inputs": "", "states": [None] * 9}),
        (10, []),
    ],
)
def test_a_batch_of_other_tensors_is_refused(tmp_path: Path, count: int, about: Any) -> None:
    with Journal(tmp_path / "j", {}) as journal:
        journal.begin({})
        journal.append([X[:3]] * count, about)
    with Journal(tmp_path / "j", {}) as journal:
        journal.begin({})
        with pytest.raises(DumpError, match="is not a journal that tfdump wrote"):
            write(tmp_path / "d.h5", values_of, journal)
    assert not (tmp_path / "d.h5").exists()


def test_the_comparison_of_bytes_can_fail(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", values_of)

    def other(batch: dict[str, np.ndarray], start: int, stop: int) -> Any:
        values, numbers = values_of(batch, start, stop)
        return [*values[:6], values[6] * (1 + (start == 6)), *values[7:]], numbers

    write(tmp_path / "b.h5", other)
    assert (tmp_path / "a.h5").read_bytes() != (tmp_path / "b.h5").read_bytes()
