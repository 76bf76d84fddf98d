"""What was read of a file that is larger than the memory leaves memory behind the reader.

Nobody finds it there a second time: before the end, the system has thrown the beginning out, and with it what others
had read. Until then it looks for new memory for every page, which on a virtual machine takes ten times longer than to
use that of the pages behind again. Smaller files stay, for whoever reads them next.
"""

import os

from tfdump.machine import memory_bytes

WINDOW = 64 << 20
"""Bytes that are read before the system is told again."""


class ReadBehind:
    """Trails the reading of one open file; does nothing for one that fits into memory, or without such advice."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._read = 0
        self._able = hasattr(os, "posix_fadvise") and os.fstat(handle).st_size > memory_bytes()

    def add(self, count: int, end: int = 0) -> None:
        """Note that `count` more bytes were read, before byte `end` of the file; 0 means anywhere in it."""
        self._read += count
        if not self._able or self._read < WINDOW:
            return
        self._read = 0
        try:
            os.posix_fadvise(self._handle, 0, end, os.POSIX_FADV_DONTNEED)
        except OSError:  # advice: a system that does not take it reads as it would without
            self._able = False
