"""Signals that wait for a safe moment: HDF5 loses data when Python raises in the middle of one of its writes.

The command line installs the handlers. In other processes this module does nothing.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tfdump.process.supervisor import PASSED

_SAME_SIGNAL = 0.5
"""Seconds within which a repeated signal counts as the same one: Ctrl-C also reaches the parent, which passes it on."""

_UNSAFE_AT_MOST = 5.0
"""Seconds that a signal waits for the end of an import or of a call into TensorFlow. C code of TensorFlow calls
Python back, prints an exception from there and ignores it; a module that was half imported cannot be imported
again.
"""

_LOOK_AGAIN = 0.05


class Terminated(BaseException):
    """The process was asked to end by a signal; `status` is its exit status.

    It is not a KeyboardInterrupt, which libraries handle in their own ways. `remains` tells the user what was written,
    where that is not nothing.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.status = 128 + signum
        self.remains: str | None = None


class _Waiting:
    """The signal that waits, if there is one, and the number of bodies that hold signals back."""

    installed = False
    held_back = 0
    signal: BaseException | None = None
    last: tuple[int, float] | None = None
    unsafe_until = 0.0


def install() -> None:
    """Turn Ctrl-C and similar signals into exceptions, raised as soon as it is safe; ignored signals stay ignored.

    A signal that arrived while the process started is raised here.
    """
    _Waiting.installed = True
    for number in PASSED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _receive)
    if PASSED:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)


def ignore() -> None:
    """Ignore these signals from now on, if they were installed: the work is done and the exit status is known."""
    for number in PASSED if _Waiting.installed else ():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold signals back while the body runs; `raise_waiting` inside the body lets one through."""
    _Waiting.held_back += 1
    try:
        yield
    finally:
        _Waiting.held_back -= 1


@contextmanager
def interrupt_waiting() -> Iterator[None]:
    """Let a Ctrl-C wait for `raise_waiting` or the end of the body, in a process that handles its own signals.

    Does nothing outside of the main thread, and if the process handles Ctrl-C in another way than Python's own.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _keep_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise_waiting()


def raise_waiting() -> None:
    """Raise the signal that waits, if there is one."""
    waiting, _Waiting.signal = _Waiting.signal, None
    if waiting is not None:
        raise waiting


def waiting() -> BaseException | None:
    """Return the signal that waits; other code may have caught it as its own."""
    return _Waiting.signal


def interruption_behind(error: BaseException) -> BaseException | None:
    """Return the interruption that made other code raise `error`, or None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (KeyboardInterrupt, Terminated)):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _receive(signum: int, frame: FrameType | None) -> None:
    """Raise the signal or let it wait; ignore a repeated one, which the parent received too and passed on."""
    now = time.monotonic()
    repeated = _Waiting.last is not None and _Waiting.last[0] == signum and now - _Waiting.last[1] < _SAME_SIGNAL
    _Waiting.last = signum, now
    if repeated:
        return
    _Waiting.signal = Terminated(signum)
    _Waiting.unsafe_until = now + _UNSAFE_AT_MOST
    _raise_when_safe(frame)


def _raise_when_safe(frame: FrameType | None) -> None:
    """Raise the signal that waits, unless it is held back or could get lost here; then try again soon.

    It stays waiting, so that `raise_waiting` raises it again if C code in between swallows it.
    """
    if _Waiting.held_back or _Waiting.signal is None:
        return
    if _is_unsafe(frame) and time.monotonic() < _Waiting.unsafe_until:
        signal.signal(signal.SIGALRM, lambda _, later: _raise_when_safe(later))
        signal.setitimer(signal.ITIMER_REAL, _LOOK_AGAIN)
        return
    raise _Waiting.signal


def _is_unsafe(frame: FrameType | None) -> bool:
    """Tell whether an import or TensorFlow runs nearer to the top of the stack than Keras or this package.

    Keras's own backend counts as TensorFlow, because C code turns its variables into tensors.
    """
    while frame is not None:
        place = frame.f_code.co_filename
        if place.startswith("<frozen importlib"):
            return True
        folders = Path(place).parts
        if "tensorflow" in folders:
            return True
        if "keras" in folders or "tfdump" in folders:
            return _imports(frame.f_back)
        frame = frame.f_back
    return False


def _imports(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _keep_interrupt(signum: int, _: FrameType | None) -> None:
    _Waiting.signal = KeyboardInterrupt()
