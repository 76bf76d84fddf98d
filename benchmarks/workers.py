"""Shards by two workers of one thread each, against one process of two threads; and what a shard costs beside its work.

    python benchmarks/workers.py

Time and CPU seconds of whole commands, from which those of the same command over a few examples are taken away: that
is the start-up of the scheduler and the workers, and loading and tracing the model in each of them. The cost of a shard
is the time of many small ones on one worker beyond that of the same shards in one process of one thread.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from contestants import MAKERS
from measure import Row, compare, elapsed, run_script

TFDUMP = str(Path(sys.executable).with_name("tfdump"))
TWO_WORKERS = ("--workers", "2", "--threads", "1")
ONE_PROCESS = ("--threads", "2")
ROUNDS = 3

RUNS = {
    "CNN": ("CNN", 12_288, 64, 1024),
    "tabular model": ("tabular", 12_000_000, 16384, 524_288),
}
"""The model, the number of examples, the batch size and the examples of a shard, by the name of the race.

The work takes longer than the start-up, whose noise would be the result otherwise.
"""

SMALL_SHARDS = 200
A_SHARD = 0.02
"""The seconds that a shard may cost."""


def cpu_seconds() -> float:
    """Return the CPU seconds of all child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(folder: Path, batch: int, shard: int, examples: int, *options: str) -> tuple[float, float]:
    """Make the shards of a run; return its seconds and CPU seconds."""
    shards = folder / "shards"
    shutil.rmtree(shards, ignore_errors=True)
    command = [TFDUMP, "activations", folder / "model.keras", folder / "x.npy", "--shards", shards, "--quiet"]
    sizes = ["--batch-size", batch, "--shard-examples", shard, "--examples", f"0:{examples}"]
    before = cpu_seconds()
    seconds = elapsed(
        lambda: subprocess.run([*map(str, [*command, *sizes]), *options], stdout=subprocess.DEVNULL, check=True)
    )
    return seconds, cpu_seconds() - before


def beyond_start_up(whole: Callable[[], tuple[float, float]], part: Callable[[], tuple[float, float]]) -> list[float]:
    """Return the seconds and CPU seconds of a run beyond those of its start-up."""
    return [max(1e-3, all_of_it - start_up) for all_of_it, start_up in zip(whole(), part(), strict=True)]


def workers_against_threads(race: str, folder: Path, examples: int, batch: int, shard: int) -> list[Row]:
    """Race two workers against two threads; the start-up is a run of two shards of one batch."""
    MAKERS[RUNS[race][0]](folder, examples=examples)
    samples: dict[tuple[str, ...], list[list[float]]] = {TWO_WORKERS: [], ONE_PROCESS: []}
    for _ in range(ROUNDS):
        for options, rounds in samples.items():
            whole = partial(run, folder, batch, shard, examples, *options)
            rounds.append(beyond_start_up(whole, partial(run, folder, batch, batch, 2 * batch, *options)))
    (ours, our_cpu), (theirs, their_cpu) = (zip(*rounds, strict=True) for rounds in samples.values())
    return [
        compare(f"{race}, two workers of one thread", ours, "one process of two threads", theirs, goal=1.1),
        compare(f"{race}, two workers: CPU seconds", our_cpu, "one process of two threads", their_cpu, goal=1.25),
    ]


def cost_of_a_shard(folder: Path) -> Row:
    """Measure what a shard costs beside its work, against the goal."""
    batch = 64
    examples = SMALL_SHARDS * batch
    MAKERS["tabular"](folder, examples=examples)
    costs = []
    for _ in range(ROUNDS):
        worker, process = (
            beyond_start_up(
                partial(run, folder, batch, batch, examples, *options),
                partial(run, folder, batch, batch, batch, *options),
            )[0]
            for options in (("--workers", "1", "--threads", "1"), ("--threads", "1"))
        )
        costs.append(max(1e-6, (worker - process) / (SMALL_SHARDS - 1)))
    return compare("a shard on a worker, beside its work", costs, "what it may cost", [A_SHARD] * ROUNDS, goal=1.0)


def race() -> list[Row]:
    """Race."""
    rows = []
    for name, (_, examples, batch, shard) in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += workers_against_threads(name, Path(folder), examples, batch, shard)
    with tempfile.TemporaryDirectory() as folder:
        rows.append(cost_of_a_shard(Path(folder)))
    return rows


if __name__ == "__main__":
    run_script({}, race)
