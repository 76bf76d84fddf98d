"""Removing from the page cache what was read of an array that is larger than the memory.

No later reader finds these pages in the cache: before the array ends, the system has replaced its beginning, and also
the pages of other files. Until then, the system allocates new memory for every page, which on a virtual machine takes
longer than reusing the pages behind the reader. Smaller arrays stay in the cache, and so does the beginning of a large
one.
"""

import os
from collections.abc import Callable

from tfdump.process.machine import cached_bytes, memory_bytes

WINDOW = 64 << 20
"""Bytes that are read between two calls to the system."""

FindPlace = Callable[[int, int], tuple[int, int] | None]
"""Returns the first byte of some rows in the file and the end of the last one; None where they are not contiguous."""


class ReadBehind:
    """Follows the reading of one array of `size` bytes in an open file, and removes the rows behind from the cache.

    It does nothing for an array that fits into memory, or where the system has no `posix_fadvise`.
    """

    def __init__(self, handle: int, size: int, place: FindPlace) -> None:
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
        except (OSError, OverflowError):  # it is only advice, so an error does not matter
            self._able = False
