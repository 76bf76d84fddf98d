"""Makes the missing shards of a run on the workers of a cluster, and says what became of each."""

import asyncio
import concurrent.futures
import queue
import time
import uuid
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from distributed import Client, Future, KilledWorker

from tfdump.dump.shards.folder import shards_so_far
from tfdump.dump.shards.manifest import Manifest, Range, is_shard_folder, read_manifest
from tfdump.dump.shards.shard_file import is_done, shard_name
from tfdump.errors import TfdumpError, reason_of
from tfdump.files.paths import exists
from tfdump.process.stages import Meter, Progress, silent_progress
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.ranges import Division
from tfdump.tensors import Note
from tfdump.workers.running_scheduler import has_workers
from tfdump.workers.same_paths import with_whole_paths
from tfdump.workers.shard_task import NamedJob, ShardFailure, make_shard, plan_run

_LOOK_EVERY = 0.2
"""Seconds after which the connection is looked at, where no shard is finished."""

_WORKERS_EVERY = 2.0
"""Seconds after which it is looked whether there are workers, where no shard is finished."""

_SHOWN = 3
"""Shards that a message names."""

_DEADLY = "ended its workers, perhaps because memory ran out (lower --batch-size)"
_SHARED = "the folder must be on a disk that all machines share"


class _ShardError(TfdumpError):
    """What keeps one shard from being made."""


async def _only(results: Awaitable[list[Any]]) -> Any:
    (result,) = await results
    return result


def _nothing_wrong() -> None:
    """See nothing that would end the run."""


