"""Text files as arrays of strings, one per line."""

from pathlib import Path
from typing import Any

import numpy as np

from tfdump.errors import InputError, reason_of
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.identity import ExampleNames, NamedReader, NumberedNames
from tfdump.tensors import Array

_PIECE = 4 << 20
_LINES_BETWEEN = 256
"""Lines from one known offset to the next."""

_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class TextLines(NamedReader):
    """The lines of a UTF-8 text file as strings, shape (lines,); a line is named by its number, from 1.

    Lines end in LF or CR LF, which do not belong to them. An empty line is an empty string. One pass over the file
    finds the lines. Raises InputError for an empty file, and for a line that is not UTF-8.
    """

    dtype: np.dtype[Any] = np.dtype(object)

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._path = path
        self.names: ExampleNames = NumberedNames(path.name, first=1)
        self._offsets: list[int] = []
        try:
            lines = self._index()
        except OSError as cause:
            raise InputError(f"cannot read {path}: {reason_of(cause)}") from None
        self.shape: tuple[int, ...] = (lines,)

    def read(self, start: int, stop: int) -> Array:
        """Return the lines from `start` up to `stop`; raises InputError where the file changed."""
        rows = np.empty(max(0, stop - start), object)
        if not len(rows):
            return rows
        first, last = start // _LINES_BETWEEN, -(-stop // _LINES_BETWEEN)
        end = self._offsets[last] if last < len(self._offsets) else self._size
        what = f"{self.label}: lines {start + 1} to {stop} take"
        check_bytes(end - self._offsets[first], allowed_bytes(), what, InputError)
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offsets[first])
                text = stream.read(end - self._offsets[first]).decode()
        except (OSError, UnicodeDecodeError) as cause:
            raise InputError(f"cannot read {self.label}: {reason_of(cause)} (was it changed?)") from None
        lines = text.split("\n")[start - first * _LINES_BETWEEN :][: len(rows)]
        if len(lines) < len(rows):
            raise InputError(f"{self.label} has changed since its lines were counted (start again)")
        rows[:] = [line.removesuffix("\r") for line in lines]
        return rows

    def _index(self) -> int:
        """Find every 256th line; return the number of lines."""
        with self._path.open("rb") as stream:
            start = stream.read(len(_BOM))
            if start[:2] in _UTF_16:
                raise InputError(f"{self._path} is UTF-16 text (save it as UTF-8)")
            offset = stream.seek(len(_BOM) if start == _BOM else 0)
            self._offsets.append(offset)
            lines, rest = 0, b""
            while piece := stream.read(_PIECE):
                data = rest + piece
                whole, rest = self._complete(data)
                self._check(whole, lines)
                ends = np.flatnonzero(np.frombuffer(whole, np.uint8) == ord("\n")) + 1
                skip = -lines % _LINES_BETWEEN or _LINES_BETWEEN
                self._offsets += (offset + ends[skip - 1 :: _LINES_BETWEEN]).tolist()
                lines, offset = lines + len(ends), offset + len(whole)
            self._check(rest, lines)
            self._size = offset + len(rest)
        lines += bool(rest)
        if not lines:
            raise InputError(f"{self._path} is empty (write one example per line)")
        return lines

    def _complete(self, data: bytes) -> tuple[bytes, bytes]:
        """Split data behind its last complete line; raises InputError where a line takes more memory than allowed."""
        end = data.rfind(b"\n") + 1
        check_bytes(len(data) - end, allowed_bytes(), f"{self._path}: one line takes more than", InputError)
        return data[:end], data[end:]

    def _check(self, data: bytes, lines: int) -> None:
        """Raise InputError where whole lines are not UTF-8; `lines` is the number of those before them."""
        try:
            data.decode()
        except UnicodeDecodeError as cause:
            line = lines + 1 + data.count(b"\n", 0, cause.start)
            raise InputError(
                f"{self._path}: line {line} is not UTF-8 (byte 0x{data[cause.start]:02x}; save the file as UTF-8)"
            ) from None
