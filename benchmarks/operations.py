"""`--ops`: the time of a byte, against a plain dump of the same model.

    python benchmarks/operations.py

ResNet50 at 224x224 and a small BERT. Both dumps trace the model and write a file; start-up and loading do not count.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from contestants import MAKERS, tfdump_activations
from measure import Row, compare, contest_here, run_script

RACES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("ResNet50, 16 examples", "ResNet50", {"examples": 16}),
    ("BERT small, 128 examples", "BERT", {"examples": 128, "layers": 4, "width": 512}),
)
ROOM = 4 << 30
"""Bytes of memory that are at hand when a dump begins."""


def microseconds_a_megabyte(folder: Path, ops: bool) -> float:
    """Dump once; return the time of a megabyte of the file."""
    target = folder / "dump.h5"
    seconds = tfdump_activations(folder, target, ROOM, ops=ops)
    size = target.stat().st_size
    target.unlink()
    return seconds / size * 1e12


def race() -> list[Row]:
    """Race on both models."""
    rows = []
    for name, model, arguments in RACES:
        with tempfile.TemporaryDirectory() as folder:
            MAKERS[model](Path(folder), **arguments)
            routes = {ops: partial(microseconds_a_megabyte, Path(folder), ops == "ops") for ops in ("ops", "plain")}
            samples = contest_here(routes, rounds=3, warm_up=1)
        title = f"--ops, time of a MB: {name}"
        rows.append(compare(title, samples["ops"], "a plain dump", samples["plain"], "us", goal=1.3))
    return rows


if __name__ == "__main__":
    run_script({}, race)
