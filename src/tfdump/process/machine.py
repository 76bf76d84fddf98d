"""What this process may use of the machine: processors and memory."""

import os
import platform
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_CONTAINER = Path("/sys/fs/cgroup/memory.max")
_UNKNOWN = 16 << 30
_PROCESSORS = Path("/proc/cpuinfo")

_OPEN_FILES = 512

_SHARE = 16
"""One file may leave this fraction of the memory (one part in 16) in the page cache."""


class _Limit:
    """The most threads that this process may use for computing; None is as many as there are processors."""

    threads: int | None = None


def limit_threads(count: int | None) -> None:
    """Let this process use at most `count` threads for computing; None leaves the limit as it is.

    It must be called before the library that runs the model is imported, which reads the limit then.
    """
    _Limit.threads = _Limit.threads if count is None else count


def thread_limit() -> int | None:
    """Return the limit that was set, or None."""
    return _Limit.threads


def cores() -> int:
    """Return the number of processors that this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return there if _Limit.threads is None else min(there, _Limit.threads)


def processor() -> dict[str, str]:
    """Return what the processor is: its name, and the start of the SHA-256 of its features; both "" if unknown."""
    known: dict[str, str] = {}
    with suppress(OSError):
        for line in _PROCESSORS.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            known.setdefault(name.strip(), value.strip())
    flags = " ".join(sorted((known.get("flags") or known.get("Features", "")).split()))
    return {
        "name": known.get("model name", platform.machine()),
        "flags": sha256(flags.encode()).hexdigest()[:16] if flags else "",
    }


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


def open_files() -> int:
    """Return how many files this process may have open at once; 512, which C libraries allow, where that is unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return _OPEN_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN_FILES if soft == resource.RLIM_INFINITY else soft