@dataclass
class ShardsOnWorkers:
    """The work on the shards of a run.

    Nothing but the job, ranges and verdicts passes through the scheduler: workers read the inputs and write the shards
    themselves. Each result is released at once, because a worker that dies would take those that are held with it, and
    their shards would be made again. `check` is called now and then, and may raise what ends the run. Messages name
    the worker, unless all of them are on the `same_machine`. `manifest` is None until there is one.
    """

    client: Client
    job: ShardJob
    note: Note
    check: Callable[[], None] = _nothing_wrong
    same_machine: bool = False
    manifest: Manifest | None = None
    _failed: dict[Range, str] = field(default_factory=dict)
    _blamed: list[Range] = field(default_factory=list)
    _had_workers: bool = True
    _look_again: float = 0.0

    def __post_init__(self) -> None:
        self._named = NamedJob(uuid.uuid4().hex, with_whole_paths(self.job))

    def plan(self, division: Division) -> Manifest:
        """Let a worker plan the run and write the manifest, and return it.

        Raises TfdumpError where the run cannot be planned, and where the worker writes to another disk.
        """
        with closing(self._finished(partial(plan_run, self._named), [division])) as finished:
            for _, future in finished:
                try:
                    self._tell(self._result(future))
                except KilledWorker:
                    raise TfdumpError(f"planning the run {_DEADLY}") from None
        if not is_shard_folder(self.job.folder):
            raise TfdumpError(f"the manifest is not in {self.job.folder} ({_SHARED})")
        self.manifest = read_manifest(self.job.folder)
        return self.manifest

    def make(self, manifest: Manifest, progress: Progress = silent_progress) -> int:
        """Make the shards of the planned run that are missing, and return how many were made.

        All shards that can be made are made. Raises TfdumpError where some cannot, where a worker cannot work, and
        where the scheduler ends.
        """
        missing = [bounds for bounds in manifest.ranges if not is_done(self.job.folder, manifest, bounds)]
        meter = Meter(manifest.examples, progress)
        meter.add(manifest.examples - sum(stop - start for start, stop in missing))
        self._make(missing, meter)
        if len(self._blamed) > 1:  # more than one was on the workers that died: each has to show it alone
            suspects, self._blamed = self._blamed, []
            for bounds in suspects:
                self._make([bounds], meter)
        self._failed |= dict.fromkeys(self._blamed, f"it {_DEADLY}")
        for bounds in missing:
            if bounds not in self._failed and not exists(self.job.folder / shard_name(*bounds)):
                self._failed[bounds] = f"it is not in {self.job.folder} ({_SHARED})"
        if self._failed:
            raise TfdumpError(self._complaint(manifest))
        return len(missing)

    def _make(self, ranges: list[Range], meter: Meter) -> None:
        """Make these shards at once, as far as there are workers; the others wait at the scheduler."""
        with closing(self._finished(partial(make_shard, self._named), ranges)) as finished:
            for bounds, future in finished:
                try:
                    self._tell(self._result(future).notes)
                except KilledWorker:
                    self._blamed.append(bounds)
                except _ShardError as error:
                    self._failed[bounds] = str(error)
                else:
                    meter.add(bounds[1] - bounds[0])

    def _finished(self, task: Callable[[Any], Any], items: list[Any]) -> Generator[tuple[Any, Future], None, None]:
        """Run a task for each item on the workers; yield each item when its future is finished, and release that."""
        finished: queue.SimpleQueue[tuple[int, Future]] = queue.SimpleQueue()
        name = f"tfdump-{uuid.uuid4().hex}"
        keys = [(name, number) for number in range(len(items))]
        futures = dict(enumerate(self.client.map(task, items, key=keys, pure=False)))
        for number, future in futures.items():
            future.add_done_callback(lambda done, number=number: finished.put((number, done)))
        try:
            while futures:
                number, future = self._next(finished)
                yield items[number], future
                futures.pop(number).release()
        finally:
            if futures and self.client.status == "running":
                self.client.cancel(list(futures.values()), force=True)

    def _next(self, finished: "queue.SimpleQueue[tuple[int, Future]]") -> tuple[int, Future]:
        while True:
            self.check()
            try:
                return finished.get(timeout=_LOOK_EVERY)
            except queue.Empty:
                if self.client.status != "running":
                    raise self._lost() from None
                self._look_at_workers()

    def _look_at_workers(self) -> None:
        """Tell now and then that no worker is left, each time that it happens."""
        if self.same_machine or time.monotonic() < self._look_again:
            return  # workers of this machine are started again by those who started them
        self._look_again = time.monotonic() + _WORKERS_EVERY
        there = has_workers(self.client)
        if self._had_workers and not there:
            self.note(f"the scheduler {self.client.scheduler.address} has no workers left; waiting for another")
        self._had_workers = there

    def _result(self, future: Future) -> Any:
        """Return what a task returned.

        Raises _ShardError where a shard cannot be made, KilledWorker where it ended its workers, and TfdumpError for
        what keeps others from being made too.
        """
        try:
            result = self._fetched(future)
        except KilledWorker:
            raise
        except CancelledError:
            raise self._lost() from None
        except TfdumpError:
            raise
        except Exception as error:  # whatever a worker raises that nobody expects
            raise _ShardError(f"unexpected {type(error).__name__}: {reason_of(error)}") from error
        if isinstance(result, ShardFailure):
            kind = TfdumpError if result.is_general else _ShardError
            raise kind(result.message if self.same_machine else f"worker {result.worker}: {result.message}")
        return result

    def _fetched(self, future: Future) -> Any:
        """Return the result of a finished task; where its worker died with it, wait until another one has made it.

        A connection that ends while the result is on its way cancels the fetching, and it begins again. (In
        `future.result` that ends in an UnboundLocalError, so the coroutine is run here.)
        """
        fetching = self._fetching(future)
        while True:
            self.check()
            try:
                return fetching.result(timeout=_LOOK_EVERY)
            except TimeoutError:
                if fetching.done():  # the task itself ran into a timeout
                    raise
                if self.client.status != "running":
                    raise self._lost() from None
                self._look_at_workers()
            except CancelledError:
                if not fetching.cancelled() or self.client.status != "running":
                    raise
                fetching = self._fetching(future)

    def _fetching(self, future: Future) -> concurrent.futures.Future[Any]:
        fetched = self.client.gather([future], asynchronous=True)
        return asyncio.run_coroutine_threadsafe(_only(fetched), self.client.loop.asyncio_loop)

    def _tell(self, notes: tuple[str, ...]) -> None:
        for text in notes:
            self.note(text)

    def _lost(self) -> TfdumpError:
        if self.manifest is None:
            return TfdumpError("the scheduler ended (start it again)")
        return TfdumpError(f"the scheduler ended; {shards_so_far(self.manifest, self.job.folder)}")

    def _complaint(self, manifest: Manifest) -> str:
        """Return a line that names the shards that could not be made, and why."""
        count, reasons = len(self._failed), sorted(self._failed.items())
        named = [f"{shard_name(*bounds)}: {reason}" for bounds, reason in reasons[:_SHOWN]]
        more = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
        return f"{'; '.join(named)}{more}; {shards_so_far(manifest, self.job.folder)}"
