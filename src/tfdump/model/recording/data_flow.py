"""The inputs of each call: the addresses of its arguments, or of the nearest recorded tensors before them."""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfdump.dump.layout import INPUTS
from tfdump.model.any_backend_internals import get_keras_mask
from tfdump.model.operations.roles import SHAPE_ONLY
from tfdump.model.recording.tensors import TENSORS, copy_with_notes
from tfdump.model.tensorflow_internals import EagerTensor

TensorKey = str | int | None
"""What identifies a tensor: its name in a graph, the identity of an eager tensor, or None for one of another graph."""


class DataFlow:
    """The origins of the tensors of one run; `graph` is the one that is being built, None for an eager run.

    Eager tensors do not hold what they were computed from, so an eager run knows recorded tensors only.
    """

    def __init__(
        self,
        graph: Any,
        inputs: Mapping[str, Any],
        addresses: Mapping[TensorKey, str] | None = None,
        composites: Mapping[tuple[TensorKey, ...], str] | None = None,
    ) -> None:
        self._graph = graph
        self._addresses: dict[TensorKey, str] = dict(addresses or {})
        self._composites = dict(composites or {})  # of ragged and sparse tensors, which can share parts
        self._behind: dict[str, tuple[str, ...]] = {}
        for name, tensor in inputs.items():
            self.add(f"{INPUTS}/{name}", tensor)

    def add(self, address: str, tensor: Any) -> None:
        """Note the address of a tensor; the latest one counts.

        The first one counts for a part of a ragged or sparse tensor, since a layer may change the values alone.
        """
        parts = _parts(tensor)
        keys = tuple(self._key(part) for part in parts)
        if len(parts) > 1:
            self._composites[keys] = address
        for part, key in zip(parts, keys, strict=True):
            if key is None:
                continue
            if len(parts) == 1 or key not in self._addresses:
                self._addresses[key] = address
            if isinstance(part, EagerTensor):  # a later tensor may have the same id
                weakref.finalize(part, self._addresses.pop, key, None)
                weakref.finalize(part, self._composites.pop, keys, None)

    def address(self, tensor: Any) -> str | None:
        """Return the address of a tensor of the graph that has one."""
        return self._addresses.get(self._key(tensor))

    def is_input(self, tensor: Any) -> bool:
        """Tell whether a tensor is an input of the model."""
        return (self.address(tensor) or "").startswith(f"{INPUTS}/")

    def extended(self, tensors: Mapping[str, Any]) -> "DataFlow":
        """Return a flow in which tensors have addresses beside those of this one."""
        flow = DataFlow(self._graph, {}, self._addresses, self._composites)
        for address, tensor in tensors.items():
            flow.add(address, tensor)
        return flow

    def read_by(self, tensors: Iterable[Any], masks: Iterable[Any] = ()) -> tuple[str, ...] | None:
        """Return the addresses of the tensors that a call reads, in order, each once; None where they are unknown.

        A mask counts only if it is recorded itself, as it may be in functional models.
        """
        addresses: dict[str, None] = {}
        for tensor in tensors:
            parts = _parts(tensor)
            composite = self._composites.get(tuple(self._key(part) for part in parts))
            for sources in [(composite,)] if composite else [self._sources(part) for part in parts]:
                if sources is None:
                    return None
                addresses.update(dict.fromkeys(sources))
        keys = [self._key(part) for mask in masks for part in _parts(mask)]
        addresses.update(dict.fromkeys(self._addresses[key] for key in keys if key in self._addresses))
        return tuple(addresses)

    def _key(self, part: Any) -> TensorKey:
        if isinstance(part, EagerTensor):
            return id(part) if self._graph is None else None
        return part.name if part.graph is self._graph else None

    def _sources(self, part: Any) -> tuple[str, ...] | None:
        if isinstance(part, EagerTensor) and self._graph is not None:
            return ()  # a constant of the graph
        key = self._key(part)
        if key is None:
            return None
        if key in self._addresses:
            return (self._addresses[key],)
        return None if self._graph is None else self._walk(part.op)

    def _walk(self, operation: Any) -> tuple[str, ...]:
        """Return the addresses of the nearest recorded tensors before an operation of the graph."""
        waiting, entered = [operation], set()
        while waiting:
            current = waiting[-1]
            inputs = values_read(current)
            before = [tensor.op for tensor in inputs if tensor.name not in self._addresses]
            unknown = [earlier for earlier in before if earlier.name not in self._behind]
            if unknown and current.name not in entered and current.name not in self._behind:
                entered.add(current.name)
                waiting.extend(reversed(unknown))
                continue
            waiting.pop()
            if current.name not in self._behind:
                addresses: dict[str, None] = {}
                for tensor in inputs:
                    own = self._addresses.get(tensor.name)
                    addresses.update(dict.fromkeys((own,) if own else self._behind.get(tensor.op.name, ())))
                self._behind[current.name] = tuple(addresses)
        return self._behind[operation.name]


def values_read(operation: Any) -> list[Any]:
    """Return the tensors on whose values the outputs of an operation of a graph depend."""
    return [] if operation.type in SHAPE_ONLY else list(operation.inputs)


def graph_parts(tensor: Any) -> list[Any]:
    """Return the tensors of a graph that a dense, ragged or sparse tensor consists of."""
    return [part for part in _parts(tensor) if isinstance(part, tf.Tensor) and not isinstance(part, EagerTensor)]


def tensors_read(args: Any, kwargs: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the tensors among the arguments of a call, in order, and the masks that Keras passes beside them.

    Masks are arguments named `mask` or `..._mask` of a call on tensors to which Keras has attached a mask.
    """
    masks = {name: value for name, value in kwargs.items() if name == "mask" or name.endswith("_mask")}
    data = _tensors_in([*args, *(value for name, value in kwargs.items() if name not in masks)])
    if any(get_keras_mask(tensor) is not None for tensor in data):
        return data, _tensors_in(list(masks.values()))
    return _tensors_in([*args, *kwargs.values()]), []


def _tensors_in(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, TENSORS)]


def set_apart(outputs: Any, tensors: Iterable[Any]) -> Any:
    """Return the outputs of a call, with copies of those that are among the tensors that it read.

    A layer may return its own input (dropout at inference), but a tensor can have only one address.
    """
    read = {id(tensor) for tensor in tensors}
    if not any(id(leaf) in read for leaf in keras.tree.flatten(outputs)):
        return outputs
    return keras.tree.map_structure(lambda leaf: copy_with_notes(leaf) if id(leaf) in read else leaf, outputs)


def _parts(tensor: Any) -> list[Any]:
    return list(tf.nest.flatten(tensor, expand_composites=True))
