"""Makes the shards of a run: loads and traces the model once, plans or reads the plan, and writes shard after shard."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from tfdump.dump.shards.folder import check_folder, locked, make_folder, shard_writer, sweep
from tfdump.dump.shards.manifest import MANIFEST, Manifest, is_shard_folder, read_manifest, write_manifest
from tfdump.dump.shards.shard_file import SHARD_OF, THREADS, is_done, shard_name
from tfdump.dump.target import check_space
from tfdump.errors import DumpError, ModelError
from tfdump.files.limits import allowed
from tfdump.files.paths import check_path
from tfdump.model.loading.with_options import Starting, load_with_options, nothing_shown
from tfdump.process.machine import cores
from tfdump.process.stages import Progress, Stage, silent_progress, silent_stage
from tfdump.run.planned import PlannedRun
from tfdump.run.shards.description import OtherRunError, check_same_run, complete_description, describe_opened
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.kinds import KINDS, ShardedRun
from tfdump.run.shards.ranges import Division, divide
from tfdump.run.shards.refusals import check_job, check_probe, check_source
from tfdump.tensors import Note

WRITTEN, SKIPPED = "written", "skipped"
"""What can become of a shard."""


@dataclass(frozen=True)
class ShardVerdict:
    """What became of a shard: the name of its file, whether it was written now, and what the user should know of it.

    `status` is `written`, or `skipped` where the shard was there.
    """

    name: str
    status: str
    notes: tuple[str, ...] = ()


def read_job(job: ShardJob) -> Any:
    """Return the data of a run, opened before the model is loaded, as its kind needs it.

    Raises TfdumpError where the run cannot be divided, and where the model, the data or the folder cannot be used.
    """
    check_job(job)
    check_path(job.model.path, "model", ModelError)
    check_folder(job.folder)
    return KINDS[job.kind].read(job)


class ShardWorker:
    """A run in shards, opened in this process; a context manager that restores the model in the end.

    The model is loaded and traced once. `manifest` is None until there is one. `note` is called with messages for the
    user, each only once; `starting` and `verbose` are for `load_with_options`. Raises TfdumpError where the run cannot
    be divided, where the folder has the shards of another run, and as opening the run does.
    """

    def __init__(
        self,
        job: ShardJob,
        note: Note,
        stage: Stage = silent_stage,
        starting: Starting = nothing_shown,
        verbose: bool = False,
    ) -> None:
        self.manifest: Manifest | None = None
        self._job = job
        self._notes = _Notes(note)
        self._stage = stage
        data = read_job(job)
        there = read_manifest(job.folder) if is_shard_folder(job.folder) else None
        model = job.model
        if there is not None:
            if model.threads not in (None, there.threads):
                raise OtherRunError(job.folder, "threads", there.threads, model.threads)
            model = replace(model, threads=there.threads)
        self._loaded = load_with_options(model, job.options.seed, stage=stage, starting=starting, verbose=verbose)
        with allowed(self._loaded.max_bytes):
            stage("Tracing the model")
            self._sharded: ShardedRun = KINDS[job.kind](self._loaded, data, job, self._notes.tell)
            try:
                check_source(self._sharded.source)
                check_probe(self._sharded.probe)
                self._described = describe_opened(job, self._loaded, self._sharded.source, model.threads)
                if there is not None:
                    self._adopt(there)
            except BaseException:
                self.close()
                raise

    @property
    def run(self) -> PlannedRun[Any, Any]:
        """The whole run, when it has been planned."""
        return self._sharded.run

    def plan(self, division: Division, dry: bool = False) -> Manifest:
        """Plan the run and write the manifest; where one is there, check that it has this division, and return it.

        Where another process writes the manifest meanwhile, that one holds. With `dry`, nothing is written.
        """
        if self.manifest is not None:
            self._check_division(self.manifest, division)
            return self.manifest
        planned = self._planned(division)
        if dry:
            return planned
        make_folder(self._job.folder)
        with locked(self._job.folder):
            if is_shard_folder(self._job.folder):
                there = read_manifest(self._job.folder)
            else:
                write_manifest(self._job.folder, planned)
                self.manifest = there = planned
        if self.manifest is None:
            self._adopt(there)
            self._check_division(there, division)
        return there

    def _planned(self, division: Division) -> Manifest:
        with allowed(self._loaded.max_bytes):
            self._stage("Looking at the first batches")
            plan = self._sharded.plan()
            check_probe(self._sharded.probe)
            batches = self._sharded.batches
            ranges = divide(self._sharded.source.first_example, batches, division)
            return complete_description(self._described, self._job.command, self.run, plan, batches.size, ranges)

    def _adopt(self, manifest: Manifest) -> None:
        check_same_run(self._job.folder, manifest, self._described, self._job.command)
        self._sharded.adopt(manifest)
        self.manifest = manifest

    def _check_division(self, manifest: Manifest, division: Division) -> None:
        """Raise DumpError where another division is asked for than that of the manifest."""
        count = len(manifest.ranges)
        if division.is_default or division.parts == count:
            return
        batches = self._sharded.batches
        if division.parts is None and divide(manifest.first_example, batches, division) == manifest.ranges:
            return
        asked = f"--shard K/{division.parts}" if division.parts else f"--shard-examples {division.shard_examples}"
        raise DumpError(
            f"{self._job.folder} has {count} {'shard' if count == 1 else 'shards'}, which are not those of {asked} "
            f"(ask for --shard K/{count}, or choose another folder)"
        )

    def write(
        self, start: int, stop: int, note: Note | None = None, progress: Progress = silent_progress
    ) -> ShardVerdict:
        """Write the shard of these examples, by their numbers in the input, unless it is there.

        The shard appears as a whole or not at all. Raises DumpError where a file of its name is something else, and
        where the folder has no manifest.
        """
        manifest = self._manifest()
        if (start, stop) not in manifest.ranges:
            raise DumpError(f"{self._job.folder} is not divided at examples {start} and {stop} (see its {MANIFEST})")
        folder, name = self._job.folder, shard_name(start, stop)
        if is_done(folder, manifest, (start, stop)):
            return ShardVerdict(name, SKIPPED)
        with self._notes.collected(note) as notes, allowed(self._loaded.max_bytes):
            try:
                self._write(manifest, start, stop, progress)
            except DumpError:
                if not is_done(folder, manifest, (start, stop)):  # another process was faster
                    raise
                return ShardVerdict(name, SKIPPED)
        return ShardVerdict(name, WRITTEN, tuple(notes))

    def _manifest(self) -> Manifest:
        if self.manifest is None:
            self._adopt(read_manifest(self._job.folder))
        assert self.manifest is not None
        return self.manifest

    def _write(self, manifest: Manifest, start: int, stop: int, progress: Progress) -> None:
        path, options = self._job.folder / shard_name(start, stop), self._job.options
        if options.compression == "none":
            share = self.run.value_bytes * (stop - start) // manifest.examples
            check_space(path, share + self.run.file_bytes - self.run.value_bytes, "--shards")
        threads = cores() if manifest.threads is None else manifest.threads
        further = {SHARD_OF: manifest.id, THREADS: np.int64(threads)}
        first = manifest.first_example
        with shard_writer(self._job.folder, lambda: self.run.open_writer(path, force=False)) as writer:
            self._sharded.write(writer, self._job.command, further, start - first, stop - first, progress)
            check_probe(self._sharded.probe)  # a model without a graph may show only now that it draws

    def sweep(self) -> list[str]:
        """Remove the temporary files of killed processes from the folder; return their names."""
        return sweep(self._job.folder)

    def close(self) -> None:
        """Restore the state of the model."""
        self._sharded.probe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def plan_shards(
    job: ShardJob, division: Division, note: Note, stage: Stage = silent_stage, starting: Starting = nothing_shown
) -> Manifest:
    """Open and plan a run, and write its manifest; where one is there, check that it is of this run, and return it."""
    with ShardWorker(job, note, stage, starting) as worker:
        return worker.plan(division)


class _Notes:
    """Tells every note once, to the user and to those who collect them."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._told: set[str] = set()
        self._collected: list[str] = []

    def tell(self, text: str) -> None:
        """Tell a note, unless it was told before."""
        if text not in self._told:
            self._told.add(text)
            self._collected.append(text)
            self._note(text)

    @contextmanager
    def collected(self, note: Note | None) -> Iterator[list[str]]:
        """Yield the list of the notes that are told while the body runs; they go to `note`, where that is one."""
        before, self._collected = self._note, []
        self._note = before if note is None else note
        try:
            yield self._collected
        finally:
            self._note = before
