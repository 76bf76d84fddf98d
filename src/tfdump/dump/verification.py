"""Checking the checksums of a file in a process of its own: HDF5's own library can crash on a damaged one."""

import signal
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from tfdump.dump.checksums import Verified
from tfdump.dump.reader import open_dump
from tfdump.errors import DumpError


def verify_file(path: Path) -> list[Verified]:
    """Read a whole dump and compare every checksum.

    Raises DumpError where it is no dump, has no checksums, or is so damaged that HDF5 cannot go through it.
    """
    processes = get_context("spawn")
    ours, theirs = processes.Pipe(duplex=False)
    child = processes.Process(target=_send, args=(theirs, path), daemon=True)
    child.start()
    theirs.close()
    try:
        outcome: Sequence[Verified] | DumpError = ours.recv()
    except EOFError:
        raise DumpError(f"{path} is damaged: HDF5 itself crashes on it") from None
    finally:
        child.kill()
        child.join()
        ours.close()
    if isinstance(outcome, DumpError):
        raise outcome
    return list(outcome)


def _send(to: Connection, path: Path) -> None:
    """Verify a file, and send what was found, or the error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends this process
    try:
        with open_dump(path) as dump:
            to.send(list(dump.verify()))
    except DumpError as error:
        to.send(error)
