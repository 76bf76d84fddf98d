"""What is done beside the model: statistics on threads, values in order, and failures carried to the main thread."""

import threading
import time
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.process.stages import Progress, silent_progress
from tfdump.run import pipeline
from tfdump.run.batching import Batches
from tfdump.run.options import StoreOptions
from tfdump.run.pipeline import AT_ONCE, IN_MEMORY, BatchOutput, BatchWriter, completed, run_at_once, run_in_order
from tfdump.run.sinks import TensorSink
from tfdump.tensors import InputSpec, TensorInfo

BATCHES, ROWS = 5, 8
SHAPES = [(3 + n % 7, 1 + n) for n in range(30)]


def values_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(BATCHES * ROWS, *SHAPES[number])).astype("f4")


def write(path: Path, compression: str) -> None:
    """Write thirty tensors in five batches, with their statistics."""
    options = StoreOptions(statistics=True)
    with DumpWriter(path, storage=storage_for(compression, 1 << 10)) as writer:
        infos = [
            TensorInfo(f"t{n}", f"t{n}", "", ("Dense",), n, "float32", (-1, *shape)) for n, shape in enumerate(SHAPES)
        ]

        def open_collector(info: TensorInfo, value: np.ndarray, axis0: str) -> object:
            return writer.collector(info, value, axis0=axis0, examples=BATCHES * ROWS, batches=BATCHES)

        sinks = [TensorSink("activations", info, EXAMPLE, options, open_collector) for info in infos]
        with BatchWriter(BatchOutput(sinks, writer.check, silent_progress), preparing=4) as beside:
            for start in range(0, BATCHES * ROWS, ROWS):
                values = [values_of(n)[start : start + ROWS] for n in range(len(SHAPES))]
                beside.give(completed((values, np.zeros(0))), ROWS)
        for info, sink in zip(infos, sinks, strict=True):
            collector, extra = sink.finish()
            writer.link("activations", info, collector, extra)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_statistics_and_values_are_those_of_all_batches_and_the_bytes_repeat(tmp_path: Path, compression: str) -> None:
    for name in ("a.h5", "b.h5"):
        write(tmp_path / name, compression)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file["activations"]) == [f"t{n}" for n in range(len(SHAPES))]
        for number, dataset in enumerate(file["activations"].values()):
            expected = values_of(number)
            assert np.array_equal(dataset[()], expected)
            assert dataset.attrs["stat_count"] == expected.size
            assert dataset.attrs["stat_max"] == expected.max()
            assert dataset.attrs["stat_mean"] == pytest.approx(expected.mean(dtype="f8"), rel=1e-9, abs=1e-12)
            assert dataset.attrs["stat_std"] == pytest.approx(expected.std(dtype="f8"), rel=1e-9)


def test_what_fails_beside_the_model_is_raised_at_the_end() -> None:
    def open_collector(info: TensorInfo, value: np.ndarray, axis0: str) -> object:
        raise OSError(f"no room for {info.address}")

    info = TensorInfo("t", "t", "", ("Dense",), 0, "float32", (-1, 2))
    sink = TensorSink("activations", info, EXAMPLE, StoreOptions(statistics=True), open_collector)
    writer = BatchWriter(BatchOutput([sink], lambda: None, silent_progress), preparing=1)
    with pytest.raises(OSError, match="no room for t"), writer:
        writer.give(completed(([np.ones((2, 2), "f4")], np.zeros(0))), 2)


class Listing:
    """A sink that lists its values in order, and calls `before` each time."""

    busy = False

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.stored: list[Any] = []
        self.before = before

    def prepare(self, value: Any, examples: int) -> Any:
        self.before()
        return value

    def store(self, value: Any) -> None:
        self.stored.append(value)


def ten_examples(reader: type[ArrayReader] = ArrayReader) -> Source:
    rows = np.arange(10, dtype="f4")
    return Source([InputSpec("x", (None,), "float32")], {"x": reader(rows, "x")}, ReadingOptions(), print)


