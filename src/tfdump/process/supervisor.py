"""A parent process that outlives a crash: HDF5 and TensorFlow can end the process on a damaged file despite all checks.

The command runs in a child, forked before anything is imported. A thread of the child sends a sign of life every
second, which needs Python's lock: a library that computes without ever releasing the lock counts as hanging.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

PASSED = (
    (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU) if hasattr(signal, "SIGHUP") else ()
)
"""Signals that ask a process to end. The parent passes them to the child, which reacts as it would without a parent."""

HANGS_AFTER = 120.0
"""Seconds that one thread of the child may compute without a sign of life; a normal call into a library takes a few."""

_NO_ANSWER_AFTER = 5.0
"""The same after the child was told to end."""

_LOOK_EVERY = 2.0
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux: the signal that a process gets when its parent ends."""


def run_supervised(run: Callable[[], int], say: Callable[[str], None]) -> int:
    """Run in a child process and return the exit status; if the child died or hung, say so in one line.

    While `run` starts, the signals of PASSED are blocked, so that none arrives before it can handle them.
    """
    if not PASSED or not hasattr(os, "fork"):  # a system without these: the command runs without a parent
        return run()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)
    parent = os.getpid()
    signs, sign = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(signs)
        end_with(parent)
        _show_life(sign)
        return run()
    os.close(sign)
    passed_on, hung = _watch(child, signs)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status >= 0:
        return status
    name = signal.Signals(-status).name
    if name in _CRASHES or (hung and not passed_on):
        what = "hangs" if hung else f"crashed ({name})"
        say(f"Error: HDF5 or TensorFlow {what} on {_files()}: the file is damaged, or too large for the library\n")
        return 2
    if hung:
        name, status = signal.Signals(passed_on[0]).name, -passed_on[0]
    ran_out = ", perhaps because memory ran out (lower --batch-size or --memory)"
    say(f"Error: ended by {name}{ran_out if name == 'SIGKILL' else ''}\n")
    return 128 - status


def _watch(child: int, signs: int) -> tuple[list[int], bool]:
    """Wait until the child ends, pass signals on to it, and kill it if it hangs.

    Returns the signals that were passed on, and whether the child hung.
    """
    passed_on: list[int] = []

    def pass_on(number: int, _: object) -> None:
        passed_on.append(number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)
    before: dict[str, float] = {}
    while True:
        if select.select([signs], [], [], _LOOK_EVERY)[0]:
            before = {}
            if not os.read(signs, 1 << 10):
                return passed_on, False
            continue
        now = _computed(child)
        before = before or now
        longest = max((seconds - before.get(thread, 0.0) for thread, seconds in now.items()), default=0.0)
        if longest > (_NO_ANSWER_AFTER if passed_on else HANGS_AFTER):
            os.kill(child, signal.SIGKILL)
            return passed_on, True


def _computed(child: int) -> dict[str, float]:
    """Return the seconds that each thread of a process has computed; empty if the system does not tell."""
    ticks, seconds = os.sysconf("SC_CLK_TCK"), {}
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{child}/task").iterdir():
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            seconds[thread.name] = (int(fields[11]) + int(fields[12])) / ticks  # utime and stime of proc(5)
    return seconds


def _show_life(sign: int) -> None:
    """Start the thread that shows that Python still runs; the pipe closes when the process ends."""
    import threading

    def show() -> None:
        with contextlib.suppress(OSError):
            while True:
                os.write(sign, b".")
                time.sleep(1)

    threading.Thread(target=show, daemon=True).start()


def end_with(parent: int) -> None:
    """Make sure that this process is killed when its parent ends, where the system supports that."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _files() -> str:
    """Return the files among the arguments of the command line."""
    words = (word.partition("::")[0].rpartition("=")[2] for word in sys.argv[2:])
    return ", ".join(dict.fromkeys(word for word in words if os.path.exists(word))) or "what it read"
