"""What a worker of a cluster runs: the plan of a run, and its shards. The run stays open in the process between them.

Models are loaded, traced and run on one thread of their own, because Keras keeps some of its state by thread. So a
worker makes one shard at a time, whatever its number of threads.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from distributed import get_worker
from distributed.threadpoolexecutor import ThreadPoolExecutor

from tfdump.dump.shards.folder import swept_in_words
from tfdump.dump.shards.manifest import Range
from tfdump.errors import DumpError, TfdumpError, reason_of
from tfdump.run.shards.description import OtherRunError
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.ranges import Division
from tfdump.run.shards.worker import ShardVerdict, ShardWorker

Returned = TypeVar("Returned")

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="tfdump")
"""The thread on which models run. Unlike that of the standard library, it does not keep the process from ending."""


@dataclass(frozen=True)
class ShardFailure:
    """Why a shard was not made, or the run not planned: the worker that says so, and its message.

    `is_general` tells that other shards would fail in the same way, because of the worker or the folder.
    """

    worker: str
    message: str
    is_general: bool


@dataclass(frozen=True)
class NamedJob:
    """A run in shards, and the name by which a worker knows that it is open already."""

    name: str
    job: ShardJob


class _Open:
    """The run that is open in this process, by its name, and what was noted since the last result."""

    name: str | None = None
    run: ShardWorker | None = None
    notes: list[str] = []  # noqa: RUF012 - there is one for the process


def plan_run(job: NamedJob, division: Division) -> tuple[str, ...] | ShardFailure:
    """Plan a run and write its manifest, or check that the one that is there is of this run; return the notes."""
    return _on_thread(lambda: _planned(job, division))


def make_shard(job: NamedJob, bounds: Range) -> ShardVerdict | ShardFailure:
    """Write a shard of a run whose manifest is in its folder, unless the shard is there."""
    return _on_thread(lambda: _made(job, bounds))


def _on_thread(work: Callable[[], Returned]) -> Returned | ShardFailure:
    try:
        answer: Returned = _THREAD.submit(work).result()
    except (TfdumpError, OSError, MemoryError) as error:
        where = f"{get_worker().address} on {socket.gethostname()}"
        return ShardFailure(where, _message(error), is_general=not isinstance(error, _OfOneShardError))
    return answer


class _OfOneShardError(TfdumpError):
    """What is wrong with one shard, and perhaps not with others."""


def _planned(job: NamedJob, division: Division) -> tuple[str, ...]:
    run = _opened(job)
    run.plan(division)
    swept = run.sweep()
    if swept:
        _Open.notes.append(swept_in_words(job.job.folder, swept))
    return _notes()


def _made(job: NamedJob, bounds: Range) -> ShardVerdict:
    try:
        run = _opened(job)
    except OtherRunError as error:  # the run has been planned, so this is because of what the worker has
        raise DumpError(f"its {error.name} is {error.here}, and the run was planned with {error.there}") from None
    if run.manifest is None:
        raise DumpError(f"{job.job.folder} has no manifest (the folder must be on a disk that all machines share)")
    try:
        verdict = run.write(*bounds)
    except DumpError:
        raise
    except (TfdumpError, OSError, MemoryError) as error:
        raise _OfOneShardError(_message(error)) from error
    return replace(verdict, notes=_notes())


def _notes() -> tuple[str, ...]:
    notes = tuple(_Open.notes)
    _Open.notes.clear()
    return notes


def _message(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out of memory (lower --batch-size or --memory)"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or error}"
    return reason_of(error)


def _opened(job: NamedJob) -> ShardWorker:
    """Return the open run of this name; another one is closed before."""
    if _Open.run is not None and _Open.name == job.name:
        return _Open.run
    if _Open.run is not None:
        _Open.run.close()
        _Open.name = _Open.run = None
    _Open.notes.clear()
    _Open.run = ShardWorker(job.job, _Open.notes.append)
    _Open.name = job.name
    return _Open.run
