"""Arrays that are read in pieces, and the pieces of two arrays side by side."""

import math
from collections.abc import Iterator
from itertools import cycle

import numpy as np

from tfdump.dump.parts import Piecewise
from tfdump.tensors import Array

Block = tuple[tuple[slice, ...], Array, Array]
"""The key of a piece, and its values on both sides."""

_MOST_AHEAD = 32 << 20
"""Larger pieces, which are single chunks that have to be decompressed, are not read ahead, because that takes their
memory.
"""


def blocks_of(golden: Piecewise, new: Piecewise) -> Iterator[Block]:
    """Yield the pieces of both arrays, in reused buffers; a thread reads the next ones unless they are large."""
    most = max(golden.piece_bytes, new.piece_bytes)
    keys = golden.keys(most)
    if math.prod(golden.shape) * golden.dtype.itemsize <= most or most > _MOST_AHEAD:
        buffers = Buffer(golden), Buffer(new)
        yield from ((key, buffers[0].read(key), buffers[1].read(key)) for key in keys)
        return
    from concurrent.futures import ThreadPoolExecutor

    turns = cycle(((Buffer(golden), Buffer(new)), (Buffer(golden), Buffer(new))))

    def read() -> Block | None:
        key = next(keys, None)
        if key is None:
            return None
        old, other = next(turns)
        return key, old.read(key), other.read(key)

    with ThreadPoolExecutor(1, "tfdump-reader") as thread:
        try:
            thread.submit(int)
        except RuntimeError:  # no thread can be started
            yield from iter(read, None)
            return
        block = read()
        while block is not None:
            following = thread.submit(read)
            yield block
            block = following.result()


class Buffer:
    """Memory that holds one piece of an array after another."""

    def __init__(self, source: Piecewise) -> None:
        self._source = source
        self._memory = np.empty(0, source.dtype)

    def read(self, key: tuple[slice, ...]) -> Array:
        """Return one piece, in C order; the next call may overwrite it."""
        shape = tuple(part.stop - part.start for part in key)
        if not shape or self._source.dtype.kind not in "fiu":
            return np.asarray(self._source.read(key), order="C")
        size = math.prod(shape)
        if self._memory.size < size:
            self._memory = np.empty(size, self._source.dtype)
        block = self._memory[:size].reshape(shape)
        self._source.read_into(key, block)
        return block
