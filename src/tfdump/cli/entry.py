"""The start of the process: it opens closed streams, and a parent process survives crashes of the libraries."""

import contextlib
import os
import sys
from typing import Any

from tfdump.errors import INTERRUPTION
from tfdump.process.garbage import hold_collection
from tfdump.process.supervisor import run_supervised

_BEGIN_ANEW = "\r\x1b[2K\x1b[?25h"
"""Clears the line and shows the cursor, because a killed child may leave half a bar and no cursor."""


def main() -> None:
    """Run the command line and end the process with its status."""
    _open_closed_streams()
    try:
        status = run_supervised(_run, _say)
    except KeyboardInterrupt:
        _say(f"{INTERRUPTION}\n")
        status = 130
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)  # nothing remains to be done, and a signal while Python ends would change the status


def _run() -> int:
    hold_collection()
    try:
        from tfdump.cli.main import run_process
    except Exception as error:  # Click is missing, or too old for the classes derived from it
        from tfdump.process.requirements import complaint_behind

        unmet = complaint_behind(error)
        if unmet is None:
            raise
        _say(f"Error: {unmet}\n")
        return 2
    return run_process()


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        if os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb":
            text = _BEGIN_ANEW + text
        os.write(2, text.encode())


def _open_closed_streams() -> None:
    """Open /dev/null for standard streams that the shell closed (`>&-`)."""
    streams: list[tuple[str, Any]] = [("stdin", "r"), ("stdout", "w"), ("stderr", "w")]
    for number, (name, mode) in enumerate(streams):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - lives as long as the process
