"""Where the rows of a CSV file begin: line breaks inside quotes end no row."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 4 << 20
"""Bytes of a block of rows."""

_MOST_BYTES = 1 << 28
"""Bytes of one row at most: where a quote is not closed, everything behind it is one cell."""

_BREAKS = re.compile(rb"\r\n|\n|\r")


class OpenQuoteError(Exception):
    """A quote is not closed; `line` is that of the row in which it is, counted from 1."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


@dataclass(frozen=True)
class RowBytes:
    """Whole rows of a CSV file: where they begin in the file, the number of their first line, and their bytes."""

    offset: int
    line: int
    data: bytes


def blocks_of_rows(stream: IO[bytes], delimiter: str, line: int) -> Iterator[RowBytes]:
    """Yield the rows from the position of a stream on in blocks; `line` is the number of the first line.

    Raises OpenQuoteError.
    """
    offset, data, size = stream.tell(), b"", BLOCK_BYTES
    while True:
        piece = stream.read(size)
        data += piece
        if not piece:
            if data:
                _check_closed(data, delimiter, line)
                yield RowBytes(offset, line, data)
            return
        end = last_row_end(data, delimiter)
        if end == 0:
            if len(data) > _MOST_BYTES:
                _check_closed(data, delimiter, line)
                raise OpenQuoteError(line)
            size = len(data)  # a row that is longer than a block: read as much again
            continue
        rows, data, size = data[:end], data[end:], BLOCK_BYTES
        yield RowBytes(offset, line, rows)
        offset, line = offset + end, line + line_breaks(rows)


def _check_closed(data: bytes, delimiter: str, line: int) -> None:
    """Raise OpenQuoteError where the last quoted cell is not closed."""
    spans = _quoted_spans(data, delimiter)
    if len(spans) and spans[-1, 1] > len(data):
        raise OpenQuoteError(line + line_breaks(data[: spans[-1, 0]]))


def line_breaks(data: bytes) -> int:
    """Return the number of line breaks: LF, CR LF, or CR alone."""
    alone = data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else 0
    return data.count(b"\n") + alone


def last_row_end(data: bytes, delimiter: str) -> int:
    """Return the offset behind the last row that is complete, 0 where none is; a CR at the end may be half a break."""
    if b'"' not in data:
        return max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
    ends = _row_ends(data, delimiter)
    complete = ends[ends < len(data)] if data.endswith(b"\r") else ends
    return int(complete[-1]) if complete.size else 0


def first_row_end(data: bytes, delimiter: str) -> int:
    """Return the offset behind the first row, which may be all of the data."""
    ends = _row_ends(data, delimiter)
    return int(ends[0]) if ends.size else len(data)


def row_lines(data: bytes, delimiter: str) -> npt.NDArray[np.int64]:
    """Return the number of line breaks before every row; lines without any character are no rows."""
    starts = np.concatenate([[0], _row_ends(data, delimiter)])
    breaks = _break_ends(data)
    rows = [int(start) for start in starts if start < len(data) and data[start] not in b"\r\n"]
    return np.array([np.searchsorted(breaks, row, "right") for row in rows], np.int64)


def _row_ends(data: bytes, delimiter: str) -> npt.NDArray[np.int64]:
    """Return the offsets behind the line breaks that are not inside quotes."""
    ends = _break_ends(data)
    spans = _quoted_spans(data, delimiter)
    if not len(spans):
        return ends
    before = np.searchsorted(spans[:, 0], ends, "left") - 1  # the quoted cell that begins before each break ends
    inside: npt.NDArray[np.bool_] = (before >= 0) & (ends < spans[before, 1])
    outside: npt.NDArray[np.int64] = ends[~inside]
    return outside


def _break_ends(data: bytes) -> npt.NDArray[np.int64]:
    if b"\r" not in data:
        return np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).astype(np.int64) + 1
    return np.array([match.end() for match in _BREAKS.finditer(data)], np.int64)


def _quoted_spans(data: bytes, delimiter: str) -> npt.NDArray[np.int64]:
    """Return where the quoted cells begin and end, shape (cells, 2); one that is not closed ends behind the data.

    The first quote begins the cell, and two quotes inside stand for one.
    """
    if b'"' not in data:
        return np.empty((0, 2), np.int64)
    before = re.escape(delimiter.encode())
    pattern = re.compile(rb'"(?<![^' + before + rb'\r\n]")[^"]*+(?:""[^"]*+)*+(?:"|\Z)')
    spans = np.array([match.span() for match in pattern.finditer(data)], np.int64).reshape(-1, 2)
    if len(spans) and data.count(b'"', *spans[-1]) % 2:
        spans[-1, 1] = len(data) + 1
    return spans
