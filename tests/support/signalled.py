"""Processes that signals are sent to, started so that they answer, whatever the suite itself was started with.

`nohup` and a shell that starts `make test &` let signals be ignored, which children inherit; and until Python has read
the first lines of a program, a signal meets Python's own handlers, or none.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tfdump.process.supervisor import PASSED

BEGIN = """
import os, signal, sys
from tfdump.process.supervisor import PASSED
signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)  # what comes now waits until the command can answer
from tfdump.cli.entry import main
ready = int(sys.argv.pop(1))
os.write(ready, b"x")
os.close(ready)
main()
"""


@contextmanager
def default_signals() -> Iterator[None]:
    """Let processes that the body starts have the system's own dispositions; this one goes on ignoring what it did.

    A signal that is caught here is at its default there.
    """
    ignored = [number for number in PASSED if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def take_default_signals() -> None:
    """Give this process the dispositions that a shell in the foreground starts Python with."""
    for number in PASSED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def start_command(*words: object, python: Sequence[str] = (sys.executable,), **options: Any) -> subprocess.Popen[bytes]:
    """Start `tfdump WORDS...`, and return when no signal can come too early for it."""
    ready, sign = os.pipe()
    command = [*python, "-c", BEGIN, str(sign), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with default_signals():
        process = subprocess.Popen(command, pass_fds=[sign], **pipes, **options)
    os.close(sign)
    try:
        assert os.read(ready, 1) == b"x", "the command never began"
    finally:
        os.close(ready)
    return process
