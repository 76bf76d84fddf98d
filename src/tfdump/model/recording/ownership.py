"""The owners of layers in a model, and the paths of Python attributes to them."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import Layer, Operation, Sequential

from tfdump.address import encode, segment
from tfdump.model.any_backend_internals import Functional

_BOOKKEEPING = frozenset({"_layers", "_functional", "_operations", "_nodes", "_inbound_nodes", "_outbound_nodes"})
"""Attributes in which Keras holds the same layers again."""


@dataclass(frozen=True)
class OwnedOperation:
    """An operation of a model: its path of Python attributes from the model, and the operation that holds it."""

    operation: Operation
    path: str
    owner: Operation


def owned_operations(model: Operation) -> dict[int, OwnedOperation]:
    """Return every operation that the model owns, by its id, each with its shortest path of attributes."""
    owned: dict[int, OwnedOperation] = {}
    waiting = deque([(model, "")])
    while waiting:
        owner, prefix = waiting.popleft()
        for name, operation in _children(owner):
            if id(operation) in owned or operation is model:
                continue
            path = f"{prefix}{name}"
            owned[id(operation)] = OwnedOperation(operation, path, owner)
            waiting.append((operation, f"{path}."))
    return owned


def ownership_address(model: Layer, layer: Layer) -> str | None:
    """Return the address of a layer by its owners, from the model down; None where the model does not own it."""
    owned = owned_operations(model)
    names: list[str] = []
    while layer is not model:
        if id(layer) not in owned:
            return None
        names.append(segment(layer.name))
        layer = owned[id(layer)].owner
    return ".".join(reversed(names))


def _children(owner: Operation) -> Iterator[tuple[str, Operation]]:
    """Yield the operations that an operation holds, by the attributes that lead to them; public attributes first."""
    attributes = {
        name: value
        for name, value in _attributes(owner).items()
        if name not in _BOOKKEEPING and not name.startswith("_self_")  # TensorFlow tracks the same objects there
    }
    for name, value in attributes.items():
        if not name.startswith("_"):
            yield from _operations_in(name, value)
    if isinstance(owner, (Functional, Sequential)):
        yield from _operations_in("layers", owner.layers)
    if isinstance(owner, Functional):
        yield from _operations_in("operations", owner.operations)
    for name, value in attributes.items():
        if name.startswith("_"):
            yield from _operations_in(name, value)
    if not isinstance(owner, Sequential):  # its _layers hold the graphs by which it runs itself
        yield from _operations_in("_layers", getattr(owner, "_layers", []))


def _attributes(owner: Operation) -> dict[str, Any]:
    """Return the attributes of an operation; on PyTorch, a layer is a module, which keeps its layers in a dict."""
    attributes = dict(vars(owner))
    if keras.backend.backend() == "torch":
        attributes |= attributes.pop("_modules", {})
    return attributes


def _operations_in(name: str, value: Any, nesting: int = 0) -> Iterator[tuple[str, Operation]]:
    """Yield the operations in an attribute, at up to eight levels of lists, tuples and dicts."""
    if isinstance(value, Operation):
        yield name, value
    elif nesting < 8 and isinstance(value, (list, tuple, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if isinstance(item, (Operation, list, tuple, dict)):  # building names for every item would be slow
                yield from _operations_in(f"{name}.{encode(str(key))}", item, nesting + 1)


def parameter_count(operation: Operation) -> int:
    """Return the number of parameters of a layer and its sublayers; 0 for an operation without weights."""
    if not isinstance(operation, Layer):
        return 0
    return sum(math.prod(weight.shape) for weight in operation.weights)


def class_names(operation: Any) -> tuple[str, ...]:
    """Return the names of the class of a layer and of its bases, nearest first."""
    return tuple(base.__name__ for base in type(operation).__mro__ if base is not object)
