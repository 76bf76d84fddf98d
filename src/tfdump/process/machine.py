"""What this process has of the machine: processors, and how much memory there is."""

import os
from contextlib import suppress
from pathlib import Path

_CONTAINER = Path("/sys/fs/cgroup/memory.max")
_UNKNOWN = 16 << 30

_SHARE = 16
"""One part in so many of the memory is left to one file."""


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the bytes of memory of the machine, used or not, or of the container where that has less.

    16 GiB where the system does not tell.
    """
    memory = 0
    with suppress(AttributeError, ValueError, OSError):
        memory = os.sysconf("SC_PAGE_SIZE") * max(0, os.sysconf("SC_PHYS_PAGES"))
    memory = memory or _UNKNOWN
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        memory = min(memory, int(_CONTAINER.read_text()))
    return memory


def cached_bytes() -> int:
    """Return how many bytes of one file are left in memory for whoever reads it next: a sixteenth, 1 GiB at least."""
    return max(1 << 30, memory_bytes() // _SHARE)