def run(
    compute: Callable[..., Any],
    sink: Listing,
    independent: bool,
    source: Source | None = None,
    progress: Progress | None = None,
    feed: Callable[[Any], Any] = lambda batch: batch,
) -> list[Any]:
    done: list[int] = []
    output = BatchOutput([sink], lambda: None, progress or (lambda count, total: done.append(count)))
    feeding = (feed,) if independent else ()
    numbers = (run_at_once if independent else run_in_order)(
        source or ten_examples(), Batches(2, 10), compute, output, *feeding
    )
    assert done == sorted(done)
    assert done[:1] + done[-1:] == [0, 10]
    return [float(number) for number in numbers]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "cores", lambda: 2)


@pytest.mark.usefixtures("two_cores")
def test_independent_batches_are_computed_at_once_and_written_in_order() -> None:
    second = threading.Event()

    def compute(batch: Any, start: int, stop: int) -> Any:
        if start == 0:
            assert second.wait(30), "the first batch can end only when the second one has"
        if start == 2:
            second.set()
        return [batch["x"].tolist()], np.float64(start)

    sink = Listing()
    assert run(compute, sink, independent=True) == [0, 2, 4, 6, 8]
    assert sink.stored == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("independent", [False, True])
def test_few_batches_are_in_memory_at_once(independent: bool) -> None:
    """While the first one cannot be written, only so many are begun; where they are not independent, one at a time."""
    begun: list[int] = []
    running: list[int] = []
    most: list[int] = []
    written = threading.Event()

    def compute(batch: Any, start: int, stop: int) -> Any:
        begun.append(start)
        running.append(start)
        most.append(len(running))
        time.sleep(0.02)  # so long as others could run
        if len(begun) == IN_MEMORY:
            written.set()
        running.remove(start)
        return [start], np.float64(start)

    held: list[int] = []

    def hold() -> None:
        assert written.wait(30)
        time.sleep(0.1)  # so long as others could begin
        held.append(len(begun))

    sink = Listing(hold)
    run(compute, sink, independent=independent)
    assert held[0] == IN_MEMORY
    assert sink.stored == [0, 2, 4, 6, 8]
    assert max(most) == (AT_ONCE if independent else 1)


@pytest.mark.usefixtures("two_cores")
def test_a_batch_is_read_when_a_thread_is_free_and_its_arrays_leave_memory_before_the_next() -> None:
    running: list[int] = []
    arrays: list[weakref.ref[np.ndarray]] = []
    waiting = []

    class Watched(ArrayReader):
        def read(self, start: int, stop: int) -> np.ndarray:
            assert not [array for array in arrays if array() is not None]
            read = super().read(start, stop).copy()
            arrays.append(weakref.ref(read))
            waiting.append(len(running))
            return read

    def feed(batch: Any) -> Any:
        running.append(1)
        return {"x": batch["x"] * 10}

    def compute(batch: Any, start: int, stop: int) -> Any:
        time.sleep(0.02)  # so long as others could be read
        running.pop()
        return [batch["x"].tolist()], np.float64(start)

    sink = Listing()
    run(compute, sink, source=ten_examples(Watched), independent=True, feed=feed)
    assert len(arrays) == 5
    assert sink.stored == [[0, 10], [20, 30], [40, 50], [60, 70], [80, 90]]
    assert max(waiting) == AT_ONCE - 1


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("independent", [False, True])
def test_batches_run_in_turn_on_the_main_thread_unless_they_may_do_otherwise(
    independent: bool, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "cores", lambda: cores)
    names = set()

    def compute(batch: Any, start: int, stop: int) -> Any:
        names.add(threading.current_thread().name.rpartition("_")[0])
        return [start], np.float64(start)

    run(compute, Listing(), independent=independent)
    assert names == ({"tfdump-compute"} if independent and cores == 2 else {""})


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("failing", [{2}, {0, 2, 4, 6, 8}])
def test_a_batch_that_fails_ends_the_run_with_its_error_and_those_before_are_written(
    failing: set[int], independent: bool
) -> None:
    class Broken(Exception):
        pass

    begun = []

    def compute(batch: Any, start: int, stop: int) -> Any:
        begun.append(start)
        if start in failing:
            raise Broken
        return [start], np.float64(start)

    sink = Listing()
    with pytest.raises(Broken):
        run(compute, sink, independent=independent)
    assert sink.stored == [0][: min(failing)]
    assert 8 not in begun
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tfdump-")]


