"""Writes the shards of a run in this process, one or all of them, or prints which there would be."""

from functools import partial

from tfdump.cli.dumping import dry_run_table
from tfdump.cli.progress import notes, progress_bar, stages, starting
from tfdump.cli.render import only_data_on_stdout, say, table, write
from tfdump.cli.sharding.in_words import summary_of_shards
from tfdump.cli.sharding.on_workers import write_on_workers
from tfdump.cli.sharding.options import ShardOptions
from tfdump.cli.verbosity import Verbosity
from tfdump.dump.shards.folder import check_folder, check_writable, shards_so_far, swept_in_words
from tfdump.dump.shards.manifest import Manifest, Range
from tfdump.dump.shards.shard_file import shard_name
from tfdump.files.paths import exists
from tfdump.process.signals import Terminated, held_back, ignore, raise_waiting
from tfdump.process.stages import Progress
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.worker import WRITTEN, ShardWorker


def write_shards(job: ShardJob, options: ShardOptions, verbosity: Verbosity) -> None:
    """Make the shards that are missing, and print the path of the folder, or of the one shard that was asked for.

    With `--dry-run`, print the tables of the tensors and of the shards instead.
    """
    if not options.dry_run:
        check_folder(options.folder)
        check_writable(options.folder)
    if options.on_workers and not options.dry_run:
        write_on_workers(job, options, verbosity)
        return
    note, shown = notes(verbosity), partial(starting, verbosity)
    with (
        only_data_on_stdout(),
        stages(verbosity) as stage,
        ShardWorker(job, note, stage, shown, verbosity.verbose) as worker,
    ):
        manifest = worker.plan(options.division, options.dry_run)
        if not options.dry_run:
            ranges = _asked_for(manifest, options)
            _write_all(worker, manifest, ranges, options, verbosity)
    if options.dry_run:
        write(dry_run_table(worker.run))
        write(_shard_table(manifest, options))
        if options.scheduler is not None and options.division.is_default:
            note("the number of shards depends on the workers that the scheduler has (set it with --shard-examples)")
        return
    write(f"{options.folder if options.part is None else options.folder / shard_name(*ranges[0])}\n")


def _asked_for(manifest: Manifest, options: ShardOptions) -> list[Range]:
    """Return the ranges of the shards that are to be made."""
    return list(manifest.ranges) if options.part is None else [manifest.ranges[options.part.number - 1]]


def _write_all(
    worker: ShardWorker, manifest: Manifest, ranges: list[Range], options: ShardOptions, verbosity: Verbosity
) -> None:
    """Write the shards in order; signals wait for moments at which a file can be thrown away."""
    swept = worker.sweep()
    if swept:
        notes(verbosity)(swept_in_words(options.folder, swept))
    written, done, total = 0, 0, sum(stop - start for start, stop in ranges)
    with held_back():
        try:
            with progress_bar(verbosity) as progress:
                for start, stop in ranges:
                    raise_waiting()
                    verdict = worker.write(start, stop, progress=_over_all(progress, done, total))
                    written += verdict.status == WRITTEN
                    done += stop - start
        except Terminated as ended:
            ended.remains = shards_so_far(manifest, options.folder)
            raise
        ignore()  # the shards are complete: from here on the command has succeeded
    if not verbosity.quiet:
        say(summary_of_shards(manifest, options.folder, written))


def _over_all(progress: Progress, before: int, total: int) -> Progress:
    """Return the progress of one shard as the progress over all of them."""
    return lambda done, _: progress(before + done, total)


def _shard_table(manifest: Manifest, options: ShardOptions) -> str:
    """Return the shards with their examples, and whether they are there, as a table."""
    rows: list[tuple[str | int, ...]] = [
        (shard_name(start, stop), start, stop, "there" if exists(options.folder / shard_name(start, stop)) else "")
        for start, stop in manifest.ranges
    ]
    return table(("shard", "first example", "behind the last", "state"), rows, all_in="a pipe")
