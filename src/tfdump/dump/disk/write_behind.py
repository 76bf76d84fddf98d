"""Moves finished parts of a large file to the disk and out of memory while the rest is still being written.

A system that holds tens of gigabytes of new pages has to find memory for each further page. On a virtual machine that
takes longer than writing them, evicts what other processes read, and in the end makes every write wait for the disk. A
thread that follows the writer, and never delays it, tells the system what it may write and drop, so the same pages are
used again and again. The first part of a file stays in memory for the next reader of a dump of usual size.
"""

import os
import queue
import threading

from tfdump.process.machine import cached_bytes

WINDOW = 64 << 20
"""Bytes that are handed over at once."""

_TRAIL = 2
"""Windows that the disk has time to write before the oldest one is dropped."""


def resident_bytes() -> int:
    """Return how many bytes at the beginning of a file stay in memory, in whole windows.

    A system may hold several megabytes of a file as one piece, which it only drops as a whole.
    """
    return cached_bytes() // WINDOW * WINDOW


class WriteBehind:
    """Follows the writing of a file after its first `resident` bytes, on systems that take such advice."""

    def __init__(self, handle: int, resident: int | None = None) -> None:
        self._handle = handle
        self._next = resident_bytes() if resident is None else resident
        self._ends: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._able = hasattr(os, "posix_fadvise")

    def reached(self, end: int) -> None:
        """Report that the file is written up to `end`."""
        while self._able and end >= self._next + WINDOW:
            self._start()
            self._ends.put(self._next)
            self._next += WINDOW

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="tfdump-behind", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be started: the file is written without one
            self._able = False
        else:
            self._thread = thread

    def close(self) -> None:
        """End the thread; what waits stays in memory until the system writes it, as for any file."""
        self._able = False
        if self._thread is not None:
            self._ends.put(None)
            self._thread.join()

    def _run(self) -> None:
        waiting: list[int] = []
        while self._able and (start := self._ends.get()) is not None:
            self._advise(start)  # the system begins to write these pages
            waiting.append(start)
            if len(waiting) > _TRAIL:
                self._advise(waiting.pop(0))  # written by now: the system drops these pages

    def _advise(self, start: int) -> None:
        try:
            os.posix_fadvise(self._handle, start, WINDOW, os.POSIX_FADV_DONTNEED)
        except OSError:  # a system that does not take the advice writes as usual
            self._able = False
