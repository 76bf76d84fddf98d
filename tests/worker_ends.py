"""Sudden ends of workers at random moments, dozens of times: a part of `make ends`.

A run in shards on two workers of this machine loses one of them by SIGKILL, or the command itself gets a signal. After
that, the folder holds the very bytes that one process writes, or the command says how many shards there are and the
same command makes the others. No process is left in the end.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from support.clusters import RUN, children_of, contents, is_alive, light_run, shards_in, wait_until
from support.signalled import start_command

WORKER = "tfdump.workers.local_worker"
COMMAND = (*RUN, "--preprocess", "code.py:slow", "--shards", "d")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def whole_run(folder: Path, *options: str) -> tuple[dict[str, bytes], float]:
    """The files of a run that nothing happens to, and the seconds that it takes."""
    begun = time.perf_counter()
    process = start_command(*COMMAND, *options, cwd=folder)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return contents(folder / "d"), time.perf_counter() - begun


def struck_run(folder: Path, dice: random.Random, strike: signal.Signals | None, seconds: float) -> str:
    """Start a run, kill one of its workers after some seconds, or signal the command; return what became of it."""
    process = start_command(*COMMAND, "--workers", "2", cwd=folder)
    time.sleep(seconds)
    workers = children_of(process.pid, WORKER)
    if strike is None and workers:
        os.kill(dice.choice(workers), signal.SIGKILL)
    elif strike is not None:
        process.send_signal(strike)
        workers += children_of(process.pid, WORKER)
    out, err = process.communicate(timeout=300)
    wait_until(lambda: not any(map(is_alive, workers)), seconds=30)
    assert b"Traceback" not in err, err
    if process.returncode == 0:
        assert out == b"d\n", out
        return "finished"
    assert out == b"", out
    if process.returncode < 0:
        return "killed"
    said = err.decode().splitlines()[-1]
    count = len(shards_in(folder / "d"))
    assert said.startswith("Error: "), said
    assert f"; {count} of 12 shards are in d" in said or count == 0, said
    return f"exit status {process.returncode}"


def main() -> None:
    """Strike many runs, and say what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="how many workers are killed; half as many commands are")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dice, ends = random.Random(arguments.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as above:
        one, _ = whole_run(light_run(new_folder(above, "one")))
        two, seconds = whole_run(light_run(new_folder(above, "two")), "--workers", "2")
        assert one == two
        print(f"a run takes {seconds:.1f} s", flush=True)
        for number in range(arguments.kills + arguments.kills // 2):
            folder = light_run(new_folder(above, str(number)))
            strike = None if number < arguments.kills else dice.choice(SIGNALS)
            end = struck_run(folder, dice, strike, dice.uniform(0, seconds))
            ends[f"{'a worker' if strike is None else strike.name}: {end}"] += 1
            print(f"\r{number + 1} of {arguments.kills + arguments.kills // 2}", end="", file=sys.stderr, flush=True)
            if end != "finished":
                whole_run(folder, "--workers", "2")
            assert contents(folder / "d") == one, folder
    for end, count in sorted(ends.items()):
        print(f"{count:4} {end}")


def new_folder(above: str, name: str) -> Path:
    folder = Path(above) / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
