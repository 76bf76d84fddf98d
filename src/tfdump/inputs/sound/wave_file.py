"""Uncompressed `.wav` files, read by hand: http://soundfile.sapp.org/doc/WaveFormat"""

import os
from pathlib import Path
from struct import Struct
from typing import IO

import numpy as np
import numpy.typing as npt

from tfdump.inputs.sound.samples import SoundError, SoundFacts

_RIFF = Struct("<4sI4s")
_CHUNK = Struct("<4sI")
_FORMAT = Struct("<HHIIHH")
_EXTENSIBLE, _PCM, _FLOAT = 0xFFFE, 1, 3
_SUBFORMAT_OFFSET = 24
_SUBFORMAT_END = bytes.fromhex("000000001000800000aa00389b71")
_MOST_CHUNKS = 10_000

_DTYPES = {(_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "u1", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4",
           (_FLOAT, 64): "<f8"}  # fmt: skip
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
"""What programs write that do not know how much will follow."""


class OtherEncodingError(Exception):
    """A `.wav` file is compressed, or of a variant that this module does not read."""


class WaveFile:
    """The samples of one `.wav` file of PCM or floating-point numbers.

    Raises SoundError for a damaged file, and OtherEncodingError for one of another encoding.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as stream:
            chunks = _chunks(stream)
            form, (self._offset, size) = _format(stream, chunks), chunks[b"data"]
            end = stream.seek(0, os.SEEK_END)
        self._encoding, self._bits, channels, rate = form
        self._frame_bytes = channels * self._bits // 8
        if size in _UNKNOWN_SIZES:
            size = end - self._offset
        if self._offset + size > end:
            raise SoundError(
                f"it is truncated: its header declares {size:,} bytes of sound, and {end - self._offset:,} are there"
            )
        self.facts = SoundFacts(rate, size // self._frame_bytes, channels)

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Return the samples from `start` up to `stop` from -1 to 1, shape (stop - start, channels)."""
        with self._path.open("rb") as stream:
            stream.seek(self._offset + start * self._frame_bytes)
            data = stream.read((stop - start) * self._frame_bytes)
        if len(data) < (stop - start) * self._frame_bytes:
            raise SoundError("it has changed since it was opened (start again)")
        return self._numbers(data).reshape(stop - start, self.facts.channels)

    def _numbers(self, data: bytes) -> npt.NDArray[np.float32]:
        stored = np.frombuffer(data, _DTYPES[self._encoding, self._bits])
        if self._encoding == _FLOAT:
            return stored.astype(np.float32)
        if self._bits == 8:
            return (stored.astype(np.float32) - np.float32(128)) / np.float32(128)
        if self._bits == 24:
            wide = np.zeros((len(stored) // 3, 4), np.uint8)
            wide[:, 1:] = stored.reshape(-1, 3)
            stored = wide.view("<i4")[:, 0]
        scale = 1 << (15 if self._bits == 16 else 31)
        return stored.astype(np.float32) / np.float32(scale)


def _chunks(stream: IO[bytes]) -> dict[bytes, tuple[int, int]]:
    """Return where the content of each chunk begins, and its size as declared; up to that of the samples."""
    header = stream.read(_RIFF.size)
    if len(header) < _RIFF.size or header[8:] != b"WAVE" or header[:4] not in (b"RIFF", b"RF64"):
        raise SoundError("it is no .wav file" if header else "it is empty (0 bytes)")
    if header[:4] == b"RF64":
        raise OtherEncodingError
    chunks: dict[bytes, tuple[int, int]] = {}
    while b"data" not in chunks:
        head = stream.read(_CHUNK.size)
        if len(head) < _CHUNK.size or len(chunks) > _MOST_CHUNKS:
            raise SoundError("it has no samples")
        name, size = _CHUNK.unpack(head)
        chunks[name] = stream.tell(), size
        stream.seek(size + size % 2, os.SEEK_CUR)
    return chunks


def _format(stream: IO[bytes], chunks: dict[bytes, tuple[int, int]]) -> tuple[int, int, int, int]:
    """Return the encoding, the bits of a sample, the number of channels and the sample rate."""
    offset, size = chunks.get(b"fmt ", (0, 0))
    stream.seek(offset)
    content = stream.read(min(size, 40))
    if len(content) < _FORMAT.size:
        raise SoundError("it does not tell its format")
    encoding, channels, rate, _, frame_bytes, bits = _FORMAT.unpack_from(content)
    if encoding == _EXTENSIBLE and content[_SUBFORMAT_OFFSET + 2 :] == _SUBFORMAT_END:
        encoding = int.from_bytes(content[_SUBFORMAT_OFFSET : _SUBFORMAT_OFFSET + 2], "little")
    if (encoding, bits) not in _DTYPES:
        raise OtherEncodingError
    if not channels or not rate or frame_bytes != channels * bits // 8:
        raise SoundError("its header is damaged")
    return encoding, bits, channels, rate
