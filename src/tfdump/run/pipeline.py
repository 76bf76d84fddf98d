"""Batch by batch: each is written beside the computation of the next ones."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Protocol

from tfdump.inputs.source import Source
from tfdump.process.machine import cores
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress
from tfdump.run.batching import Batches
from tfdump.tensors import Array, Batch

Computed = tuple[list[Any], Array]
"""What a batch gives: values, and float64 numbers beside them."""

Compute = Callable[[Batch, int, int], Computed]
"""Returns what a batch, the examples from one number up to another, gives."""

AT_ONCE = 2
"""Batches that are computed at once, where none shows in another: the cores that one leaves idle, between its
operations and at their ends, work on the other."""

IN_MEMORY = 3
"""Batches that are in memory at once: computed, waiting or being written. `--memory` is for one of them."""


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
    """The batches of an interrupted run; see `tfdump.run.resume.Kept`."""

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
    independent: bool = False,
    feed: Callable[[Batch], Batch] = lambda batch: batch,
) -> list[Array]:
    """Compute every batch and give it to the sinks; return the numbers that came beside the values, batch by batch.

    `kept` are the batches of an interrupted run, which are not computed again; further ones are added to them. `check`
    raises what went wrong in writing. Batches that are `independent` are computed on several threads, where `compute`
    gets what `feed` makes of them, so that their arrays leave memory before the next are read.
    """
    numbers = kept.replay(source, batches, compute, progress) if kept is not None else []
    several = independent and kept is None and len(batches) > AT_ONCE and cores() > 1
    worker = Worker(sinks, check, kept, max(1, cores() // AT_ONCE) if several else cores())
    threads = Threads(compute, feed) if several else None
    try:
        for start, stop in batches:
            if kept is not None and stop <= kept.replayed:
                continue
            worker.wait_for_room()
            if threads is not None:
                threads.wait_for_one()
            raise_waiting()
            if worker.failed:
                break
            progress(worker.done, source.examples)
            if threads is not None:
                worker.give(threads.submit(source.read(start, stop), start, stop), stop - start)
                continue
            batch = source.read(start, stop)
            computed = compute(batch, start, stop)
            about = kept.about(batch, computed[1]) if kept is not None else None
            worker.give(ready(computed), stop - start, about)
            del computed
        worker.finish()
        progress(source.examples, source.examples)
    except Exception:
        worker.finish()  # where a batch before this one failed, its error comes first
        raise
    except BaseException:
        if threads is not None:
            threads.stop()
        worker.stop()
        raise
    finally:
        if threads is not None:
            threads.finish()
    return numbers + worker.numbers


def ready(computed: Computed) -> "Future[Computed]":
    """Return what was computed as something that need not be waited for."""
    future: Future[Computed] = Future()
    future.set_result(computed)
    return future


class Threads:
    """Compute `AT_ONCE` batches at once; the next is read when one of the threads is free for it, to spare memory."""

    def __init__(self, compute: Compute, feed: Callable[[Batch], Batch]) -> None:
        self._compute = compute
        self._feed = feed
        self._free = threading.Semaphore(AT_ONCE)
        self._pool = ThreadPoolExecutor(AT_ONCE, "tfdump-compute")

    def wait_for_one(self) -> None:
        """Wait until a thread is free."""
        self._free.acquire()

    def submit(self, batch: Batch, start: int, stop: int) -> "Future[Computed]":
        """Return what a batch is going to give."""
        future = self._pool.submit(copy_context().run, self._compute, self._feed(batch), start, stop)
        future.add_done_callback(lambda _: self._free.release())
        return future

    def finish(self) -> None:
        """Wait until everything is computed."""
        self._pool.shutdown()

    def stop(self) -> None:
        """Give up what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Worker(threading.Thread):
    """Writes beside the computation, in order; `numbers` are those that came beside the values, `done` the examples.

    Values are prepared on as many threads as `preparing` says. Statistics are short calls of NumPy, between which
    threads wait for Python's lock: two take longer than one where the second core has other work.
    """

    def __init__(
        self, sinks: Sequence[Sink], check: Callable[[], None], kept: Keeping | None = None, preparing: int = 1
    ) -> None:
        super().__init__(name="tfdump-writer", daemon=True)
        self.numbers: list[Array] = []
        self.done = kept.replayed if kept is not None else 0
        self._sinks = sinks
        self._check = check
        self._kept = kept
        self._threads = ThreadPoolExecutor(preparing, "tfdump-prepare") if any(sink.busy for sink in sinks) else None
        self._queue: queue.SimpleQueue[tuple[Future[Computed], int, Any] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(IN_MEMORY)
        self._error: BaseException | None = None
        self._stopped = False
        self.start()

    @property
    def failed(self) -> bool:
        """Whether a batch could not be computed or written; `finish` raises the reason."""
        return self._error is not None

    def run(self) -> None:
        """Take batches until None comes; after a failure, let them pass."""
        while (item := self._queue.get()) is not None:
            try:
                if not self.failed and not self._stopped:
                    self._take(*item)
            except BaseException as error:  # carried to the main thread, which raises it
                self._error = error
            del item
            self._room.release()
        if self._threads is not None:
            self._threads.shutdown()

    def _take(self, future: "Future[Computed]", examples: int, about: Any) -> None:
        """Wait for what a batch gives, and write it."""
        values, beside = future.result()
        self.numbers.append(beside)
        if self._kept is not None:
            self._kept.add(values, examples, about)
        else:
            self._add(values, examples)
        self._check()
        self.done += examples

    def _add(self, values: list[Any], examples: int) -> None:
        """Prepare all values, on threads where that is work, and store them in order."""
        pairs = [(sink, value) for sink, value in zip(self._sinks, values, strict=True) if value is not None]
        if self._threads is None:
            for sink, value in pairs:
                sink.store(sink.prepare(value, examples))
            return
        prepared = self._threads.map(lambda pair: pair[0].prepare(pair[1], examples), pairs)
        for (sink, _), value in zip(pairs, prepared, strict=True):
            sink.store(value)

    def wait_for_room(self) -> None:
        """Wait until there is room in memory for one batch more."""
        self._room.acquire()

    def give(self, future: "Future[Computed]", examples: int, about: Any = None) -> None:
        """Hand over what one batch gives, or is going to give; `about` goes to the batches kept."""
        self._queue.put((future, examples, about))

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
