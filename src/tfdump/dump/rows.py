"""Datasets that are written row by row, in whole chunks, and have no name until they are linked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from tfdump.dump import layout
from tfdump.dump.checksums import crc_of, crc_of_bytes, seal
from tfdump.dump.compression import ChunkQueue, write_chunk
from tfdump.files.byte_strings import are_text, bytes_dtype, read_byte_strings, write_byte_strings
from tfdump.tensors import Array


@dataclass(frozen=True)
class Storage:
    """How values are stored.

    `chunk_bytes` is about the size of a chunk, `filters` are h5py's arguments for the compression. With `checksums`,
    every dataset gets a CRC-32 of its values. With a `queue`, the queue compresses the chunks of numbers instead of
    HDF5.
    """

    chunk_bytes: int = layout.CHUNK_BYTES
    filters: Mapping[str, Any] = field(default_factory=dict)
    checksums: bool = False
    queue: ChunkQueue | None = None

    def drain(self) -> None:
        """Write the chunks that wait in the queue."""
        if self.queue is not None:
            self.queue.drain()

    def close(self) -> None:
        """End the threads of the queue."""
        if self.queue is not None:
            self.queue.close()


class RowDataset:
    """A dataset of shape `(rows, *tail)` that grows along its first axis.

    `rows` is the final number of rows, or None if it is not known. Rows are gathered until a chunk is full. Numbers
    then go to the file as they are, or compressed by the queue, without HDF5's own filters and cache.

    With `steps`, the dataset has the shape `(steps, rows, *tail)` and is filled step by step. All `rows` of a step,
    whose number must be known, arrive before those of the next step, and no chunk holds rows of two steps.
    """

    def __init__(
        self,
        file: h5py.File,
        dtype: np.dtype[Any],
        tail: tuple[int, ...],
        rows: int | None,
        storage: Storage,
        steps: int | None = None,
    ) -> None:
        self.dtype = dtype
        self.tail = tail
        self.written = 0
        self._rows = rows
        self._storage = storage
        self._step = () if steps is None else (0,)
        self._grows = rows is None
        self._checksums = storage.checksums
        self._crc = self._counted = 0
        self._pending: Array | None = None  # a chunk that is not full yet, or the memory for the next one
        self._pending_rows = 0
        shape = (*(() if steps is None else (steps,)), rows or 0, *tail)
        self._empty = math.prod(tail) == 0 or rows == 0 or steps == 0
        self._is_text = h5py.check_string_dtype(dtype) is not None
        self._is_bytes = False
        self._file = file
        if self._empty:
            growth = self._growth(tail, (1, *(n or 1 for n in tail)))
            self.dataset = file.create_dataset(None, shape=shape, dtype=dtype, **growth)
            return
        chunks = layout.chunk_shape(rows, tail, dtype.itemsize, storage.chunk_bytes)
        self._chunk_rows = chunks[0]
        whole_rows = chunks[1:] == tail
        unfiltered = not storage.filters or storage.queue is not None
        self._direct = whole_rows and unfiltered and not self._is_text
        growth = self._growth(tail, chunks) or {"chunks": (*(1 for _ in self._step), *chunks)}
        self._creation = {**growth, **storage.filters}
        self.dataset = file.create_dataset(None, shape=shape, dtype=dtype, **self._creation)

    def _growth(self, tail: tuple[int, ...], chunks: tuple[int, ...]) -> dict[str, Any]:
        return {"maxshape": (None, *(size or None for size in tail)), "chunks": chunks} if self._grows else {}

    def append(self, block: Array) -> None:
        """Add a `block` of shape `(n, *tail)` in the stored dtype; text as bytes, which need not be valid text."""
        if self._is_text and not self._is_bytes and not are_text(block):
            self._become_bytes()
        if self._empty:
            self.written += len(block)
            if self._grows:
                self.dataset.resize(self.written, axis=0)
            return
        position = 0
        while position < len(block):
            take = min(self._chunk_rows - self._pending_rows, len(block) - position)
            piece = block[position : position + take]
            position += take
            if take == self._chunk_rows:
                self._write(piece)
                continue
            if self._pending is None:
                self._pending = np.empty((self._chunk_rows, *self.tail), block.dtype)
            self._pending[self._pending_rows : self._pending_rows + take] = piece
            self._pending_rows += take
            if self._pending_rows == self._chunk_rows:
                self._write_pending()
        if self._step and self.written + self._pending_rows == self._rows:
            self._write_pending()
            self._step, self.written = (self._step[0] + 1,), 0

    def flush(self) -> None:
        """Write the rows that wait for their chunk to fill, and the chunks that wait in the queue."""
        self._write_pending()
        self._storage.drain()

    def _write_pending(self) -> None:
        if self._pending is not None and self._pending_rows:
            count, self._pending_rows = self._pending_rows, 0
            self._write(self._pending[:count])
            if self._storage.queue is not None:  # the queue holds the chunk until it is compressed
                self._pending = None

    def finish(self) -> h5py.Dataset:
        """Write what waits, and return the dataset, with its checksum if checksums are stored."""
        self.flush()
        if not self._empty and not self._direct:
            self.dataset.flush()  # else the last chunks are placed when datasets are closed, in whatever order
        if self._checksums:
            if missing := self.dataset.size - self._counted:  # rows that no batch had are zeros
                self._count(np.full(missing, b"" if self._is_text else 0, object if self._is_text else self.dtype))
            seal(self.dataset, self._crc)
        return self.dataset

    def read(self, start: int, stop: int) -> Array:
        """Return the flushed rows from `start` to `stop`, counted over all steps; they must be in one step."""
        if self._is_bytes:
            return read_byte_strings(self.dataset, slice(start, stop))
        if not self._step:
            return np.asarray(self.dataset[start:stop])
        step, first = divmod(start, self._rows or 1)
        return np.asarray(self.dataset[step, first : first + stop - start])

    def _become_bytes(self) -> None:
        """Copy what was written into a dataset of byte strings, because HDF5 strings cannot hold the new rows.

        Text has no steps, because nothing that is differentiated is text.
        """
        text, written = self.dataset, self.written
        self._is_bytes, self.dtype = True, bytes_dtype()
        self.dataset = self._file.create_dataset(None, shape=text.shape, dtype=self.dtype, **self._creation)
        self.written = self._crc = self._counted = 0
        while self.written < written:
            self._write(np.asarray(text[self.written : min(self.written + self._chunk_rows, written)]))

    def _count(self, rows: Array) -> None:
        """Add rows to the checksum, in the order in which they are stored."""
        if self._checksums:
            self._crc = crc_of_bytes(rows, self._crc) if self._is_bytes else crc_of(rows, self._crc)
            self._counted += rows.size

    def _write(self, rows: Array) -> None:
        start, stop = self.written, self.written + len(rows)
        self._count(rows)
        if self._grows and stop > len(self.dataset):
            self.dataset.resize(stop, axis=0)
        if self._is_bytes:
            write_byte_strings(self.dataset, rows, start)
        elif self._direct:
            if len(rows) < self._chunk_rows:  # the edge chunk: its unused rows must be the same bytes every time
                missing = np.zeros((self._chunk_rows - len(rows), *self.tail), self.dtype)
                rows = np.concatenate([rows, missing])
            put = write_chunk if self._storage.queue is None else self._storage.queue.put
            put(self.dataset, (*self._step, start, *(0 for _ in self.tail)), np.ascontiguousarray(rows))
        else:
            self.dataset[(*self._step, slice(start, stop))] = rows
        self.written = stop
