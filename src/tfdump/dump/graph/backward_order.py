"""The order in which a backward pass computes the gradients of a dump."""

from collections.abc import Iterable
from typing import TypeVar

from tfdump.dump import layout
from tfdump.dump.attributes import Named, order_of

Gradient = TypeVar("Gradient", bound=Named)


def backward_order(items: Iterable[Gradient]) -> list[Gradient]:
    """Return the gradients of activations and weights in the order in which a backward pass computes them.

    The gradients of a layer's weights follow the gradient of its output. If the dump does not have that one, they
    follow the weight before them. If there are no gradients of activations, the order is from the last weight to the
    first.
    """
    ordered = sorted(items, key=order_of)
    activations = [item for item in ordered if item.group == layout.ACTIVATION_GRADIENTS]
    layers = {str(item.attributes.get("layer", item.address)): order_of(item) for item in activations}
    keyed = [(-order_of(item), 0, item) for item in activations]
    last = -1.0
    for number, item in enumerate(item for item in ordered if item.group == layout.WEIGHT_GRADIENTS):
        last = layers.get(str(item.attributes.get("layer")), last) if layers else float(number)
        keyed.append((-last, 1, item))
    return [item for _, _, item in sorted(keyed, key=lambda entry: entry[:2])]
