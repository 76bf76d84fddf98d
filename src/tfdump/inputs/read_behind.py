"""What was read of an array that is larger than the memory leaves memory behind the reader.

Nobody finds it there a second time: before the end, the system has thrown the beginning out, and with it what others
had read. Until then it looks for new memory for every page, which on a virtual machine takes longer than to use that of
the pages behind again. Smaller arrays stay, and so does what was read first of a large one.
"""

import os
from collections.abc import Callable

from tfdump.process.machine import cached_bytes, memory_bytes

WINDOW = 64 << 20
"""Bytes that are read before the system is told again."""

Place = Callable[[int, int], tuple[int, int] | None]
"""Returns the first byte of some rows in the file and the end of the last; None where they are not in one place."""


class ReadBehind:
    """Trails the reading of one array of `size` bytes in an open file.

    It does nothing for one that fits into memory, or where the system takes no such advice.
    """

    def __init__(self, handle: int, size: int, place: Place) -> None:
        self._handle = handle
        self._place = place
        self._able = hasattr(os, "posix_fadvise") and size > memory_bytes()
        self._stays = cached_bytes()
        self._read = 0
        self._rows: tuple[int, int] | None = None

    def add(self, start: int, stop: int, count: int) -> None:
        """Note that the rows from `start` up to `stop` were read, which took `count` bytes."""
        if not self._able or stop <= start:
            return
        if self._stays > 0:
            self._stays -= count
            return
        first, last = self._rows or (start, stop)
        self._rows = min(first, start), max(last, stop)
        self._read += count
        if self._read < WINDOW:
            return
        place = self._place(*self._rows)
        self._rows, self._read = None, 0
        try:
            if place is not None:
                os.posix_fadvise(self._handle, place[0], place[1] - place[0], os.POSIX_FADV_DONTNEED)
        except (OSError, OverflowError):  # advice: a system that does not take it reads as it would without
            self._able = False
