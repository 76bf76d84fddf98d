"""Run a function of a benchmark in a process of its own; get its seconds and its peak memory."""

import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from statistics import median


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
