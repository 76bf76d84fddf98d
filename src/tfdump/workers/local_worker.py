"""The process of a worker on this machine: `python -m tfdump.workers.local_worker`, started by `local_cluster`.

What it needs comes as one line of JSON on standard input, which stays open: where it closes, the process that started
this one has ended, and so does this one, in the middle of whatever it does.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from typing import Any

import dask
from distributed import Security, Worker

from tfdump.workers.library import keep_quiet

_SOON = 5.0
"""Seconds within which the end of a process is noticed."""


def run_worker() -> None:
    """Work until the scheduler or the process that started this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one ends these
    keep_quiet()
    tempfile.tempdir = sys.argv[1]  # removed with all that a worker leaves that is killed, such as its certificate
    line = sys.stdin.readline()
    if not line.endswith("\n"):  # the process that started this one was killed before it wrote the line
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        os._exit(1)
    item = json.loads(line)
    end = threading.Thread(target=_end_with_starter, args=[item["folder"]], daemon=True)
    end.start()
    dask.config.set({"distributed.worker.profile.enabled": False, "distributed.worker.http.routes": []})
    try:
        asyncio.run(_work(**item))
    except Exception:
        end.join(_SOON)  # it ends this process, if the scheduler is gone because its process has ended
        raise
    os._exit(0)  # a thread may be in the middle of a shard that nobody waits for


def _end_with_starter(folder: str) -> None:
    """End when the process that started this one has ended; it may not have removed the folder of its workers."""
    while os.read(0, 1 << 10):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


async def _work(scheduler: str, name: str, host: str, folder: str, tls: dict[str, Any], lost_after: float) -> None:
    worker = await Worker(
        scheduler,
        name=name,
        nthreads=1,
        host=host,
        local_directory=folder,
        memory_limit=0,
        security=Security(**tls),
        death_timeout=lost_after,
    )
    await worker.finished()


if __name__ == "__main__":
    run_worker()
