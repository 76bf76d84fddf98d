"""Reads text from HDF5 files within a memory limit: in a damaged file, the stored length of a text may be 4 GiB."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

_SLACK = 64 << 20
_TIMES = 16
"""The bytes that text takes as Python objects and arrays of them, per byte in the file."""

_DATA = 5
"""The field of /proc/self/statm that counts private pages."""


@contextmanager
def text_memory(file: h5py.File) -> Iterator[None]:
    """While the body reads text, limit the memory of this process to little more than all text of the file can need.

    Raises OSError if that is not enough. There is no limit beside TensorFlow, which allocates memory on threads of its
    own, and on systems that have no such limit.
    """
    if sys.platform != "linux" or "tensorflow" in sys.modules:
        yield
        return
    import resource

    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text().split()[_DATA]) * resource.getpagesize()
    most = used + _SLACK + _TIMES * file.id.get_filesize()
    if before != resource.RLIM_INFINITY and before < most:
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    except MemoryError:
        raise OSError("a text is longer than the file") from None
    finally:
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
