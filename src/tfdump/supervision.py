"""A parent that outlives a crash: HDF5 and TensorFlow can end the process on a damaged file, whatever was checked.

The command runs in a child, which is forked before anything is imported; the parent only waits for it.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable

PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else ()
"""What the parent passes on to the child, which answers it as it would alone."""

_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux: which signal a process gets when its parent ends."""


def run_supervised(run: Callable[[], int], say: Callable[[str], None]) -> int:
    """Run in a child and return the exit status; of a child that died by a signal, say so in one line.

    `run` finds the signals of PASSED held back, so that none comes before it can answer them.
    """
    if not PASSED or not hasattr(os, "fork"):  # a system without them: the command runs alone
        return run()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _end_with(parent)
        return run()
    status = _wait(child)
    if status >= 0:
        return status
    name = signal.Signals(-status).name
    if name in _CRASHES:
        say(f"Error: HDF5 or TensorFlow crashed ({name}) on {_files()}: damaged, or more than the library can take\n")
        return 2
    ran_out = ", by the system if memory ran out (lower --batch-size or --memory)"
    say(f"Error: ended by {name}{ran_out if name == 'SIGKILL' else ''}\n")
    return 128 - status


def _wait(child: int) -> int:
    """Wait for the child, passing signals on, and return its status: minus the signal, if one ended it."""

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _end_with(parent: int) -> None:
    """See that this process is killed when its parent is, where the system can do that."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _files() -> str:
    """Return the files among the words of the command line."""
    words = (word.partition("::")[0].rpartition("=")[2] for word in sys.argv[2:])
    return ", ".join(dict.fromkeys(word for word in words if os.path.exists(word))) or "what it read"
