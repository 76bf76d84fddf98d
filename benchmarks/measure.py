"""Races: contestants run in turn, in processes of their own or in this one; ratios are taken round by round.

The machines are noisy and their speed drifts, so that only numbers of one round are compared with each other: a ratio
is the median of the ratios of all rounds.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Samples:
    """What every round of one contestant took: seconds, and the peak memory of its process in MB."""

    seconds: list[float]
    megabytes: list[float]


@dataclass(frozen=True)
class Row:
    """One comparison: ours against theirs; `ratio` is ours to theirs, `goal` the largest acceptable ratio."""

    race: str
    ours: float
    against: str
    theirs: float
    ratio: float
    unit: str = "s"
    goal: float | None = None


Route = Callable[..., float]
"""A contestant: takes the folder of the files and what else the race passes, and returns its seconds."""


def compare(
    race: str, ours: Sequence[float], against: str, theirs: Sequence[float], unit: str = "s", goal: float | None = None
) -> Row:
    """Return a row of medians, with the median of the ratios of the rounds."""
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(race, median(ours), against, median(theirs), ratio, unit, goal)


def contest(script: str, routes: Sequence[str], *arguments: object, rounds: int = 3) -> dict[str, Samples]:
    """Run `python SCRIPT ROUTE ARGUMENTS...` for every route, in turn, several times.

    Raises CalledProcessError when one fails.
    """
    samples = {route: Samples([], []) for route in routes}
    for _ in range(rounds):
        for route in routes:
            command = [sys.executable, script, route, *map(str, arguments)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            samples[route].seconds.append(result["seconds"])
            samples[route].megabytes.append(result["megabytes"])
            print(f"  {route}: {_number(result['seconds'])} s, {_number(result['megabytes'])} MB", file=sys.stderr)
    return samples


def contest_here(
    routes: Mapping[str, Callable[[], float]], rounds: int = 3, warm_up: int = 0
) -> dict[str, list[float]]:
    """Run every route in this process, in turn; return the seconds that each round took, those to warm up apart."""
    samples: dict[str, list[float]] = {route: [] for route in routes}
    for number in range(warm_up + rounds):
        for name, route in routes.items():
            seconds = route()
            if number >= warm_up:
                samples[name].append(seconds)
    return samples


def elapsed(function: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_megabytes() -> float:
    """Return the peak memory of this process so far, in MB; `ru_maxrss` would begin with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1.024 / 1000


def settle(size: int) -> None:
    """Let what others wrote reach the disk, and have `size` bytes of memory at hand, so that all writers begin alike.

    A virtual machine hands free memory back to its host after seconds; to get it again takes longer than to fill it.
    """
    os.sync()
    np.empty(size, np.uint8)[::4096] = 1
    Path("/proc/self/clear_refs").write_text("5")  # the peak memory so far does not count


def write_raw(path: Path, size: int, room: int) -> float:
    """Write `size` bytes to a new file, in sequence, with `room` bytes of memory at hand; return the seconds."""
    block = np.random.default_rng(0).bytes(16 << 20)
    path.unlink(missing_ok=True)
    settle(room)
    start = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for first in range(0, size, len(block)):
            file.write(block[: size - first])
    seconds = time.perf_counter() - start
    path.unlink()
    return seconds


def run_script(routes: Mapping[str, Route], race: Callable[[], list[Row]]) -> None:
    """Be a contestant (`ROUTE FOLDER ...`), or hold the race, print it, and add it to `--json FILE`."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in routes:
        seconds = routes[arguments[0]](Path(arguments[1]), *arguments[2:])
        print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))
        return
    rows = race()
    print(table(rows))
    if arguments[:1] == ["--json"]:
        with Path(arguments[1]).open("a") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| race | tfdump | against | theirs | ratio | goal |", "|---|---:|---|---:|---:|---:|"]
    for row in rows:
        goal = "" if row.goal is None else f"{row.goal:.3g}" + (" (missed)" if row.ratio > row.goal else "")
        lines.append(
            f"| {row.race} | {_number(row.ours)} {row.unit} | {row.against} | {_number(row.theirs)} {row.unit} "
            f"| {row.ratio:.2f} | {goal} |"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
