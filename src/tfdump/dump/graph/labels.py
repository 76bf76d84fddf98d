"""Labels of the tensors in the graph of a model: one number for all that leads to a tensor, one for all that follows.

Two tensors with equal numbers have the same place in graphs of equal classes and shapes, whatever their names are.
"""

import json
from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from tfdump.dump import layout

Labels = dict[str, tuple[int, int]]
"""By address: the numbers of what leads to the tensor and of what follows from it, 0 if that is not known."""


class ShapedTensor(Protocol):
    """The part of a tensor, of a dump or of a comparison, that the labels need."""

    address: str
    attributes: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""


_INPUTS = f"{layout.INPUTS}/"


def graph_labels(*sides: Sequence[ShapedTensor]) -> list[Labels]:
    """Return the labels of the activations of each side, which are in the order of execution.

    The numbers can be compared between the sides of one call.
    """
    known: dict[Hashable, int] = {}
    return [_labels(side, known) for side in sides]


def _labels(items: Sequence[ShapedTensor], known: dict[Hashable, int]) -> Labels:
    def label(*parts: Hashable) -> int:
        return known.setdefault(parts, len(known) + 1)

    ahead: dict[str, int] = {}
    for item in items:
        read = inputs_of(item)
        leading = [label("input") if name.startswith(_INPUTS) else ahead.get(name, 0) for name in read or ()]
        ahead[item.address] = 0 if read is None or 0 in leading else label("ahead", _kind(item), tuple(leading))
    behind: dict[str, int] = {}
    readers: dict[str, list[tuple[int, int]]] = {}
    complete = True  # a tensor whose inputs are not known may have read any tensor before it
    for item in reversed(items):
        following = tuple(sorted(readers.get(item.address, ())))
        is_known = complete and all(number for _, number in following)
        behind[item.address] = label("behind", _kind(item), following) if is_known else 0
        read = inputs_of(item)
        complete = complete and read is not None
        for place, name in enumerate(read or ()):
            readers.setdefault(name, []).append((place, behind[item.address]))
    return {item.address: (ahead[item.address], behind[item.address]) for item in items}


def inputs_of(item: ShapedTensor) -> list[str] | None:
    """Return the addresses of the tensors that a layer read, or None if the dump does not say."""
    text = item.attributes.get("inputs")
    try:
        names = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _kind(item: ShapedTensor) -> Hashable:
    return (str(item.attributes.get("class", "")), item.shape)
