"""Run a function of a benchmark in a process of its own; get its seconds and its peak memory."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np


@dataclass(frozen=True)
class Measured:
    """Median seconds that the function itself reports, and the median peak of its process's memory in MB."""

    seconds: float
    megabytes: float


def report(seconds: float) -> None:
    """Print, as the last line of a contestant's process, what `measure` reads."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"seconds": seconds, "megabytes": peak}))


def measure(script: str, *arguments: object, rounds: int = 3) -> Measured:
    """Run `python SCRIPT ARGUMENTS...` several times; raises CalledProcessError when it fails."""
    command = [sys.executable, script, *map(str, arguments)]
    results = []
    for _ in range(rounds):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    return Measured(median(r["seconds"] for r in results), median(r["megabytes"] for r in results))


def write_raw(path: Path, size: int) -> float:
    """Write `size` bytes to a file; return the seconds that it took."""
    block = np.random.default_rng(0).bytes(16 << 20)
    start = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for first in range(0, size, len(block)):
            file.write(block[: size - first])
    return time.perf_counter() - start


def print_race(results: Mapping[str, Measured], ours: str) -> None:
    """Print the contestants with their ratios to ours."""
    reference = results[ours]
    print(f"{'route':34}{'seconds':>9}{'to tfdump':>11}{'peak MB':>9}{'to tfdump':>11}")
    for route, result in results.items():
        print(
            f"{route:34}{result.seconds:9.3f}{result.seconds / reference.seconds:11.2f}"
            f"{result.megabytes:9.0f}{result.megabytes / reference.megabytes:11.2f}"
        )
