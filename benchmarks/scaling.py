"""Scaling: time against the number of examples, of layers, and of bytes a tensor.

    python benchmarks/scaling.py

Each is doubled twice. What the second doubling adds, to what the first one adds, tells the exponent of the growth: 2
to the power of 1 is a straight line. Whatever is the same every time (tracing, the first look) drops out. No dump is
larger than 1 GB: beyond what the system takes into memory at once, the disk sets the time.
"""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from contestants import MAKERS, tfdump_activations
from measure import Row, run_script

CASES: dict[str, Callable[[int], dict[str, Any]]] = {
    "examples": lambda step: {"examples": 400 * step},
    "layers": lambda step: {"examples": 64, "depth": 12 * step},
    "bytes": lambda step: {"examples": 400, "depth": 3, "size": [32, 45, 64][step.bit_length() - 1]},
}

STEPS = (1, 2, 4)
ROUNDS = 5


def race() -> list[Row]:
    """Measure; the ratio of a row is its exponent."""
    rows = []
    for what, made in CASES.items():
        times: dict[int, list[float]] = {step: [] for step in STEPS}
        with tempfile.TemporaryDirectory() as name:
            for step in STEPS:
                (Path(name) / str(step)).mkdir()
                MAKERS["CNN"](Path(name) / str(step), **made(step))
            for _ in range(ROUNDS):
                for step in STEPS:
                    folder = Path(name) / str(step)
                    times[step].append(tfdump_activations(folder, folder / "o.h5", batch_size=16))
        once, twice, four = (median(times[step]) for step in STEPS)
        exponent = math.log2((four - twice) / (twice - once))
        name = f"time by {what}: exponent"
        rows.append(Row(name, four - twice, "the doubling before", twice - once, exponent, "s", 1.15))
    return rows


if __name__ == "__main__":
    run_script({}, race)
