"""Running a model batch by batch: each batch is written while the next ones are computed."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from tfdump.inputs.source import Source
from tfdump.process.machine import cores
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress
from tfdump.run.batching import Batches, BatchResult, Compute
from tfdump.run.resume import JournaledBatches
from tfdump.tensors import Array, Batch

AT_ONCE = 2
"""Independent batches that are computed at once: one uses the cores that the other leaves idle."""

IN_MEMORY = 3
"""Batches that are in memory at once: computed, waiting or being written. `--memory` is for one of them."""


class Sink(Protocol):
    """Takes the values of one tensor, batch by batch."""

    @property
    def busy(self) -> bool:
        """Whether `prepare` reads every value, so that a thread of its own pays off."""

    def prepare(self, value: Any, examples: int) -> Any:
        """Take in the value for one batch, of which the first `examples` rows count; return what is to be stored.

        Other sinks may prepare their values on other threads at the same time.
        """

    def store(self, value: Any) -> None:
        """Store what `prepare` returned."""


@dataclass(frozen=True)
class BatchOutput:
    """Where the values of the batches go: one sink per value.

    `check` raises the error of an earlier write, and `progress` is called with the examples written and all examples.
    """

    sinks: Sequence[Sink]
    check: Callable[[], None]
    progress: Progress


def run_in_order(
    source: Source,
    batches: Batches,
    compute: Compute,
    output: BatchOutput,
    journaled: JournaledBatches | None = None,
) -> list[Array]:
    """Compute one batch after the other and write it; return the numbers beside the values, one array per batch.

    The `journaled` batches of an interrupted run are not computed again, and the other ones are added to them.
    """
    numbers = journaled.replay(source, batches, compute, output.progress) if journaled is not None else []
    replayed = journaled.replayed if journaled is not None else 0
    with BatchWriter(output, cores(), journaled) as writer:
        for start, stop in _upcoming(source, batches, output, writer, replayed):
            batch = source.read(start, stop)
            computed = compute(batch, start, stop)
            about = journaled.about(batch, computed[1]) if journaled is not None else None
            writer.give(completed(computed), stop - start, about)
            del computed
    output.progress(source.examples, source.examples)
    return numbers + writer.numbers


def run_at_once(
    source: Source, batches: Batches, compute: Compute, output: BatchOutput, feed: Callable[[Batch], Batch]
) -> list[Array]:
    """Compute `AT_ONCE` independent batches at the same time; return the same as `run_in_order`.

    `compute` receives what `feed` makes of a batch, so that the arrays of the batch can leave memory before the next
    batch is read. With few batches or one core, the batches are computed in order.
    """
    if len(batches) <= AT_ONCE or cores() == 1:
        return run_in_order(source, batches, compute, output)
    with BatchWriter(output, max(1, cores() // AT_ONCE)) as writer, _ComputeThreads(compute, feed) as threads:
        for start, stop in _upcoming(source, batches, output, writer, 0, threads.wait_for_one):
            writer.give(threads.submit(source.read(start, stop), start, stop), stop - start)
    output.progress(source.examples, source.examples)
    return writer.numbers


def _upcoming(
    source: Source,
    batches: Batches,
    output: BatchOutput,
    writer: "BatchWriter",
    replayed: int,
    wait: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each batch behind the `replayed` examples when there is room for it in memory.

    Ends early where a batch could not be written.
    """
    for start, stop in batches:
        if stop <= replayed:
            continue
        writer.wait_for_room()
        wait()
        raise_waiting()
        if writer.failed:
            return
        output.progress(writer.done, source.examples)
        yield start, stop


def completed(computed: BatchResult) -> "Future[BatchResult]":
    """Return the result of a computation as a future that is done."""
    future: Future[BatchResult] = Future()
    future.set_result(computed)
    return future


