"""Workers on this machine: a scheduler in this process, and processes of their own that only it can reach.

Everyone who reaches a port of dask.distributed can run code as its user. So all connections are on the loopback
interface, and are encrypted with a certificate that is made for this run. It is on a disk only while the library of
TLS reads it, where other users cannot: so they cannot connect.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import dask
from distributed import Client, LocalCluster, Security

from tfdump.errors import TfdumpError
from tfdump.tensors import Note

LOOPBACK = "127.0.0.1"
"""The interface of the machine itself."""

LOST_AFTER = 30.0
"""Seconds after which a worker ends that cannot reach its scheduler."""

DEATHS = 3
"""How many workers a shard may end before it is given up."""

_LOOK_EVERY = 0.1
_AT_ONCE = 1.0
_DEATHS_AT_ONCE = 5
"""So many workers in a row that end within a second from their start are not replaced any more."""

_SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # a worker has one shard, so only that one is blamed for its death
    "distributed.comm.timeouts.connect": LOST_AFTER,
    "distributed.scheduler.http.routes": [],  # no pages that tell others what is computed
}
_TLS = ("tls_ca_file", "tls_worker_cert", "tls_worker_key")


@contextmanager
def local_cluster(
    count: int, threads: int, note: Note, check: Callable[[], None]
) -> Iterator[tuple[Client, Callable[[], None]]]:
    """Yield the client of `count` workers on this machine, each of which computes with this number of threads.

    A worker that dies is replaced, and `note` says so. `check` is called while the workers start; with the client
    comes a function that calls it too, and raises where workers cannot be replaced. In the end all processes have
    ended, and their folders are gone. Raises TfdumpError where the workers cannot be started.
    """
    security = Security.temporary()
    with (
        tempfile.TemporaryDirectory(prefix="tfdump-workers-") as folder,
        dask.config.set({**_SETTINGS, "temporary-directory": folder}),
        _scheduler(security) as scheduler,
        Client(scheduler, set_as_default=False) as client,
    ):
        tls = {name: getattr(security, name) for name in _TLS} | {"require_encryption": True}
        setup = {"scheduler": scheduler.scheduler_address, "host": LOOPBACK, "folder": folder, "tls": tls}
        workers = _Workers({**setup, "lost_after": LOST_AFTER}, threads, note)

        def check_all() -> None:
            check()
            if workers.broken is not None:
                raise TfdumpError(workers.broken)

        try:
            workers.start(count)
            while not client.nthreads():
                check_all()
                time.sleep(_LOOK_EVERY / 2)
            yield client, check_all
        finally:
            workers.end()


def _scheduler(security: Security) -> LocalCluster:
    """Return a cluster of a scheduler alone, in this process."""
    return LocalCluster(
        n_workers=0,
        processes=True,
        host=LOOPBACK,
        dashboard_address=None,
        security=security,
        scheduler_kwargs={"allowed_failures": DEATHS - 1, "dashboard_address": f"{LOOPBACK}:0"},
    )


@dataclass
class _Workers:
    """The processes of the workers. A thread replaces those that die."""

    setup: dict[str, Any]
    threads: int
    note: Note
    broken: str | None = None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._started: dict[str, float] = {}
        self._watch = threading.Thread(target=self._replace_dead, daemon=True)

    def start(self, count: int) -> None:
        """Start the workers, and the thread that replaces those that die."""
        for number in range(1, count + 1):
            self._start(f"worker {number}")
        self._watch.start()

    def _start(self, name: str) -> None:
        environment = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self.threads)),
        }
        with _interrupts_blocked():
            process = subprocess.Popen(
                [sys.executable, "-m", "tfdump.workers.local_worker", self.setup["folder"]],
                stdin=subprocess.PIPE,
                stdout=2,  # the standard output of the command has data only
                env=environment,
            )
        self.processes[name], self._started[name] = process, time.monotonic()
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it ended already, which the thread will see
            process.stdin.write(json.dumps({**self.setup, "name": name}).encode() + b"\n")
            process.stdin.flush()

    def _replace_dead(self) -> None:
        at_once = 0
        while not self._ending.wait(_LOOK_EVERY):
            for name, process in list(self.processes.items()):
                status = process.poll()
                if status is None or self._ending.is_set():
                    continue
                at_once = at_once + 1 if time.monotonic() - self._started[name] < _AT_ONCE else 0
                if at_once == _DEATHS_AT_ONCE:
                    self.broken = f"{name} ends as soon as it starts ({_how(status)})"
                    return
                self.note(f"{name} ended ({_how(status)}) and is started again")
                self._close(process)
                self._start(name)

    def end(self) -> None:
        """Kill all workers and wait until they have ended. Files that they were writing are swept by others."""
        self._ending.set()
        if self._watch.is_alive():
            self._watch.join()
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
            self._close(process)

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in this thread, and for good in the processes that it starts, which would not be ready for it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(status: int) -> str:
    """Return in words how a process ended."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"{name}, perhaps because memory ran out" if name == "SIGKILL" else name
