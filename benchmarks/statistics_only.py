"""`--stats-only` over many examples: beside the forward pass, 0.45 s for each GB of tensors and core.

    python benchmarks/statistics_only.py

A CNN and a tabular model. The limit is the bare forward pass that returns the same tensors, plus 0.45 s for each GB
divided by the number of cores. All in one process, start-up and loading apart.
"""

import math
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from contestants import MAKERS, forward_of_all, load, tfdump_activations, tops
from measure import Row, compare, contest_here, run_script

SECONDS_A_GB = 0.45

RACES = (("CNN", 4000, 32), ("tabular", 1_000_000, 4096))


def bytes_of_all(model: Any) -> int:
    """Return the bytes of the outputs of all layers for one example."""
    return sum(4 * math.prod(layer.output.shape[1:]) for layer in tops(model))


def race_of(model: str, folder: Path, examples: int, batch: int) -> Row:
    """Race with one model."""
    MAKERS[model](folder, examples)
    gigabytes = bytes_of_all(load(folder)) * examples / 1e9
    samples = contest_here(
        {
            "tfdump": partial(tfdump_activations, folder, folder / "o.h5", statistics=True, values=False),
            "forward": partial(forward_of_all, folder, batch),
        }
    )
    limit = [seconds + SECONDS_A_GB * gigabytes / len(os.sched_getaffinity(0)) for seconds in samples["forward"]]
    against = f"forward pass + {SECONDS_A_GB} s/GB/core"
    return compare(f"--stats-only, {model}, {gigabytes:.1f} GB", samples["tfdump"], against, limit, goal=1.0)


def race() -> list[Row]:
    """Race."""
    rows = []
    for model, examples, batch in RACES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(race_of(model, Path(folder), examples, batch))
    return rows


if __name__ == "__main__":
    run_script({}, race)
