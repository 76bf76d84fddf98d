"""Compresses chunks on all cores while the model runs, and writes them in the order in which they arrive.

HDF5 runs its filters under a lock, on the writing thread. Its gzip and zstd filters turn a chunk into a zlib stream or
a zstd frame. Here threads make these streams and frames, which are then written as they are.
"""

import importlib
import threading
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h5py
from h5py._objects import phil

from tfdump.errors import DumpError
from tfdump.process.machine import cores
from tfdump.tensors import Array

COMPRESSIONS = ("none", "gzip", "zstd")

GZIP_LEVEL, ZSTD_LEVEL = 1, 3

BACKLOG = 16
"""The number of chunks that wait to be written. A fixed number, and not a time, makes the order in the file
repeatable.
"""

Compress = Callable[[Array], bytes]


def filters_for(compression: str) -> tuple[dict[str, Any], Compress | None]:
    """Return h5py's arguments for a compression, and the function that compresses a chunk (None for `none`).

    Raises DumpError if zstd is not installed.
    """
    if compression == "gzip":
        return {"compression": "gzip", "compression_opts": GZIP_LEVEL}, _gzip
    if compression == "zstd":
        try:
            filters = dict(importlib.import_module("hdf5plugin").Zstd(clevel=ZSTD_LEVEL))
            return filters, _zstd(importlib.import_module("zstandard"))
        except ImportError:
            raise DumpError("--compression zstd needs the extra: pip install 'tfdump[zstd]'") from None
    return {}, None


def _gzip(chunk: Array) -> bytes:
    return zlib.compress(chunk.data, GZIP_LEVEL)


def _zstd(zstandard: Any) -> Compress:
    compressors = threading.local()  # one compressor serves one thread at a time

    def compress(chunk: Array) -> bytes:
        if not hasattr(compressors, "own"):
            compressors.own = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        return bytes(compressors.own.compress(chunk.data))

    return compress


class ChunkQueue:
    """Compresses chunks on threads, and writes them in the order in which they were put.

    Only one thread at a time may use it.
    """

    def __init__(self, compress: Compress) -> None:
        self._compress = compress
        self._waiting: deque[tuple[h5py.Dataset, tuple[int, ...], Future[bytes]]] = deque()
        self._threads: ThreadPoolExecutor | None = None

    def put(self, dataset: h5py.Dataset, offset: tuple[int, ...], chunk: Array) -> None:
        """Take one whole chunk, C-contiguous; write the oldest chunks if too many wait."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(cores(), "tfdump-compress")
        self._waiting.append((dataset, offset, self._threads.submit(self._compress, chunk)))
        while len(self._waiting) > BACKLOG:
            self._write_oldest()

    def drain(self) -> None:
        """Write all chunks that wait."""
        while self._waiting:
            self._write_oldest()

    def close(self) -> None:
        """Discard the chunks that wait, and end the threads."""
        self._waiting.clear()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def _write_oldest(self) -> None:
        dataset, offset, compressed = self._waiting.popleft()
        write_chunk(dataset, offset, compressed.result())


def write_chunk(dataset: h5py.Dataset, offset: tuple[int, ...], chunk: Any) -> None:
    """Write the bytes of one chunk as they are, without HDF5's filters and cache."""
    with phil:  # h5py does not lock around this call, and HDF5 is not thread-safe
        dataset.id.write_direct_chunk(offset, chunk)