@pytest.mark.usefixtures("two_cores")
def test_an_interruption_gives_up_what_waits() -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(done: int, total: int) -> None:
        if done:
            raise Interrupted

    sink = Listing()
    with pytest.raises(Interrupted):
        run(lambda batch, start, stop: ([start], np.float64(start)), sink, progress=interrupt, independent=True)
    assert sink.stored[:1] == [0]
    assert 8 not in sink.stored
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tfdump-")]


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("independent", [False, True])
def test_of_two_errors_the_one_of_the_earlier_batch_is_raised(
    independent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch fails while the next one cannot be read; which of the two happens first is up to the machine."""
    read = Source.read

    def broken(source: Source, start: int, stop: int) -> Any:
        if start == 4:
            raise ValueError("cannot be read")
        return read(source, start, stop)

    def compute(batch: Any, start: int, stop: int) -> Any:
        if start == 2:
            time.sleep(0.05)
            raise ArithmeticError("cannot be computed")
        return [start], np.float64(start)

    monkeypatch.setattr(Source, "read", broken)
    with pytest.raises(ArithmeticError):
        run(compute, Listing(), independent=independent)


SETTING: ContextVar[str] = ContextVar("setting", default="nothing")


@pytest.mark.usefixtures("two_cores")
def test_what_the_caller_set_for_its_context_holds_for_every_batch() -> None:
    settings = set()

    def compute(batch: Any, start: int, stop: int) -> Any:
        settings.add(SETTING.get())
        return [start], np.float64(start)

    token = SETTING.set("this")
    try:
        run(compute, Listing(), independent=True)
    finally:
        SETTING.reset(token)
    assert settings == {"this"}


@pytest.mark.parametrize(
    ("cores", "independent", "threads"), [(2, False, 2), (2, True, 1), (4, False, 4), (4, True, 2)]
)
def test_values_are_prepared_on_every_core_or_on_half_of_them_beside_two_batches(
    cores: int, independent: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "cores", lambda: cores)
    running: list[int] = []
    most: list[int] = []

    def before() -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)  # so long as others could begin
        running.pop()

    sinks = [Listing(before) for _ in range(4)]
    for sink in sinks:
        sink.busy = True
    output = BatchOutput(sinks, lambda: None, silent_progress)
    feeding = (lambda batch: batch,) if independent else ()
    (run_at_once if independent else run_in_order)(
        ten_examples(), Batches(2, 10), lambda batch, start, stop: ([start] * 4, np.float64(0)), output, *feeding
    )
    assert [sink.stored for sink in sinks] == [[0, 2, 4, 6, 8]] * 4
    assert max(most) == threads


def test_what_waits_is_not_written_when_the_run_is_given_up() -> None:
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert end.wait(30)

    sink = Listing(hold)
    writer = BatchWriter(BatchOutput([sink], lambda: None, silent_progress), preparing=1)
    writer.start()
    for number in range(3):
        writer.give(completed(([number], np.zeros(0))), 1)
    assert begun.wait(30)
    stopping = threading.Thread(target=writer.__exit__, args=(KeyboardInterrupt, KeyboardInterrupt(), None))
    stopping.start()
    time.sleep(0.5)
    end.set()
    stopping.join()
    assert sink.stored == [0]
