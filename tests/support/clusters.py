"""Dask clusters of processes of their own on the loopback interface, and a run that is light enough to start often."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from support.onnx_files import dense

USER_CODE = """
import os, signal, time
import numpy as np

def slow(x):
    time.sleep(float(os.environ.get("TFDUMP_TEST_NAP", 0.06)))
    return x

def deadly(x):
    if np.any(x > 1000):
        os.kill(os.getpid(), signal.SIGKILL)
    return x

def failing(x):
    if np.any(x > 1000):
        raise ValueError("above 1000")
    return x
"""
"""Functions for --preprocess that meet trouble in the middle of a shard."""

EXAMPLES = 60
SHARDS = 12

RUN = ("activations", "dense.onnx", "x.npy", "--batch-size", "5", "--shard-examples", "5", "--threads", "1")
"""A run of 12 shards that needs no TensorFlow."""

BAD_EXAMPLE = 28
"""An example of `bad.npy` that some functions stumble over; it is in the sixth shard."""


def light_run(folder: Path) -> Path:
    """Make the files of the run in a folder."""
    dense(folder / "dense.onnx")
    x = np.random.default_rng(1).normal(size=(EXAMPLES, 6)).astype("float32")
    np.save(folder / "x.npy", x)
    x[BAD_EXAMPLE] = 5000
    np.save(folder / "bad.npy", x)
    (folder / "code.py").write_text(USER_CODE)
    return folder


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def shards_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("shard-*.h5"))


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder of shards."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def children_of(pid: int, word: str) -> list[int]:
    """The processes below a process whose command line has a word."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        return [
            child.pid for child in psutil.Process(pid).children(recursive=True) if word in " ".join(child.cmdline())
        ]
    return []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@dataclass
class Cluster:
    """A scheduler and its workers, in a folder of theirs."""

    folder: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def scheduler(self) -> subprocess.Popen[bytes]:
        return self.processes[0]

    @property
    def workers(self) -> list[subprocess.Popen[bytes]]:
        return self.processes[1:]

    def _start(self, module: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--scheduler-file", "scheduler.json"]
        with (self.folder / "cluster.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--no-dashboard", *words],
                cwd=self.folder, env={**os.environ, **self.environment}, stdout=log, stderr=log,
            )  # fmt: skip
        self.processes.append(process)

    def start_scheduler(self) -> None:
        self._start("dask_scheduler", "--port", "0")
        wait_until(self.file.exists)

    def start_worker(self) -> None:
        settings = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--death-timeout", "5")
        self._start("dask_worker", *settings, "--local-directory", "scratch")

    def kill(self) -> None:
        """Kill all that is left of it."""
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def running_cluster(folder: Path, workers: int = 2, **environment: str) -> Iterator[Cluster]:
    """Start a scheduler and workers as `dask scheduler` and `dask worker` do, and end them after the body."""
    cluster = Cluster(folder, environment)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.kill()
