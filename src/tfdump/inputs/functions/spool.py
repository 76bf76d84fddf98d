"""Batches that are read once, in order, into temporary files, from which any of their rows can be read again."""

import math
import os
import shutil
import tempfile
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfdump.byte_sizes import show_bytes
from tfdump.errors import InputError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.functions.columns import ColumnKey, Columns, check_like, rows_in
from tfdump.tensors import Array

MOST_EXAMPLES = 100_000_000
"""Examples after which batches are supposed to have no end."""

_SHARE_OF_DISK = 2
"""Temporary files take at most one part in this many of what is free where they are."""


class Spool:
    """The rows of batches, in temporary files; `count` is how many there are.

    Batches are read up to their end, or up to `most` examples. Raises InputError where they differ in shape, and where
    they have no end or take more than half of the free space.
    """

    def __init__(self, batches: Iterable[Columns], most: int | None, label: str) -> None:
        self.count = 0
        self.first: Columns = {}
        self._label = label
        self._files: dict[ColumnKey, _Numbers | _Texts] = {}
        self._limit = shutil.disk_usage(tempfile.gettempdir()).free // _SHARE_OF_DISK
        for number, columns in enumerate(batches):
            self._add(columns, number, most)
            if most is not None and self.count >= most:
                break
            if self.count > MOST_EXAMPLES:
                raise InputError(
                    f"{label} goes on after {MOST_EXAMPLES:,} examples (if it has no end, bound it: --examples 0:1000)"
                )
        if not self.first:
            raise InputError(f"{label} has no examples (its batches are empty)")
        for file in self._files.values():
            file.flush()

    def read(self, key: ColumnKey, start: int, stop: int) -> Array:
        """Return rows of one column."""
        return self._files[key].read(start, stop)

    def _add(self, columns: Columns, number: int, most: int | None) -> None:
        count = rows_in(columns, self._label)
        if not self.first:
            self.first = columns
            self._files = {key: _Texts() if rows.dtype == object else _Numbers(rows) for key, rows in columns.items()}
            for key, rows in columns.items():
                if rows.dtype == object and rows.ndim > 1 and 0 in rows.shape[1:]:
                    raise InputError(f"{self._label}: {key.words} has the shape {rows.shape}, without any text")
        check_like(columns, self.first, self._label, number)
        count = count if most is None else min(count, most - self.count)
        for key, rows in columns.items():
            self._files[key].append(rows[:count])
        self.count += count
        size = sum(file.size for file in self._files.values())
        if size > self._limit:
            raise InputError(
                f"{self._label} gives more than {show_bytes(self._limit)}, half of what is free in "
                f"{tempfile.gettempdir()}, where batches that can be read only in order are put (bound them: "
                "--examples 0:1000; or return a keras.utils.PyDataset, or take (start, stop) and return these rows)"
            )


class _Numbers:
    """Rows of numbers of one shape and dtype."""

    def __init__(self, rows: Array) -> None:
        self.size = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as rows may be read
        self._dtype, self._shape = rows.dtype, rows.shape[1:]
        self._row_bytes = rows.dtype.itemsize * math.prod(self._shape)

    def append(self, rows: Array) -> None:
        self._file.write(np.ascontiguousarray(rows).tobytes())
        self.size += rows.nbytes

    def flush(self) -> None:
        self._file.flush()

    def read(self, start: int, stop: int) -> Array:
        size = (stop - start) * self._row_bytes
        check_bytes(size, allowed_bytes(), "one batch of rows takes", InputError)
        data = _read(self._file, start * self._row_bytes, size)
        return np.frombuffer(data, self._dtype).reshape(stop - start, *self._shape)


class _Texts:
    """Rows of text, each of one shape; the places of the texts are in memory, eight bytes for each."""

    def __init__(self) -> None:
        self.size = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as rows may be read
        self._ends = array("Q", [0])
        self._shape: tuple[int, ...] = ()

    def append(self, rows: Array) -> None:
        self._shape = rows.shape[1:]
        for text in rows.reshape(-1):
            data = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")
            self._file.write(data)
            self.size += len(data)
            self._ends.append(self.size)

    def flush(self) -> None:
        self._file.flush()

    def read(self, start: int, stop: int) -> Array:
        per_row = math.prod(self._shape)
        ends = self._ends[start * per_row : stop * per_row + 1]
        check_bytes(ends[-1] - ends[0], allowed_bytes(), "one batch of texts takes", InputError)
        data = _read(self._file, ends[0], ends[-1] - ends[0])
        texts = np.empty((stop - start) * per_row, object)
        for place in range(len(texts)):
            texts[place] = data[ends[place] - ends[0] : ends[place + 1] - ends[0]]
        return texts.reshape(stop - start, *self._shape)


def _read(file: Any, start: int, size: int) -> bytes:
    """Return bytes of a temporary file."""
    pieces = []
    while size > 0:
        piece = os.pread(file.fileno(), size, start)
        if not piece:
            raise InputError("a temporary file ended early (was it changed?)")
        pieces.append(piece)
        start, size = start + len(piece), size - len(piece)
    return b"".join(pieces)
