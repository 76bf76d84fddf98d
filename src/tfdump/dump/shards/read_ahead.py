"""The next rows of an array of a shard, read by a thread while the ones before are written."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

import h5py
import numpy as np

from tfdump.dump.parts import Part
from tfdump.errors import DumpError
from tfdump.tensors import Array

Rows = tuple[int, int]
"""The first row of a block, and the row after its last one."""


@dataclass(frozen=True)
class _Chunks:
    """Where the chunks of whole rows of a dataset begin in its open file."""

    handle: int
    rows: int
    offsets: tuple[int, ...]


def blocks_ahead(part: Part, blocks: Sequence[Rows], thread: ThreadPoolExecutor) -> Iterator[Array]:
    """Yield blocks of rows of numbers. Each changes when the next one is asked for.

    They are read from the file itself where its chunks hold whole rows as they are in memory, else by HDF5. Raises
    DumpError where the file ends before them.
    """
    chunks, most = _chunks_of(part.dataset), max(stop - start for start, stop in blocks)
    buffers = [np.empty((most, *part.shape[1:]), part.dtype) for _ in blocks[:2]]
    if chunks is None:
        for start, stop in blocks:
            block = buffers[0][: stop - start]
            part.read_into((slice(start, stop),), block)
            yield block
        return
    read = partial(_read, part.dataset, chunks)
    block = read(blocks[0], buffers[0])
    for number, rows in enumerate(blocks[1:], 1):
        reading = thread.submit(read, rows, buffers[number % 2])
        try:
            yield block
        finally:
            wait([reading])
        block = reading.result()
    yield block


def _read(dataset: h5py.Dataset, chunks: _Chunks, rows: Rows, buffer: Array) -> Array:
    """Fill the beginning of a buffer with rows, and return it."""
    start, stop = rows
    block = buffer[: stop - start]
    row_bytes = block.nbytes // len(block)
    memory, done = block.reshape(-1).view(np.uint8).data, 0
    while start < stop:
        number, inside = divmod(start, chunks.rows)
        count = min(stop - start, chunks.rows - inside)
        end, place = done + count * row_bytes, chunks.offsets[number] + inside * row_bytes
        while done < end:
            got = os.preadv(chunks.handle, [memory[done:end]], place)
            if not got:
                name = f"{dataset.file.filename}: '{dataset.name}'"
                raise DumpError(f"{name} is damaged: the file ends before its values (remove it, and make it again)")
            done, place = done + got, place + got
        start += count
    return block


def _chunks_of(dataset: h5py.Dataset) -> _Chunks | None:
    """Return where the rows are, or None where only HDF5 can read them."""
    if dataset.chunks is None or dataset.chunks[1:] != dataset.shape[1:] or not hasattr(os, "preadv"):
        return None
    if dataset.id.get_create_plist().get_nfilters() or not dataset.dtype.isnative:
        return None
    rows = dataset.chunks[0]
    offsets = [
        dataset.id.get_chunk_info_by_coord((start, *(0 for _ in dataset.shape[1:]))).byte_offset
        for start in range(0, dataset.shape[0], rows)
    ]
    return None if None in offsets else _Chunks(dataset.file.id.get_vfd_handle(), rows, tuple(offsets))
