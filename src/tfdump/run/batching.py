"""How many examples to run at once: within the memory that was allowed, and as the model allows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tfdump.errors import TfdumpError

LARGEST_BATCH = 4096
LARGEST_OF_MANY = 16384
MANY_BATCHES = 32
SMALL_PART = 8
"""Above `LARGEST_BATCH`, there are so many batches at least, as few would leave nothing to compute beside the writing,
and they take such a part of the memory at most: what is saved is time between operations, which is much where they are
small."""

TRAINING_BATCH = 32
"""Batch statistics make the result depend on the batch size in training, so there it does not depend on memory."""

DEFAULT_MEMORY = 256 << 20


@dataclass(frozen=True)
class Batches:
    """The division of `examples` into batches of `size`, the last of which may be shorter."""

    size: int
    examples: int

    def __len__(self) -> int:
        return math.ceil(self.examples / self.size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the end of each batch."""
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
    """Return the batch size: the model's own if it is `fixed`, else the `wanted` one, else the largest that fits.

    `bytes_at` tells the bytes that live at once at a batch size; the largest power of two up to 4096 that stays
    within `memory` is taken, at least 1; `most` caps it. Of very many small `examples` it is up to 16384, as
    long as there are 32 batches, of an eighth of `memory` at most. Raises TfdumpError when `wanted` contradicts the
    model.
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
