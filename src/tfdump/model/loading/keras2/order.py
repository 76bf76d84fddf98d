"""The order in which Keras 2 had the layers of a model, by which its files identify weights."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import keras
from keras import Layer

from tfdump.model.any_backend_internals import Functional

Orders = Mapping[str, list[dict[str, str]]]
"""For each name of a model, the names of the layers with their classes, in the order of Keras 2.

Several models may have one name, so there is a list for each name.
"""


def orders_of(config: Any) -> Orders:
    """Return the order of the layers of every model in a configuration of Keras 2, which is that of the file."""
    orders: dict[str, list[dict[str, str]]] = {}
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            inner = node.get("config")
            if isinstance(inner, dict) and isinstance(inner.get("layers"), list):
                layers = [layer for layer in inner["layers"] if _is_object(layer)]
                order = {str(layer["config"].get("name")): str(layer.get("class_name")) for layer in layers}
                orders.setdefault(str(inner.get("name")), []).append(order)
        waiting.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
    return orders


def layers_in_order(layer: Layer, orders: Orders) -> list[Layer]:
    """Return the layers directly inside a layer in the order of Keras 2."""
    return [inner for inner, _ in places_in_order(layer, orders) if inner is not None]


def places_in_order(layer: Layer, orders: Orders) -> list[tuple[Layer | None, str]]:
    """Return the layers directly inside a layer in the order of Keras 2, each with the name of its class.

    The order of a functional or sequential model is in its configuration; other layers tracked theirs by attributes.
    None replaces a layer that led to no output, which the Keras 3 model does not have.
    """
    if not isinstance(layer, (Functional, keras.Sequential)):
        return [(inner, type(inner).__name__) for inner in _by_attributes(layer)]
    layers = {inner.name: inner for inner in layer.layers}
    order = next((names for names in orders.get(layer.name, ()) if layers.keys() <= names.keys()), None)
    if order is None:
        return [(inner, type(inner).__name__) for inner in layer.layers]
    classes = {name: type(layers[name]).__name__ if name in layers else kind for name, kind in order.items()}
    return [(layers.get(name), kind) for name, kind in classes.items()]


def legacy_weights(layer: Layer, orders: Orders) -> list[Any]:
    """Return the weights of a layer in the order of a legacy file of Keras 2: the trainable ones come first."""
    return [*_weights(layer, orders, trained=True), *_weights(layer, orders, trained=False)]


def _weights(layer: Layer, orders: Orders, trained: bool) -> list[Any]:
    """Return the trainable weights of a layer and its sublayers, or those that are not trainable."""
    theirs = list(layer.trainable_weights if trained else layer.non_trainable_weights)
    inner = [] if _is_of_keras(layer) else layers_in_order(layer, orders)
    if not inner:
        return theirs
    below = {id(weight) for one in inner for weight in one.weights}
    own = [weight for weight in theirs if id(weight) not in below]
    weights = [*own, *(weight for one in inner for weight in _weights(one, orders, trained))]
    unique = list({id(weight): weight for weight in weights}.values())
    wanted = {id(weight) for weight in theirs}
    return unique if {id(weight) for weight in unique} == wanted else theirs


def _is_of_keras(layer: Layer) -> bool:
    """Tell whether a layer is part of Keras and not a model: it creates its weights in a fixed order."""
    models = isinstance(layer, (Functional, keras.Sequential))
    return type(layer).__module__.partition(".")[0] == "keras" and not models


def _by_attributes(layer: Layer) -> Iterator[Layer]:
    """Yield the layers inside a layer in the order of its attributes, those in a dictionary by their keys."""
    known, done = {id(one) for one in layer._layers}, set()
    waiting = [value for name, value in reversed(vars(layer).items()) if _is_own(name)]
    while waiting:
        value = waiting.pop()
        if id(value) in done:
            continue
        done.add(id(value))
        if id(value) in known:
            yield value
        elif isinstance(value, (list, tuple)):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            waiting.extend(value[key] for key in sorted(value, key=str, reverse=True))


def _is_own(attribute: str) -> bool:
    """Tell whether an attribute is of the class itself; Keras and TensorFlow add some that hold all layers."""
    return not attribute.startswith("_self_") and attribute not in _of_every_layer()


@cache
def _of_every_layer() -> frozenset[str]:
    return frozenset(vars(keras.Model()))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("config"), dict)
