"""The division of a run into ranges of examples: each begins at a multiple of the batch size."""

import re
from dataclasses import dataclass
from itertools import pairwise

from tfdump.dump.shards.manifest import Range
from tfdump.errors import TfdumpError
from tfdump.run.batching import Batches

DEFAULT_SHARDS = 16
"""The number of shards of a run in one process, where nothing else is asked for."""


@dataclass(frozen=True)
class ShardPart:
    """One of `parts` shards; `number` is from 1 to `parts`."""

    number: int
    parts: int

    def __str__(self) -> str:
        """Return `K/N`."""
        return f"{self.number}/{self.parts}"


def parse_part(text: str) -> ShardPart:
    """Parse `K/N`; raises TfdumpError where it is something else, or K is not from 1 to N."""
    numbers = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
    if numbers is None:
        raise TfdumpError(f"--shard '{text}' is not K/N (for example 3/100, the third of 100 shards)")
    number, parts = int(numbers[1]), int(numbers[2])
    if not 1 <= number <= parts:
        raise TfdumpError(f"--shard {number}/{parts}: K is from 1 to N ({number} is not from 1 to {parts})")
    return ShardPart(number, parts)


@dataclass(frozen=True)
class Division:
    """How a run is divided: into so many `parts`, or into shards of `shard_examples`, or into the `usual` number."""

    parts: int | None = None
    shard_examples: int | None = None
    usual: int = DEFAULT_SHARDS

    @property
    def is_default(self) -> bool:
        """Whether nothing is asked for, so that the ranges of a manifest that is there hold."""
        return self.parts is None and self.shard_examples is None


def divide(first_example: int, batches: Batches, division: Division) -> tuple[Range, ...]:
    """Return the ranges of the shards, by the numbers of their examples in the input.

    Parts differ by at most one batch. `shard_examples` is rounded up to the batch size. Raises TfdumpError where there
    are fewer batches than parts.
    """
    count = len(batches)
    if division.shard_examples is not None:
        step = -(-division.shard_examples // batches.size)
        bounds = [*range(0, count, step), count]
    else:
        parts = division.parts or min(division.usual, count)
        if parts > count:
            raise TfdumpError(
                f"--shard K/{parts}: there are {count} batches of {batches.size} examples, and a shard has at least "
                f"one of them (divide by {count} at most, or lower --batch-size)"
            )
        bounds = [part * count // parts for part in range(parts + 1)]
    places = [min(bound * batches.size, batches.examples) for bound in bounds]
    return tuple((first_example + start, first_example + stop) for start, stop in pairwise(places))
