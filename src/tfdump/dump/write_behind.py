"""What is complete of a large file goes to the disk and out of memory while the rest is still written.

A system that keeps tens of gigabytes of new pages in memory has to find memory for each, which on a virtual machine
takes longer than to write them, throws out what others read, and at last lets every write wait for the disk. A thread
that trails the writer, and never holds it up, tells the system what it may write and forget: the same pages then serve
again and again. The first part of a file stays, so that whoever reads a dump of usual size finds it in memory.
"""

import os
import queue
import threading

from tfdump.process.machine import cached_bytes

WINDOW = 64 << 20
"""Bytes that are handed over at once."""

_TRAIL = 2
"""Windows that the disk gets to write one, before it is dropped."""


def resident_bytes() -> int:
    """Return how many bytes at the beginning of a file stay in memory, in whole windows.

    A system keeps several megabytes of a file as one piece, which it drops only as a whole.
    """
    return cached_bytes() // WINDOW * WINDOW


class WriteBehind:
    """Trails the writing of one file, from `kept` bytes on; does nothing where the system takes no such advice."""

    def __init__(self, handle: int, resident: int | None = None) -> None:
        self._handle = handle
        self._next = resident_bytes() if resident is None else resident
        self._ends: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._able = hasattr(os, "posix_fadvise")

    def reached(self, end: int) -> None:
        """Note that the file is written up to `end`."""
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
        except RuntimeError:  # no thread is to be had: the file is written all the same
            self._able = False
        else:
            self._thread = thread

    def close(self) -> None:
        """End; what waits stays in memory until the system takes care of it, as that of any file does."""
        self._able = False
        if self._thread is not None:
            self._ends.put(None)
            self._thread.join()

    def _run(self) -> None:
        waiting: list[int] = []
        while self._able and (start := self._ends.get()) is not None:
            self._advise(start)  # dirty pages: their writing begins
            waiting.append(start)
            if len(waiting) > _TRAIL:
                self._advise(waiting.pop(0))  # written by now: dropped

    def _advise(self, start: int) -> None:
        try:
            os.posix_fadvise(self._handle, start, WINDOW, os.POSIX_FADV_DONTNEED)
        except OSError:  # advice: a system that does not take it writes as it would without
            self._able = False
