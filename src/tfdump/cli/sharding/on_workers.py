"""Writes the shards of a run on workers: processes of this machine, or those of a running cluster."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tfdump.cli.progress import notes, progress_bar, stages
from tfdump.cli.render import only_data_on_stdout, say, write
from tfdump.cli.sharding.in_words import summary_of_shards
from tfdump.cli.sharding.options import ShardOptions
from tfdump.cli.verbosity import Verbosity
from tfdump.dump.shards.folder import shards_so_far, sweep
from tfdump.dump.shards.manifest import Manifest
from tfdump.process.machine import cores
from tfdump.process.signals import Terminated, held_back, ignore, raise_waiting
from tfdump.process.stages import Stage
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.worker import read_job
from tfdump.workers.division import SHARDS_A_WORKER, told_once, with_threads
from tfdump.workers.library import check_library, keep_quiet

if TYPE_CHECKING:
    from distributed import Client


def write_on_workers(job: ShardJob, options: ShardOptions, verbosity: Verbosity) -> None:
    """Make the shards that are missing on the workers, and print the path of the folder.

    Signals wait until they are looked for, so that the workers of this machine end before this process does.
    """
    check_library()
    with only_data_on_stdout(), stages(verbosity) as stage, held_back():
        read_job(job)  # what is wrong with the data is said before workers start
        run = _Run(job, options, verbosity, stage)
        try:
            written = run.locally(options.workers) if options.workers else run.on_cluster(options.scheduler or "")
        except Terminated as ended:
            ended.remains = None if run.manifest is None else shards_so_far(run.manifest, options.folder)
            raise
        finally:
            if run.manifest is not None:
                sweep(options.folder)  # by now the workers of this machine have ended, in the middle of a shard or not
        ignore()  # the shards are complete: from here on the command has succeeded
    assert run.manifest is not None
    if not verbosity.quiet:
        say(summary_of_shards(run.manifest, options.folder, written))
    write(f"{options.folder}\n")


class _Run:
    """A run of the command line on workers. `manifest` is None until there is one."""

    def __init__(self, job: ShardJob, options: ShardOptions, verbosity: Verbosity, stage: Stage) -> None:
        self.manifest: Manifest | None = None
        self._job = job
        self._options = options
        self._verbosity = verbosity
        self._stage = stage
        self._note = notes(verbosity)

    def locally(self, count: int) -> int:
        """Make the shards in processes of this machine; return how many were made."""
        self._stage(f"Starting {count} {'worker' if count == 1 else 'workers'}")
        keep_quiet()
        from tfdump.workers.local_cluster import local_cluster

        threads = self._job.model.threads or max(1, cores() // count)
        with local_cluster(count, threads, self._note, raise_waiting) as (client, check):
            return self._make(client, [threads] * count, check, same_machine=True)

    def on_cluster(self, scheduler: str) -> int:
        """Make the shards on the workers of a scheduler; return how many were made."""
        self._stage("Connecting to the scheduler")
        keep_quiet()
        from tfdump.workers.running_scheduler import running_scheduler, threads_of_workers

        with running_scheduler(scheduler, self._note, raise_waiting) as client:
            return self._make(client, threads_of_workers(client), raise_waiting, same_machine=False)

    def _make(self, client: "Client", threads: list[int], check: Callable[[], None], same_machine: bool) -> int:
        from tfdump.workers.shards_on_workers import ShardsOnWorkers

        job = with_threads(self._job, min(threads))
        shards = ShardsOnWorkers(client, job, told_once(self._note), check, same_machine)
        self._stage(f"Planning the run of {job.model.path.name}")
        self.manifest = shards.plan(replace(self._options.division, usual=SHARDS_A_WORKER * len(threads)))
        with progress_bar(self._verbosity) as progress:
            return shards.make(self.manifest, progress)
