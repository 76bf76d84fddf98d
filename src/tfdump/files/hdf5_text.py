"""Texts of HDF5 take as many bytes as stand in front of them, which in a damaged file may be 4 GiB."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

_SLACK = 64 << 20
_TIMES = 16
"""What texts take as Python's objects, and as arrays of them, for each of their bytes in the file."""

_DATA = 5
"""The field of /proc/self/statm that counts private pages."""


@contextmanager
def text_memory(file: h5py.File) -> Iterator[None]:
    """While the body reads text, let this process take little more memory than all texts of the file can need.

    Raises OSError where that is not enough. Nothing is limited beside TensorFlow, which takes memory on threads of its
    own, and where the system cannot do it.
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
