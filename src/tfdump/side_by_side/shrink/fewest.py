"""The fewest examples with which something still fails.

This is the algorithm `ddmin` of Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise


def fewest_examples(examples: Sequence[int], fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """Return a part of the examples with which `fails` is still true, and without any of which it is not.

    `fails` is true of all of them.
    """
    remaining, parts = list(examples), 2
    while len(remaining) > 1:
        chunks = _chunks(remaining, parts)
        smaller = next((chunk for chunk in chunks if fails(chunk)), None)
        if smaller is not None:
            remaining, parts = smaller, 2
            continue
        rest = None
        if parts > 2:
            others = ([one for one in remaining if one not in chunk] for chunk in chunks)
            rest = next((other for other in others if fails(other)), None)
        if rest is not None:
            remaining, parts = rest, max(parts - 1, 2)
        elif parts < len(remaining):
            parts = min(2 * parts, len(remaining))
        else:
            break
    return remaining


def _chunks(values: list[int], parts: int) -> list[list[int]]:
    bounds = [len(values) * number // parts for number in range(parts + 1)]
    return [values[start:stop] for start, stop in pairwise(bounds)]
