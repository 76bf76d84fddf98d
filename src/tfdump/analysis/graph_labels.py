"""What a dump tells of the graph of a model: for each tensor, a number for all that leads to it, and all that follows.

Two tensors with equal numbers stand at the same place in graphs of equal classes and shapes, whatever their names.
"""

import json
from collections.abc import Hashable, Sequence

from tfdump.analysis.plain_arrays import Item

Labels = dict[str, tuple[int, int]]
"""By address: the number of what leads to the tensor, and of what follows from it."""


def graph_labels(*sides: Sequence[Item]) -> list[Labels]:
    """Return the labels of the activations of each side; none where one has no attribute `inputs`.

    The numbers are comparable between the sides of one call. Items stand in the order of execution.
    """
    if not all(any("inputs" in item.attributes for item in side) for side in sides):
        return [{} for _ in sides]
    known: dict[Hashable, int] = {}
    return [_labels(side, known) for side in sides]


def _labels(items: Sequence[Item], known: dict[Hashable, int]) -> Labels:
    def label(*parts: Hashable) -> int:
        return known.setdefault(parts, len(known) + 1)

    ahead: dict[str, int] = {}
    reads: dict[str, list[str]] = {}
    for item in items:
        reads[item.address] = inputs_of(item)
        leading = tuple(ahead.get(name, 0) for name in reads[item.address])
        ahead[item.address] = label("ahead", _kind(item), leading)
    behind: dict[str, int] = {}
    readers: dict[str, list[tuple[int, int]]] = {}
    for item in reversed(items):
        following = tuple(sorted(readers.get(item.address, ())))
        behind[item.address] = label("behind", _kind(item), following)
        for place, name in enumerate(reads[item.address]):
            readers.setdefault(name, []).append((place, behind[item.address]))
    return {item.address: (ahead[item.address], behind[item.address]) for item in items}


def inputs_of(item: Item) -> list[str]:
    """Return the addresses of the tensors that a layer read; none where the dump does not tell."""
    text = item.attributes.get("inputs")
    try:
        names = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _kind(item: Item) -> Hashable:
    return (str(item.attributes.get("class", "")), item.shape)
