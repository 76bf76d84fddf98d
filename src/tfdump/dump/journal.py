"""The journal of a long run, `NAME.h5.partial`: what an interrupted run leaves, so that the next run can resume.

An HDF5 file that was not closed cannot be continued, so the journal is a plain file beside it: a mark, and frames of a
length, a CRC-32 and that many bytes. The first frame describes the run in JSON; every other frame holds one batch. The
next run cuts off a frame that is incomplete. The run holds a lock on the file.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tfdump.dump.packing import ALIGNMENT, pack, unpack
from tfdump.dump.target import PARTIAL
from tfdump.errors import DumpError, reason_of
from tfdump.tensors import Array, Value

MARK = b"tfdump journal 1\n"
_FRAME = struct.Struct("<QI")
_LENGTH = struct.Struct("<I")

_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, StopIteration, struct.error)
"""The errors of a frame with a correct checksum and unexpected content."""


@dataclass(frozen=True)
class Record:
    """One batch: the values of each tensor, None for a tensor without a value, and further facts as JSON."""

    values: list[Value | None]
    about: dict[str, Any]


def journal_path(target: Path) -> Path:
    """Return the path of the journal of a dump, with symbolic links resolved as for the dump."""
    resolved = target.resolve()
    return resolved.with_name(resolved.name + PARTIAL)


class Journal:
    """The journal of one run, open and locked; a context manager. An empty journal is removed at the end.

    `parameters` belong to the identity of the run, besides what `begin` is told. `has_records` tells whether there is
    something from which a further run can resume.

    Raises DumpError if the file cannot be made, if another run uses it, and if it is something else.
    """

    def __init__(self, path: Path, parameters: Mapping[str, Any]) -> None:
        self.path = path
        self._parameters = parameters
        self._handle = _open_locked(path)
        self._end = 0
        self.has_records = False
        try:
            mark = os.pread(self._handle, len(MARK), 0)
            if not MARK.startswith(mark):
                raise DumpError(
                    f"{path} has the name that the journal needs, and is not a journal (move it, or choose another -o)"
                )
        except BaseException:
            os.close(self._handle)
            raise

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Write of which run this is the journal; raises DumpError if it already belongs to another run."""
        wanted = json.loads(json.dumps({**identity, **self._parameters}))
        self._end = len(MARK)
        frame = self._next()
        if frame is None:
            os.ftruncate(self._handle, 0)
            self._write([memoryview(MARK)], 0)
            self._end = len(MARK)
            self._append([memoryview(json.dumps(wanted).encode())])
            return
        with self._foreign():
            there = json.loads(frame.tobytes())
            if not isinstance(there, dict):
                raise ValueError("its first frame describes no run")
        for name in [*wanted, *there]:
            if there.get(name) != wanted.get(name):
                raise DumpError(
                    f"{self.path} is the journal of another run: its {name} is {there.get(name)!r}, and now it is "
                    f"{wanted.get(name)!r} (remove it to start over, or choose another output with -o)"
                )

    def records(self) -> Iterator[Record]:
        """Yield the batches in the journal; what follows the last complete one is cut off."""
        while (payload := self._next()) is not None:
            with self._foreign():
                (length,) = _LENGTH.unpack(payload[: _LENGTH.size].tobytes())
                head = json.loads(payload[_LENGTH.size : _LENGTH.size + length].tobytes())
                buffers = _buffers(payload, _aligned(_LENGTH.size + length), head["sizes"])
                record = Record([unpack(form, buffers) for form in head["forms"]], head["about"])
            yield record
        os.ftruncate(self._handle, self._end)

    def append(self, values: Sequence[Value | None], about: Mapping[str, Any]) -> None:
        """Store one more batch; raises OSError if it cannot be written."""
        packed = [pack(value) for value in values]
        buffers = [buffer for _, some in packed for buffer in some]
        head = {"forms": [form for form, _ in packed], "sizes": [len(buffer) for buffer in buffers], "about": about}
        text = json.dumps(head).encode()
        parts = [memoryview(_LENGTH.pack(len(text)) + text)]
        for buffer in buffers:
            parts += [memoryview(bytes(-len(parts[-1]) % ALIGNMENT)), buffer]
        self._append(parts)
        self.has_records = True

    def remove(self) -> None:
        """Remove the file, because the dump is complete."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.fstat(self._handle).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._handle)

    @contextmanager
    def _foreign(self) -> Iterator[None]:
        """Turn what reading a complete frame raises that no run wrote into DumpError."""
        try:
            yield
        except _MALFORMED as cause:
            raise DumpError(
                f"{self.path} is not a journal that tfdump wrote: {reason_of(cause)} (remove it to start over)"
            ) from cause

    def _next(self) -> Array | None:
        """Return the bytes of the next frame, or None if no complete one follows."""
        size = os.fstat(self._handle).st_size
        head = os.pread(self._handle, _FRAME.size, self._end)
        if len(head) < _FRAME.size:
            return None
        length, crc = _FRAME.unpack(head)
        start = self._end + _FRAME.size
        if start + length > size:
            return None
        payload = np.empty(length, np.uint8)
        done = 0
        while done < length:
            got = os.preadv(self._handle, [payload.data[done:]], start + done)
            if got == 0:
                return None
            done += got
        if zlib.crc32(payload.data) != crc:
            return None
        self._end = start + length
        return payload

    def _append(self, parts: Sequence[memoryview]) -> None:
        crc, length = 0, 0
        for part in parts:
            crc, length = zlib.crc32(part, crc), length + len(part)
        self._write([memoryview(_FRAME.pack(length, crc)), *parts], self._end)
        self._end += _FRAME.size + length

    def _write(self, parts: Sequence[memoryview], position: int) -> None:
        for part in parts:
            done = 0
            while done < len(part):
                done += os.pwrite(self._handle, part[done:], position + done)
            position += len(part)


def _open_locked(path: Path) -> int:
    """Open and lock the file, creating it if needed; one that disappears in the meantime is created again."""
    try:
        import fcntl  # imported here, because dumps without --resume do not need it
    except ImportError:
        raise DumpError(
            "--resume needs locks on files, which this system does not have (leave it out: the dump is made in one go)"
        ) from None
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as cause:
            raise DumpError(f"cannot write {path}: {cause.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise DumpError(f"{path} is in use by another run (wait for it, or choose another -o)") from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _aligned(position: int) -> int:
    return position + -position % ALIGNMENT


def _buffers(payload: Array, position: int, sizes: Sequence[int]) -> Iterator[Array]:
    for size in sizes:
        yield payload[position : position + size]
        position = _aligned(position + size)
