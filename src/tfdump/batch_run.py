"""Batch by batch: each is written beside the computation of the next one."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from tfdump.batching import Batches
from tfdump.inputs.source import Batch, Source
from tfdump.interrupts import raise_waiting
from tfdump.machine import cores
from tfdump.tensors import Array

Progress = Callable[[int, int], None]
"""Called with the number of examples done and the number of all."""

Compute = Callable[[Batch, int, int], tuple[list[Any], Array]]
"""Returns what a batch, the examples from one number up to another, gives: values, and float64 numbers beside them."""


class Sink(Protocol):
    """Takes the values of one tensor, batch by batch."""

    @property
    def busy(self) -> bool:
        """Whether `prepare` looks at every value, so that a thread is worth its while."""

    def prepare(self, value: Any, examples: int) -> Any:
        """Take in the value for one batch, of which the first `examples` rows count; return what is to be stored.

        Beside it others may be prepared on other threads.
        """

    def store(self, value: Any) -> None:
        """Store what `prepare` returned."""


class Keeping(Protocol):
    """The batches of an interrupted run; see `tfdump.resuming.Kept`."""

    replayed: int

    def replay(self, source: Source, batches: Batches, compute: Compute, progress: Progress) -> list[Array]:
        """Give the sinks what is kept, `replayed` examples; return the numbers that came beside it."""

    def about(self, batch: Batch, beside: Array) -> Any:
        """Return what is to be known of a batch before it is written."""

    def add(self, values: Sequence[Any], examples: int, about: Any) -> None:
        """Keep one batch, and give it to the sinks."""


def run_batches(
    source: Source,
    batches: Batches,
    compute: Compute,
    sinks: Sequence[Sink],
    check: Callable[[], None],
    progress: Progress,
    kept: Keeping | None = None,
) -> list[Array]:
    """Compute every batch and give it to the sinks; return the numbers that came beside the values, batch by batch.

    `kept` are the batches of an interrupted run, which are not computed again; further ones are added to them. `check`
    raises what went wrong in writing.
    """
    numbers = kept.replay(source, batches, compute, progress) if kept is not None else []
    worker = Worker(sinks, check, kept)
    try:
        for start, stop in batches:
            if kept is not None and stop <= kept.replayed:
                continue
            raise_waiting()
            if worker.failed:
                break
            batch = source.read(start, stop)
            values, beside = compute(batch, start, stop)
            numbers.append(beside)
            worker.give(values, stop - start, kept.about(batch, beside) if kept is not None else None)
            del values
            progress(stop, source.examples)
        worker.finish()
    except BaseException:
        worker.stop()
        raise
    return numbers


class Worker(threading.Thread):
    """Writes beside the computation; at most one batch waits, so that memory stays flat."""

    def __init__(self, sinks: Sequence[Sink], check: Callable[[], None], kept: Keeping | None = None) -> None:
        super().__init__(name="tfdump-writer", daemon=True)
        self._sinks = sinks
        self._check = check
        self._kept = kept
        self._threads = ThreadPoolExecutor(cores(), "tfdump-prepare") if any(sink.busy for sink in sinks) else None
        self._queue: queue.Queue[tuple[list[Any], int, Any] | None] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        self._stopped = False
        self.start()

    @property
    def failed(self) -> bool:
        """Whether a batch could not be written; `finish` raises the reason."""
        return self._error is not None

    def run(self) -> None:
        """Take batches until None comes; after a failure, let them pass."""
        while (item := self._queue.get()) is not None:
            if self.failed or self._stopped:
                continue
            values, examples, about = item
            try:
                if self._kept is not None:
                    self._kept.add(values, examples, about)
                else:
                    self._add(values, examples)
                self._check()
            except BaseException as error:  # carried to the main thread, which raises it
                self._error = error
            del item, values
        if self._threads is not None:
            self._threads.shutdown()

    def _add(self, values: list[Any], examples: int) -> None:
        """Prepare all values, on every core where that is work, and store them in order."""
        pairs = [(sink, value) for sink, value in zip(self._sinks, values, strict=True) if value is not None]
        if self._threads is None:
            for sink, value in pairs:
                sink.store(sink.prepare(value, examples))
            return
        prepared = self._threads.map(lambda pair: pair[0].prepare(pair[1], examples), pairs)
        for (sink, _), value in zip(pairs, prepared, strict=True):
            sink.store(value)

    def give(self, values: list[Any], examples: int, about: Any = None) -> None:
        """Hand over the values of one batch; waits while another one waits. `about` goes to the batches kept."""
        self._queue.put((values, examples, about))

    def finish(self) -> None:
        """Wait until everything is written; raises what went wrong while writing."""
        self._queue.put(None)
        self.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Give up what waits and end; where batches are kept, what waits still is."""
        self._stopped = self._kept is None
        self._queue.put(None)
        self.join()
