"""The bytes of a dump on their way to the disk.

HDF5 cannot close a file to which a write failed, and crashes the process when that ends. So it writes into this stream,
which remembers the first failure and ignores everything after it.
"""

import io
import os
from pathlib import Path
from typing import Any

from tfdump.dump.disk.write_behind import WriteBehind


class DumpStream(io.RawIOBase):
    """A file that never fails while it is written; `raise_failure` reports what went wrong."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        self._position = 0
        self._failure: BaseException | None = None
        self._behind = WriteBehind(self._handle)

    def raise_failure(self) -> None:
        """Raise the first failure, if there was one: an OSError or a KeyboardInterrupt."""
        if self._failure is not None:
            raise self._failure

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        if whence == os.SEEK_END:
            offset += os.fstat(self._handle).st_size
        elif whence == os.SEEK_CUR:
            offset += self._position
        self._position = offset
        return offset

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; bytes beyond the end of the file, or that cannot be read, are zero."""
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        data = b""
        try:
            data = _read_at(self._handle, len(view), self._position)
        except BaseException as failure:  # raised later by raise_failure
            self._failure = self._failure or failure
        view[: len(data)] = data
        self._position += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        """Write all of `data`, or remember why that failed."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view) and self._failure is None:
                done += _write_at(self._handle, view[done:], self._position + done)
        except BaseException as failure:  # raised later by raise_failure
            self._failure = self._failure or failure
        self._position += len(view)
        if self._failure is None:
            self._behind.reached(self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        length = self._position if size is None else size
        try:
            if self._failure is None:
                os.ftruncate(self._handle, length)
        except BaseException as failure:  # raised later by raise_failure
            self._failure = self._failure or failure
        return length

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._behind.close()
            os.close(self._handle)
        super().close()


def _read_at(handle: int, count: int, position: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(handle, count, position)
    os.lseek(handle, position, os.SEEK_SET)  # Windows; HDF5 calls from one thread at a time
    return os.read(handle, count)


def _write_at(handle: int, data: memoryview, position: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(handle, data, position)
    os.lseek(handle, position, os.SEEK_SET)
    return os.write(handle, data)
