"""`--until-nan` over clean examples: at most 1.1 times as long as `--stats-only`, in flat memory.

    python benchmarks/until_nan.py

Both compute the same tensors, and read every value of them. A CNN, ResNet50 and a tabular model, all in one process,
start-up and loading apart; then the peaks of whole processes that run the command line.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from contestants import MAKERS, tfdump_activations
from measure import Row, compare, contest, contest_here, run_script

RACES = (("CNN", 4000), ("ResNet50", 32), ("tabular", 1_000_000))

EXAMPLES = (512, 4096)


def command_route(folder: Path, *arguments: str) -> float:
    """Run `tfdump activations --until-nan` on the model of the folder, whose examples are clean."""
    from tfdump.cli.main import run

    status = run(["activations", str(folder / "model.keras"), *arguments, "--until-nan", "-q"])
    if status:
        sys.exit(status)
    return 0.0


ROUTES = {"command": command_route}


def speed_of(model: str, folder: Path, examples: int) -> Row:
    """Race with one model."""
    MAKERS[model](folder, examples)
    samples = contest_here(
        {
            "until-nan": partial(tfdump_activations, folder, folder / "o.h5", until_nan=True),
            "stats-only": partial(tfdump_activations, folder, folder / "o.h5", statistics=True, values=False),
        },
        rounds=5,
        warm_up=1,
    )
    race = f"--until-nan, {model}, {examples:,} examples"
    return compare(race, samples["until-nan"], "--stats-only", samples["stats-only"], goal=1.1)


def memory_of(folder: Path) -> Row:
    """Compare the memory for many examples with that for few."""
    MAKERS["CNN"](folder, EXAMPLES[-1])
    everything = np.load(folder / "x.npy", mmap_mode="r")
    peaks = []
    for count in EXAMPLES:
        np.save(folder / f"{count}.npy", everything[:count])
        samples = contest(__file__, ["command"], folder, folder / f"{count}.npy", "--memory", "16MiB", rounds=2)
        peaks.append(samples["command"].megabytes)
    race = f"--until-nan, CNN, {EXAMPLES[-1]:,} examples: memory"
    return compare(race, peaks[-1], f"{EXAMPLES[0]} examples", peaks[0], "MB", 1.05)


def race() -> list[Row]:
    """Race."""
    rows = []
    for model, examples in RACES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(speed_of(model, Path(folder), examples))
    with tempfile.TemporaryDirectory() as folder:
        rows.append(memory_of(Path(folder)))
    return rows


if __name__ == "__main__":
    run_script(ROUTES, race)
