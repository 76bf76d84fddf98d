"""The bytes of a file by their offsets: of a plain file, or of one that gzip or zlib compressed."""

import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from tfdump.errors import InputError, reason_of
from tfdump.process.signals import raise_waiting

_PIECE = 1 << 18
_BETWEEN = 8 << 20
"""Bytes between two places at which decompression can begin, in a small file."""

_MOST_PLACES = 256
"""Such places in a file, each of which takes about 40 kB. In a larger file they lie further apart."""

_EITHER_HEADER = zlib.MAX_WBITS | 32
"""Lets zlib recognize its own header or that of gzip."""


class ByteStream(Protocol):
    """The bytes of a file by their offsets."""

    def read(self, offset: int, count: int) -> bytes:
        """Return the bytes from `offset` on, fewer than `count` where the file ends; raises InputError."""


class PlainBytes:
    """The bytes of a file as they are."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, offset: int, count: int) -> bytes:
        """Return the bytes from `offset` on, fewer than `count` where the file ends; raises InputError."""
        with opened(self._path) as stream:
            if offset >= os.fstat(stream.fileno()).st_size:  # a damaged length leads further than files can be
                return b""
            stream.seek(offset)
            return stream.read(count)


class _Place:
    """A place in a compressed file from which decompression goes on."""

    def __init__(self, packed: int, offset: int, engine: Any) -> None:
        self.packed = packed
        self.offset = offset
        self.engine = engine

    def copy(self) -> "_Place":
        return _Place(self.packed, self.offset, self.engine.copy())


class DecompressedBytes:
    """The bytes that a gzip or zlib file stands for.

    Decompression goes forward only. So its state is saved at several places, and reading begins at the last one before
    the offset, or goes on where the last reading ended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._between = _BETWEEN
        self._places = [_Place(0, 0, zlib.decompressobj(_EITHER_HEADER))]
        self._here = self._places[0].copy()

    def read(self, offset: int, count: int) -> bytes:
        """Return the bytes from `offset` on, fewer than `count` where the file ends; raises InputError."""
        begin = max((place for place in self._places if place.offset <= offset), key=lambda place: place.offset)
        if not begin.offset <= self._here.offset <= offset:
            self._here = begin.copy()
        pieces: list[bytes] = []
        missing = count
        with opened(self._path) as stream:
            stream.seek(self._here.packed)
            while missing > 0:
                skip = offset - self._here.offset
                piece = self._next(stream, min(_PIECE, skip) if skip > 0 else min(_PIECE, missing))
                if not piece:
                    break
                if skip <= 0:
                    pieces.append(piece)
                    missing -= len(piece)
                    offset += len(piece)
        return b"".join(pieces)

    def _next(self, stream: IO[bytes], most: int) -> bytes:
        """Return the next bytes, at most so many; none at the end of the file."""
        here = self._here
        raise_waiting()
        try:
            piece = b""
            while not piece:
                if here.engine.eof:
                    rest = stream.read(1)
                    if not rest.strip(b"\0"):  # the end, or zeros behind it, which gzip allows
                        return b""
                    stream.seek(here.packed)
                    here.engine = zlib.decompressobj(_EITHER_HEADER)
                packed = stream.read(1 << 16)
                if not packed:
                    raise zlib.error("the compressed data ends too early")
                piece = here.engine.decompress(packed, most)
                rest = here.engine.unconsumed_tail or here.engine.unused_data
                here.packed += len(packed) - len(rest)
                stream.seek(here.packed)
                if not piece and not here.engine.eof and rest:
                    raise zlib.error("the compressed data is damaged")
        except zlib.error as cause:
            where = f"{self._path} behind byte {here.offset} of its content"
            raise InputError(f"cannot decompress {where}: {reason_of(cause)}") from None
        here.offset += len(piece)
        self._remember()
        return piece

    def _remember(self) -> None:
        """Save the state where none is saved nearby; where there are too many, only every second one stays."""
        if self._here.offset < self._places[-1].offset + self._between:
            return
        self._places.append(self._here.copy())
        if len(self._places) > _MOST_PLACES:
            self._places = self._places[::2]
            self._between *= 2


class _Reading(io.RawIOBase):
    """A stream of bytes that are read by their offsets."""

    def __init__(self, source: ByteStream) -> None:
        self._source = source
        self._offset = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset, from the beginning or from here."""
        self._offset = offset + (self._offset if whence == io.SEEK_CUR else 0)
        return self._offset

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer; return how many there were."""
        data = self._source.read(self._offset, len(buffer))
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Return all bytes behind those that were read."""
        data = self._source.read(self._offset, sys.maxsize)
        self._offset += len(data)
        return data


def stream_of(source: ByteStream) -> io.BufferedReader:
    """Return the bytes as a stream, which raises InputError as they do."""
    return io.BufferedReader(_Reading(source))


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading while the body runs; raises InputError where it cannot be read."""
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as cause:
        raise InputError(f"cannot read {path}: {reason_of(cause)}") from None
