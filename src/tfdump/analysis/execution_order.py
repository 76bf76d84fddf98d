"""The order in which the tensors of a comparison came to be, so that the first one that diverges is the cause."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tfdump.analysis.pairing import Pair
from tfdump.analysis.plain_arrays import Item
from tfdump.analysis.sides import Side
from tfdump.dump import layout
from tfdump.dump.tensor import Tensor

Gradient = TypeVar("Gradient", Item, Tensor)

_FORWARD = (layout.INPUTS, layout.ACTIVATIONS, "", layout.OUTPUTS)
"""The groups of a forward pass; "" is that of plain arrays."""


def in_execution_order(pairs: Sequence[Pair], golden: Side, new: Side) -> list[Pair]:
    """Return pairs in the order of the golden side, those that only the new side has at the end.

    A forward pass runs from the inputs to the outputs. A backward pass begins with the loss and runs from the last
    layer to the first: the gradient of a layer's output, then those of its weights, which follow from it; those of
    the inputs come last, and after them the weights of each step. Plain arrays stand where the dump has them.
    """
    leading = new if golden.is_plain and not new.is_plain else golden
    ranks = _ranks(leading)

    def rank(numbered: tuple[int, Pair]) -> tuple[float, ...]:
        number, pair = numbered
        first, second = (pair.new, pair.golden) if leading is new else (pair.golden, pair.new)
        known = next((ranks[id(item)] for item in (first, second) if item is not None and id(item) in ranks), None)
        return (0, *known, number) if known is not None else (1, 0, 0, number)

    return [pair for _, pair in sorted(enumerate(pairs), key=rank)]


def _ranks(side: Side) -> dict[int, tuple[float, float]]:
    """Return the rank of every item of a side, by identity."""
    if side.attributes.get("kind") != layout.GRADIENTS:
        return {
            id(item): (_FORWARD.index(item.group) if item.group in _FORWARD else len(_FORWARD), _order(item))
            for item in side.items
        }
    places = {id(item): place for place, item in enumerate(backward_order(side.items))}
    ranks: dict[int, tuple[float, float]] = {}
    for item in side.items:
        if id(item) in places:
            ranks[id(item)] = (1, places[id(item)])
        else:
            ranks[id(item)] = (2 if item.group == layout.INPUT_GRADIENTS else 3 if item.group else 0, _order(item))
    return ranks


def backward_order(items: Iterable[Gradient]) -> list[Gradient]:
    """Return the gradients of activations and weights in the order in which a backward pass computes them.

    Those of a layer's weights come after that of its output; where that is not in the dump, with the weight before
    them; and where there are no activations, from the last weight to the first.
    """
    found = sorted(items, key=_order)
    activations = [item for item in found if item.group == layout.ACTIVATION_GRADIENTS]
    layers = {str(item.attributes.get("layer", item.address)): _order(item) for item in activations}
    keyed = [(-_order(item), 0, item) for item in activations]
    last = -1.0
    for number, item in enumerate(item for item in found if item.group == layout.WEIGHT_GRADIENTS):
        last = layers.get(str(item.attributes.get("layer")), last) if layers else float(number)
        keyed.append((-last, 1, item))
    return [item for _, _, item in sorted(keyed, key=lambda entry: entry[:2])]


def _order(item: "Item | Tensor") -> float:
    return float(item.attributes.get("order", 0))
