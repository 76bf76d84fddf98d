"""Signals that wait until a safe moment: HDF5 loses data when Python raises in the middle of one of its writes.

The command line installs the handlers; in somebody else's process nothing here does anything.
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
"""Seconds within which a signal that comes again is the same one: Ctrl-C goes to the parent too, which passes it on."""

_UNSAFE_AT_MOST = 5.0
"""Seconds that a signal waits for the end of an import, or of a call into TensorFlow. Its C code calls Python back, and
prints an exception from there, forgets it and goes on; and what was imported by half cannot be imported again."""

_LOOK_AGAIN = 0.05


class Terminated(BaseException):
    """The process was asked to end by a signal; `status` is its exit status.

    Unlike KeyboardInterrupt, no library in between has its own idea of what to do about it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.status = 128 + signum


class _Waiting:
    """The signal that waits, if one does, and how many bodies hold signals back."""

    installed = False
    held_back = 0
    signal: BaseException | None = None
    last: tuple[int, float] | None = None
    unsafe_until = 0.0


def install() -> None:
    """Turn Ctrl-C and the like into exceptions, at once or when it is safe; an ignored signal stays ignored.

    What was held back while the process began is raised here.
    """
    _Waiting.installed = True
    for number in PASSED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _receive)
    if PASSED:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)


def ignore() -> None:
    """Ignore these signals from now on, if they were installed: the work is done, and its status is known."""
    for number in PASSED if _Waiting.installed else ():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold signals back while the body runs; `raise_waiting` inside it lets one through."""
    _Waiting.held_back += 1
    try:
        yield
    finally:
        _Waiting.held_back -= 1


@contextmanager
def interrupt_waiting() -> Iterator[None]:
    """Let a Ctrl-C wait for `raise_waiting` or the end of the body, in a process whose signals are not ours.

    Does nothing outside of the main thread, and where the process has a way of its own with Ctrl-C.
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
    """Raise the signal that waits, if one does."""
    waiting, _Waiting.signal = _Waiting.signal, None
    if waiting is not None:
        raise waiting


def waiting() -> BaseException | None:
    """Return the signal that waits, which other code may have taken for its own."""
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
    """Raise the signal or keep it; one that comes twice at once is one: the parent got it too, and passed it on."""
    now = time.monotonic()
    repeated = _Waiting.last is not None and _Waiting.last[0] == signum and now - _Waiting.last[1] < _SAME_SIGNAL
    _Waiting.last = signum, now
    if repeated:
        return
    _Waiting.signal = Terminated(signum)
    _Waiting.unsafe_until = now + _UNSAFE_AT_MOST
    _raise_when_safe(frame)


def _raise_when_safe(frame: FrameType | None) -> None:
    """Raise the signal that waits, unless it is held back, or it may get lost here: then look again soon.

    It goes on waiting, so that `raise_waiting` raises it again where C code in between takes it for its own.
    """
    if _Waiting.held_back or _Waiting.signal is None:
        return
    if _is_unsafe(frame) and time.monotonic() < _Waiting.unsafe_until:
        signal.signal(signal.SIGALRM, lambda _, later: _raise_when_safe(later))
        signal.setitimer(signal.ITIMER_REAL, _LOOK_AGAIN)
        return
    raise _Waiting.signal


def _is_unsafe(frame: FrameType | None) -> bool:
    """Tell whether an import, or TensorFlow, runs nearer than anything of Keras or of this package.

    Keras's own backend, whose variables C code turns into tensors, counts as TensorFlow.
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
