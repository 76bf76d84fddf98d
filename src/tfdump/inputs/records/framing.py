"""The records of one TFRecord file: where they begin, and their bytes.

A record is its length (8 bytes, little endian), the checksum of the length, its data, and the checksum of the data:
https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from array import array
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from struct import Struct

import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.byte_streams import ByteStream, DecompressedBytes, PlainBytes
from tfdump.inputs.records.checksums import masked_checksums, masked_row_checksums
from tfdump.process.signals import raise_waiting

_HEADER = Struct("<QI")
_TAIL = Struct("<I")
_LENGTH_BYTES = 8
_PIECE = 1 << 18
_PIECE_BEHIND_GAP = 1 << 12
_AT_ONCE = 1 << 16
"""Records whose lengths are checked at once."""

_LARGEST = 1 << 61
"""A length that no file has, so that a damaged one leads to a place which integers can tell."""

_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""How gzip and zlib files begin."""


@dataclass(frozen=True)
class FramingDamage:
    """Where a file cannot be followed further: the number of the record, its first byte, and why."""

    number: int
    offset: int
    reason: str


class RecordFile:
    """The records of one TFRecord file, read by their numbers.

    One pass finds where the records begin. `damage` tells where that ended before the end of the file. Raises
    InputError for a file that is no TFRecord file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: FramingDamage | None = None
        self._stream, is_plain = _stream_of(path)
        self._starts: npt.NDArray[np.int64] = np.frombuffer(self._index(), np.int64)
        if self.damage is not None and self.damage.number == 0:
            what = "TFRecord file" if is_plain else "compressed TFRecord file"
            raise InputError(f"{path} is not a {what} ({self.damage.reason} in record 0)")

    def __len__(self) -> int:
        return len(self._starts) - 1

    def offset(self, number: int) -> int:
        """Return the first byte of a record; in a compressed file, that of its content."""
        return int(self._starts[number])

    def sizes(self) -> npt.NDArray[np.int64]:
        """Return the bytes of all records with what is around them, shape (records,)."""
        return np.diff(self._starts)

    def read(self, start: int, stop: int) -> tuple[list[memoryview], npt.NDArray[np.bool_]]:
        """Return the data of the records from `start` up to `stop`, and which of them have a wrong checksum.

        Raises InputError where they take more memory than is allowed, or where the file has changed.
        """
        first, last = self.offset(start), self.offset(stop)
        what = f"{self.path}: the records {start} to {stop - 1} take"
        check_bytes(last - first, allowed_bytes(), what, InputError)
        block = memoryview(self._stream.read(first, last - first))
        if len(block) < last - first:
            raise InputError(f"{self.path} has changed since its records were counted (start again)")
        bounds = (self._starts[start : stop + 1] - first).tolist()
        records = [block[begin + _HEADER.size : end - _TAIL.size] for begin, end in pairwise(bounds)]
        stored = np.array([_TAIL.unpack_from(block, end - _TAIL.size)[0] for end in bounds[1:]], np.uint32)
        return records, masked_checksums(records) != stored

    def _index(self) -> "array[int]":
        """Return where the records begin, and where the last one ends; set `damage` where that is not the end."""
        starts, headers, window = array("q"), bytearray(), _Window(self._stream)
        at, tail = 0, 0  # before a header lies the checksum that ends the record before it
        while True:
            piece = window.read(at - tail, tail + _HEADER.size)
            if len(piece) < tail + _HEADER.size:
                break
            starts.append(at)
            headers += piece[tail:]
            at += min(_HEADER.unpack_from(piece, tail)[0], _LARGEST) + _HEADER.size + _TAIL.size
            tail = _TAIL.size
            if len(headers) >= _AT_ONCE * _HEADER.size:
                if self._has_bad_length(headers, starts):
                    return starts
                headers.clear()
                raise_waiting()
        if self._has_bad_length(headers, starts):
            return starts
        if len(piece) >= tail:  # the last record is whole
            starts.append(at)
        if len(piece) != tail:
            self.damage = FramingDamage(len(starts) - 1, starts[-1], "the file ends")
        return starts

    def _has_bad_length(self, headers: bytearray, starts: "array[int]") -> bool:
        """Tell whether the checksum of a length is wrong, and then forget where the records behind it begin."""
        fields = np.frombuffer(headers, np.uint8).reshape(-1, _HEADER.size)
        stored = fields[:, _LENGTH_BYTES:].copy().view("<u4")[:, 0]
        bad = np.flatnonzero(masked_row_checksums(fields[:, :_LENGTH_BYTES]) != stored)
        if not bad.size:
            return False
        number = len(starts) - len(fields) + int(bad[0])
        self.damage = FramingDamage(number, starts[number], "the checksum of its length is wrong")
        del starts[number + 1 :]
        return True


class _Window:
    """The bytes of a stream around those that were read last."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._begin, self._block = 0, b""

    def read(self, offset: int, count: int) -> bytes:
        """Return the bytes from `offset` on, fewer than `count` where the stream ends."""
        place = offset - self._begin
        if place + count > len(self._block):
            piece = _PIECE if place <= len(self._block) else _PIECE_BEHIND_GAP  # what lies between is not wanted
            self._begin, self._block, place = offset, self._stream.read(offset, piece), 0
        return self._block[place : place + count]


def _stream_of(path: Path) -> tuple[ByteStream, bool]:
    """Return the bytes of a TFRecord file, and whether the file has them as they are."""
    plain = PlainBytes(path)
    header = plain.read(0, _HEADER.size)
    if header.startswith(_COMPRESSED) and not _is_header(header):
        return DecompressedBytes(path), False
    return plain, True


def _is_header(header: bytes) -> bool:
    """Tell whether bytes are the length of a record with its checksum."""
    if len(header) < _HEADER.size:
        return False
    return bool(masked_checksums([header[:_LENGTH_BYTES]])[0] == _HEADER.unpack(header)[1])
