"""How a run is divided among workers, and what each of them may use."""

from collections.abc import Callable
from dataclasses import replace

from tfdump.dump.shards.manifest import is_shard_folder
from tfdump.run.shards.job import ShardJob
from tfdump.tensors import Note

SHARDS_A_WORKER = 8
"""Shards for each worker where nothing else is asked for: few enough to be large, many enough to end together."""


def with_threads(job: ShardJob, threads: int) -> ShardJob:
    """Return the job with this number of threads, unless it asks for another, or the folder has a plan with its own."""
    if job.model.threads is not None or is_shard_folder(job.folder):
        return job
    return replace(job, model=replace(job.model, threads=threads))


def told_once(note: Note) -> Callable[[str], None]:
    """Return a function that tells every note once: all workers have the same to say of the same model."""
    told: set[str] = set()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            note(text)

    return tell
