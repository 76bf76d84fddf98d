"""Watching a model run: every layer and graph node that is called, with its address and what it returned.

The class method `Operation.__call__` of Keras is wrapped while the model runs once; the calls form a stack, and the
stack gives the addresses (DESIGN section 3).
"""

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import Layer, Operation
from keras.layers import RNN, InputLayer
from keras.src.backend.common.keras_tensor import any_symbolic_tensors
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.backend.tensorflow import core
from keras.src.models.functional import Functional

from tfdump.address import output_suffix, segment
from tfdump.model.scopes import valid_name_scopes
from tfdump.model.structure import Owned, class_names, owned_operations, parameter_count
from tfdump.tensors import NotCaptured

Tap = Callable[[Any], Any]
"""Stands between a layer and those that read its output: takes the tensor and returns an equal one."""

_LOOP = "inside a recurrent loop, called once a time step"
_INNER_GRAPH = "inside a loop or branch of the graph, which keeps its tensors"
_NOT_A_TENSOR = "returns no tensor"
_TENSORS = (tf.Tensor, tf.RaggedTensor, tf.SparseTensor)
WATCHING = threading.RLock()
"""Held while Keras's classes are wrapped: one model is watched at a time."""

_NEVER = "never called by the model, unless by its .call directly"


@dataclass(frozen=True)
class Recorded:
    """One output tensor of one call; `tensor` is one of TensorFlow (dense, ragged or sparse), None if not kept."""

    address: str
    layer: str
    structure: str
    classes: tuple[str, ...]
    parameters: int
    tensor: Any


@dataclass
class _Frame:
    """A call that has not returned yet."""

    operation: Operation
    path: str
    hidden: str | None
    calls: dict[int, int]


