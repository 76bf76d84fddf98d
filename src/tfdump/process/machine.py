"""What this process may use of the machine: processors and memory."""

import os
from contextlib import suppress
from pathlib import Path

_CONTAINER = Path("/sys/fs/cgroup/memory.max")
_UNKNOWN = 16 << 30

_SHARE = 16
"""One file may leave this fraction of the memory (one part in 16) in the page cache."""


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the bytes of memory of the machine, or of the container if that has less.

    16 GiB if the system does not say.
    """
    memory = 0
    with suppress(AttributeError, ValueError, OSError):
        memory = os.sysconf("SC_PAGE_SIZE") * max(0, os.sysconf("SC_PHYS_PAGES"))
    memory = memory or _UNKNOWN
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        memory = min(memory, int(_CONTAINER.read_text()))
    return memory


def cached_bytes() -> int:
    """Return how many bytes of a file stay in memory for its next reader: a sixteenth of the memory, at least 1 GiB."""
    return max(1 << 30, memory_bytes() // _SHARE)
