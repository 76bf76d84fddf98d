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
from typing import Any

from contestants import MAKERS, tfdump_activations
from measure import Row, run_script

CASES: dict[str, Callable[[int], dict[str, Any]]] = {
    "examples": lambda step: {"examples": 40 * step, "width": WIDTH},
    "layers": lambda step: {"examples": 16, "depth": 12 * step, "width": WIDTH},
    "bytes": lambda step: {
        "examples": 50,
        "depth": 3,
        "width": WIDTH,
        "size": [32, 45, 64][step.bit_length() - 1],
    },
}

WIDTH = 192
"""Channels: so many that computing takes longer than memory for the files of a virtual machine."""

STEPS = (1, 2, 4)
ROUNDS = 3
ROOM = 2 << 30
"""Bytes of memory at hand, more than the largest dump takes."""


def race() -> list[Row]:
    """Measure; the ratio of a row is its exponent, of the fastest rounds."""
    rows = []
    for what, arguments_of in CASES.items():
        times: dict[int, list[float]] = {step: [] for step in STEPS}
        with tempfile.TemporaryDirectory() as name:
            for step in STEPS:
                (Path(name) / str(step)).mkdir()
                MAKERS["CNN"](Path(name) / str(step), **arguments_of(step))
            for _ in range(ROUNDS):
                for step in reversed(STEPS):  # the others write onto the memory of the largest
                    room = ROOM if step == STEPS[-1] else 0
                    target = Path(name) / "o.h5"
                    times[step].append(tfdump_activations(Path(name) / str(step), target, room, batch_size=16))
        once, twice, four = (min(times[step]) for step in STEPS)
        exponent = math.log2((four - twice) / (twice - once))
        name = f"time by {what}: exponent of the fastest rounds"
        rows.append(Row(name, four - twice, "the doubling before", twice - once, exponent, "s", 1.15))
    return rows


if __name__ == "__main__":
    run_script({}, race)