class _ComputeThreads:
    """Computes `AT_ONCE` batches at once. To save memory, a batch is read only when a thread is free for it."""

    def __init__(self, compute: Compute, feed: Callable[[Batch], Batch]) -> None:
        self._compute = compute
        self._feed = feed
        self._free = threading.Semaphore(AT_ONCE)
        self._pool = ThreadPoolExecutor(AT_ONCE, "tfdump-compute")

    def wait_for_one(self) -> None:
        """Wait until a thread is free."""
        self._free.acquire()

    def submit(self, batch: Batch, start: int, stop: int) -> "Future[BatchResult]":
        """Compute a batch on the free thread."""
        future = self._pool.submit(copy_context().run, self._compute, self._feed(batch), start, stop)
        future.add_done_callback(lambda _: self._free.release())
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until everything is computed; after an interruption, drop what has not begun."""
        self._pool.shutdown(cancel_futures=not _is_ordinary(kind))


class BatchWriter(threading.Thread):
    """Writes batches in order while the next ones are computed.

    `numbers` are the numbers beside the values, one array per batch, and `done` is the number of examples written.
    Values are prepared on as many threads as `preparing` says. Statistics are short NumPy calls, between which threads
    wait for Python's lock: two threads take longer than one where the second core has other work.
    """

    def __init__(self, output: BatchOutput, preparing: int, journaled: JournaledBatches | None = None) -> None:
        super().__init__(name="tfdump-writer", daemon=True)
        self.numbers: list[Array] = []
        self.done = journaled.replayed if journaled is not None else 0
        self._output = output
        self._journaled = journaled
        busy = any(sink.busy for sink in output.sinks)
        self._threads = ThreadPoolExecutor(preparing, "tfdump-prepare") if busy else None
        self._queue: queue.SimpleQueue[tuple[Future[BatchResult], int, Any] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(IN_MEMORY)
        self._error: BaseException | None = None
        self._stopped = False

    @property
    def failed(self) -> bool:
        """Whether a batch could not be computed or written."""
        return self._error is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until everything is written, and raise the first error; after an interruption, drop what waits.

        Batches with a journal are never dropped. An error of writing comes before an error in the body: it is of an
        earlier batch.
        """
        ordinary = _is_ordinary(kind)
        self._stopped = not ordinary and self._journaled is None
        self._queue.put(None)
        self.join()
        if ordinary and self._error is not None:
            raise self._error

    def run(self) -> None:
        """Write batches until None comes; after a failure, drop them."""
        while (item := self._queue.get()) is not None:
            try:
                if not self.failed and not self._stopped:
                    self._write(*item)
            except BaseException as error:  # carried to the main thread, which raises it
                self._error = error
            del item
            self._room.release()
        if self._threads is not None:
            self._threads.shutdown()

    def _write(self, future: "Future[BatchResult]", examples: int, about: Any) -> None:
        """Wait for the values of a batch, and write them."""
        values, beside = future.result()
        self.numbers.append(beside)
        if self._journaled is not None:
            self._journaled.add(values, examples, about)
        else:
            self._add(values, examples)
        self._output.check()
        self.done += examples

    def _add(self, values: list[Any], examples: int) -> None:
        """Prepare all values, on threads where that is work, and store them in order."""
        pairs = [(sink, value) for sink, value in zip(self._output.sinks, values, strict=True) if value is not None]
        if self._threads is None:
            for sink, value in pairs:
                sink.store(sink.prepare(value, examples))
            return
        prepared = self._threads.map(lambda pair: pair[0].prepare(pair[1], examples), pairs)
        for (sink, _), value in zip(pairs, prepared, strict=True):
            sink.store(value)

    def wait_for_room(self) -> None:
        """Wait until there is room in memory for one more batch."""
        self._room.acquire()

    def give(self, future: "Future[BatchResult]", examples: int, about: Any = None) -> None:
        """Hand over the values of one batch, computed or not; `about` goes into the journal."""
        self._queue.put((future, examples, about))


def _is_ordinary(kind: type[BaseException] | None) -> bool:
    """Tell whether a block ended by itself or with an error, and not with an interruption."""
    return kind is None or issubclass(kind, Exception)
