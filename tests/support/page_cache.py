"""What the system holds in memory of a file."""

import os

WINDOW = 8 << 20
"""Bytes that are larger than what a system drops only as a whole."""


def in_memory(handle: int, offset: int) -> bool:
    """Tell whether the system can answer a read from memory: it may not wait for the disk."""
    try:
        return os.preadv(handle, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False


def can_tell(handle: int) -> bool:
    """Tell whether the system drops pages of this file when asked, and shows it; the file is overwritten."""
    if not (hasattr(os, "RWF_NOWAIT") and hasattr(os, "posix_fadvise")):
        return False
    os.pwrite(handle, bytes(WINDOW), 0)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, WINDOW, os.POSIX_FADV_DONTNEED)
    try:
        return not in_memory(handle, 0)
    except OSError:
        return False
