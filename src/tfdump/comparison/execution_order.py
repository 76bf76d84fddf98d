"""The order in which the tensors of a comparison were computed, so that the first one that differs is the cause."""

from collections.abc import Sequence

from tfdump.comparison.pairing import Pair
from tfdump.comparison.sides import Side
from tfdump.dump import layout
from tfdump.dump.attributes import order_of
from tfdump.dump.graph.backward_order import backward_order

_FORWARD = (layout.INPUTS, layout.ACTIVATIONS, "", layout.OUTPUTS)
"""The groups of a forward pass; "" is the group of plain arrays."""


def in_execution_order(pairs: Sequence[Pair], golden: Side, new: Side) -> list[Pair]:
    """Return pairs in the order of the golden side, with those that only the new side has at the end.

    A forward pass runs from the inputs to the outputs. A backward pass begins with the loss and runs from the last
    layer to the first: the gradient of a layer's output, then those of its weights, which follow from it. The gradients
    of the inputs come after these, and the weights of each step last. Plain arrays are placed where the dump has them.
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
            id(item): (_FORWARD.index(item.group) if item.group in _FORWARD else len(_FORWARD), order_of(item))
            for item in side.items
        }
    places = {id(item): place for place, item in enumerate(backward_order(side.items))}
    ranks: dict[int, tuple[float, float]] = {}
    for item in side.items:
        if id(item) in places:
            ranks[id(item)] = (1, places[id(item)])
        else:
            ranks[id(item)] = (2 if item.group == layout.INPUT_GRADIENTS else 3 if item.group else 0, order_of(item))
    return ranks
