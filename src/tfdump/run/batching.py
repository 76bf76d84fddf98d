"""How many examples to run at once: as many as the memory and the model allow."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tfdump.errors import TfdumpError
from tfdump.tensors import Array, Batch

BatchResult = tuple[list[Any], Array]
"""What a batch gives: one value per tensor, and float64 numbers beside them."""

Compute = Callable[[Batch, int, int], BatchResult]
"""Computes a batch: the arrays of the examples from one number up to, but not including, another."""

LARGEST_BATCH = 4096
LARGEST_OF_MANY = 16384
MANY_BATCHES = 32
SMALL_PART = 8
"""Batches above `LARGEST_BATCH` need at least `MANY_BATCHES` batches and take at most 1 / `SMALL_PART` of the memory.

With few batches, writing could not overlap computing. Large batches save the time between operations, which matters
only where the operations are small.
"""

TRAINING_BATCH = 32
"""The batch size in training mode, where it must not depend on memory: batch statistics depend on the size."""

DEFAULT_MEMORY = 256 << 20


@dataclass(frozen=True)
class Batches:
    """The division of `examples` into batches of `size`, the last of which may be shorter.

    They may be a part of the batches of a whole run: `before` is the number of batches of that run before the first
    one, and `whole` the number of all, None where these are all.
    """

    size: int
    examples: int
    before: int = 0
    whole: int | None = None

    @property
    def in_whole_run(self) -> int:
        """The number of batches of the whole run."""
        return len(self) if self.whole is None else self.whole

    def __len__(self) -> int:
        return math.ceil(self.examples / self.size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the number of the first example of each batch, and the number behind its last one."""
        for start in range(0, self.examples, self.size):
            yield start, min(start + self.size, self.examples)


def choose_batch_size(
    wanted: int | None,
    fixed: int | None,
    training: bool,
    memory: int,
    bytes_at: Callable[[int], int],
    most: int | None = None,
    examples: int = 0,
) -> int:
    """Return the batch size: the `fixed` one of the model, else the `wanted` one, else the largest that fits.

    `bytes_at` returns the bytes that live at once at a batch size. Without `wanted`, the size is the largest power of
    two, from 1 to 4096, that stays within `memory`; `most` is an upper limit. For at least half a million small
    `examples` it goes up to 16384, as long as there are at least 32 batches that take at most an eighth of `memory`.
    Raises TfdumpError where `wanted` contradicts the model.
    """
    if fixed is not None:
        if wanted not in (None, fixed):
            raise TfdumpError(f"the model has a fixed batch size of {fixed} (leave --batch-size out)")
        return fixed
    if wanted is not None:
        return wanted
    if training:
        return TRAINING_BATCH
    size = most or LARGEST_BATCH
    while size > 1 and bytes_at(size) > memory:
        size //= 2
    if size == LARGEST_BATCH and most is None:
        most = min(LARGEST_OF_MANY, examples // MANY_BATCHES)
        while 2 * size <= most and bytes_at(2 * size) <= memory // SMALL_PART:
            size *= 2
    return size