class Recorder:
    """Records the calls inside one call of `model`; use a new one for every run.

    With `only`, the tensors of other addresses are not kept, so that an eager run can free them; `bytes` counts
    what all of them took, where that is known. With `tap`, the model goes on with what it returns for each tensor.
    """

    def __init__(self, model: Layer, only: frozenset[str] | None = None, tap: Tap | None = None) -> None:
        self._model = model
        self._only = only
        self._tap = tap
        self._owned = owned_operations(model)
        self._stack: list[_Frame] = []
        self._namesakes: dict[tuple[int, str], list[Operation]] = {}  # also keeps what was made in a call alive
        self._calls_in_all: dict[int, int] = {}
        self._paths: dict[int, dict[str, None]] = {}
        self.classes: dict[str, tuple[str, ...]] = {}  # of every call, by its address
        self._missed: dict[str, str] = {}
        self._seen: set[int] = set()
        self._structures: set[str] = set()
        self._graph: Any = None
        self._hiding: str | None = None
        self.records: list[Recorded] = []
        self.bytes = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Wrap Keras's calls in this thread until the body ends."""
        thread = threading.get_ident()
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()

        def watched(operation: Operation, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread or not self._concerns(operation, args, kwargs):
                return original(operation, *args, **kwargs)
            return self._call(original, operation, args, kwargs)

        with WATCHING, valid_name_scopes(), self._without_signature_calls():
            original = Operation.__call__
            Operation.__call__ = watched
            try:
                yield
            finally:
                Operation.__call__ = original

    @contextmanager
    def _without_signature_calls(self) -> Iterator[None]:
        """Hide the call by which Keras's `ops.map` learns the signature of its function."""
        original = core.map

        def mapped(function: Callable[..., Any], elements: Any) -> Any:
            first = True

            def called(element: Any) -> Any:
                nonlocal first
                self._hiding, first = (_INNER_GRAPH if first else None), False
                try:
                    return function(element)
                finally:
                    self._hiding = None

            return original(called, elements)

        core.map = mapped
        try:
            yield
        finally:
            core.map = original

    def not_captured(self) -> tuple[NotCaptured, ...]:
        """Return the calls that gave no tensor and the layers that were never seen, with the reasons."""
        taken = {record.layer for record in self.records}
        missing = {address: reason for address, reason in self._missed.items() if address not in taken}
        for identity, owned in self._owned.items():
            layer = owned.operation
            if isinstance(layer, Layer) and not isinstance(layer, InputLayer) and identity not in self._seen:
                address = self._ownership_address(owned)
                names = itertools.chain([address], (f"{address}~{number}" for number in itertools.count(1)))
                free = next(name for name in names if name not in missing and name not in taken)
                missing[free] = self._reason_of_owners(owned)
        return tuple(NotCaptured(address, reason) for address, reason in missing.items())

    def _concerns(self, operation: Operation, args: Any, kwargs: Any) -> bool:
        """Tell whether a call belongs to the run: not shape inference, and a layer or a node of the graph."""
        if in_symbolic_scope() or any_symbolic_tensors(args, kwargs):
            return False
        if not self._stack:
            return operation is self._model
        if isinstance(operation, Layer):
            return True
        parent = self._stack[-1].operation
        return isinstance(parent, Functional) and any(operation is node for node in parent.operations)

    def _call(self, original: Callable[..., Any], operation: Operation, args: Any, kwargs: Any) -> Any:
        frame = self._enter(operation)
        self._stack.append(frame)
        try:
            outputs = original(operation, *args, **kwargs)
        finally:
            self._stack.pop()
        if frame.operation is self._model and not self._stack:
            return outputs
        return self._keep(frame, outputs)

    def _enter(self, operation: Operation) -> _Frame:
        if not self._stack:
            return _Frame(operation, "", hidden=None, calls={})
        parent = self._stack[-1]
        namesakes = self._namesakes.setdefault((id(parent.operation), operation.name), [])
        namesake = next((number for number, known in enumerate(namesakes) if known is operation), len(namesakes))
        if namesake == len(namesakes):
            namesakes.append(operation)
        hidden = parent.hidden or (_LOOP if isinstance(parent.operation, RNN) else self._hiding)
        call = parent.calls.get(id(operation), 0)
        parent.calls[id(operation)] = call + (hidden is None)
        last = segment(operation.name, namesake, call)
        path = f"{parent.path}.{last}" if parent.path else last
        self._paths.setdefault(id(operation), {})[path] = None
        self.classes[path] = class_names(operation)
        if hidden:
            self._missed.setdefault(path, hidden)
        self._seen.add(id(operation))
        return _Frame(operation, path, hidden, calls={})

    def _keep(self, frame: _Frame, outputs: Any) -> Any:
        """Record the tensors that one call returned; return what the model goes on with."""
        if frame.hidden:
            return outputs
        identity = id(frame.operation)
        number = self._calls_in_all.get(identity, 0)
        self._calls_in_all[identity] = number + 1
        leaves = [(path, as_tensor(leaf)) for path, leaf in keras.tree.flatten_with_path(outputs)]
        tensors = [(path, tensor) for path, tensor in leaves if tensor is not None]
        if not tensors:
            self._missed[frame.path] = _NOT_A_TENSOR
            return outputs
        if not all(self._reachable(tensor) for _, tensor in tensors):
            self._missed[frame.path] = _INNER_GRAPH
            return outputs
        if self._tap is not None:
            outputs, tensors = _tapped(outputs, self._tap)
        owned = self._owned.get(identity)
        structure = self._free_structure(
            (owned.path if owned else f"({frame.path})") + (f"@{number}" if number else "")
        )
        classes = self.classes[frame.path]
        parameters = parameter_count(frame.operation)
        for path, tensor in tensors:
            suffix = output_suffix(path) if len(tensors) > 1 else ""
            address = frame.path + suffix
            kept = tensor if self._only is None or address in self._only else None
            self.bytes += _known_bytes(tensor)
            self.records.append(Recorded(address, frame.path, structure + suffix, classes, parameters, kept))
        return outputs

    def _free_structure(self, structure: str) -> str:
        """Return the structure, made unlike those given before by `~1`, `~2`, ..."""
        names = itertools.chain([structure], (f"{structure}~{number}" for number in itertools.count(1)))
        free = next(name for name in names if name not in self._structures)
        self._structures.add(free)
        return free

    def _reachable(self, tensor: Any) -> bool:
        """Tell whether a tensor can be handed out: it is a value, or belongs to the graph that is being built."""
        parts = tf.nest.flatten(tensor, expand_composites=True)
        return all(isinstance(part, tf.__internal__.EagerTensor) or part.graph is self._graph for part in parts)

    def paths_of(self, operation: Operation) -> list[str]:
        """Return the addresses of the calls of a layer, in order; none where it was not called."""
        return list(self._paths.get(id(operation), ()))

    def _ownership_address(self, owned: Owned) -> str:
        """Return the address that a layer has, or would have had by those who own it."""
        if paths := self.paths_of(owned.operation):
            return paths[0]
        name = segment(owned.operation.name)
        if owned.owner is self._model:
            return name
        return f"{self._ownership_address(self._owned[id(owned.owner)])}.{name}"

    def address_of(self, operation: Operation) -> str:
        """Return the address of a layer: of its first call or, without one, of its ownership; "" for the model."""
        owned = self._owned.get(id(operation))
        return self._ownership_address(owned) if owned is not None else "".join(self.paths_of(operation)[:1])

    @property
    def layers(self) -> list[Owned]:
        """Every layer that the model owns, those that were called first, in the order of their calls."""
        order = {identity: number for number, identity in enumerate(self._paths)}
        owned = [item for item in self._owned.values() if isinstance(item.operation, Layer)]
        return sorted(owned, key=lambda item: order.get(id(item.operation), len(order)))

    def _reason_of_owners(self, owned: Owned) -> str:
        """Return why a layer without a call of its own is missing, as far as its owners tell."""
        if owned.owner is self._model:
            return _NEVER
        if isinstance(owned.owner, RNN):
            return _LOOP
        return self._missed.get("".join(self.paths_of(owned.owner)[:1]), _NEVER)


def _tapped(outputs: Any, tap: Tap) -> tuple[Any, list[tuple[Any, Any]]]:
    """Return a layer's outputs with every tensor replaced by what `tap` makes of it, and the tensors with paths."""
    paths = [path for path, _ in keras.tree.flatten_with_path(outputs)]
    leaves = [tap(leaf) if isinstance(leaf, _TENSORS) else leaf for leaf in keras.tree.flatten(outputs)]
    tensors = [(path, as_tensor(leaf)) for path, leaf in zip(paths, leaves, strict=True)]
    return keras.tree.pack_sequence_as(outputs, leaves), [(path, leaf) for path, leaf in tensors if leaf is not None]


def _known_bytes(tensor: Any) -> int:
    """Return the bytes of a tensor that has a value; 0 for those of a graph, and for text."""
    parts = tf.nest.flatten(tensor, expand_composites=True)
    return sum(math.prod(p.shape) * p.dtype.size for p in parts if isinstance(p, tf.__internal__.EagerTensor))


def as_tensor(leaf: Any) -> Any:
    """Return a leaf of a layer's output as a tensor of TensorFlow, or None when it holds no data."""
    if isinstance(leaf, _TENSORS):
        return leaf
    if isinstance(leaf, tf.IndexedSlices):
        return tf.convert_to_tensor(leaf)
    if isinstance(leaf, keras.Variable):
        return tf.identity(leaf.value)
    if isinstance(leaf, tf.Variable):
        return tf.identity(leaf)
    if isinstance(leaf, (np.ndarray, np.generic, bool, int, float, complex)):
        return tf.convert_to_tensor(leaf)
    return None
