"""Watching a model run: every layer and graph node that is called, with its address and what it returned.

The class method `Operation.__call__` of Keras is wrapped while the model runs once; the calls form a stack, and the
stack gives the addresses (DESIGN section 3).
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf
from keras import Layer, Operation
from keras.layers import RNN, GroupQueryAttention, InputLayer, MultiHeadAttention

from tfdump.address import encode, output_suffix, segment
from tfdump.captures import NOTHING_MORE, Captures, option_for
from tfdump.model.frames import INNER_GRAPH, Frame, Recorded
from tfdump.model.hooks import hooks_for
from tfdump.model.keras_internals import Functional, any_symbolic_tensors, in_symbolic_scope
from tfdump.model.layer_axes import axis_attributes
from tfdump.model.leaves import TENSORS, as_tensor, belongs_to, known_bytes, obstacle_of, obstacles_in, tensors_in
from tfdump.model.replacing import replaced
from tfdump.model.scopes import valid_name_scopes
from tfdump.model.steps import Book, RecordedSteps
from tfdump.model.structure import Owned, class_names, owned_operations, parameter_count
from tfdump.tensors import NotCaptured

Tap = Callable[[Any], Any]
"""Stands between a layer and those that read its output: takes the tensor and returns an equal one."""

WATCHING = threading.RLock()
"""Held while Keras's classes are wrapped: one model is watched at a time."""

_LOOP = "inside a recurrent loop, called once a time step"
_FUSED = "not called: Keras computes attention in one fused operation"
_NOT_A_TENSOR = "returns no tensor"
_NEVER = "never called by the model"
_PYTHON = "never called, or within tf.py_function, which --eager sees"


class Recorder:
    """Records the calls inside one call of `model`; use a new one for every run.

    With `only`, the tensors of other addresses are not kept, so that an eager run can free them; `bytes` counts
    what all of them took, where that is known. With `tap`, the model goes on with what it returns for each tensor.
    `captures` asks for more than what the layers return.
    """

    def __init__(
        self,
        model: Layer,
        only: frozenset[str] | None = None,
        tap: Tap | None = None,
        captures: Captures = NOTHING_MORE,
    ) -> None:
        self._model = model
        self._only = only
        self._tap = tap
        self._owned = owned_operations(model)
        owned_layers = (owned.operation for owned in self._owned.values() if isinstance(owned.operation, Layer))
        self._hooks = hooks_for(self, owned_layers, captures)
        self._loop = _LOOP + _advice("states", captures.rnn_steps)
        self._fused = _FUSED + _advice("attention_scores", captures.attention)
        self._thread = threading.get_ident()
        self._namesakes: dict[tuple[int, str], list[Operation]] = {}  # also keeps what was made in a call alive
        self._paths: dict[int, dict[str, None]] = {}
        self._missed: dict[str, str] = {}
        self._seen: set[int] = set()
        self._graph: Any = None
        self.classes: dict[str, tuple[str, ...]] = {}  # of every call, by its address
        self.frames: list[Frame] = []
        self.hiding: str | None = None
        self.book = Book()
        self.bytes = 0

    @property
    def records(self) -> list[Recorded]:
        """What was recorded, in order."""
        return self.book.records

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Wrap Keras's calls in this thread until the body ends."""
        self._thread = threading.get_ident()
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        with ExitStack() as stack:
            stack.enter_context(WATCHING)
            stack.enter_context(valid_name_scopes())
            original = Operation.__call__

            def watched(operation: Operation, *args: Any, **kwargs: Any) -> Any:
                if not self._concerns(operation, args, kwargs):
                    return original(operation, *args, **kwargs)
                return self.call(original, operation, args, kwargs)

            stack.enter_context(replaced(Operation, "__call__", watched))
            for hook in self._hooks:
                stack.enter_context(hook.installed())
            yield

    def not_captured(self) -> tuple[NotCaptured, ...]:
        """Return the calls that gave no tensor and the layers that were never seen, with the reasons."""
        taken = self.book.returned
        missing = {address: reason for address, reason in self._missed.items() if address not in taken}
        for identity, owned in self._owned.items():
            layer = owned.operation
            if isinstance(layer, Layer) and not isinstance(layer, InputLayer) and identity not in self._seen:
                address = self._ownership_address(owned)
                names = itertools.chain([address], (f"{address}~{number}" for number in itertools.count(1)))
                free = next(name for name in names if name not in missing and name not in taken)
                missing[free] = self._reason_of_owners(owned)
        return tuple(NotCaptured(address, reason) for address, reason in missing.items())

    def miss(self, address: str, reason: str) -> None:
        """Name what was not captured."""
        self._missed.setdefault(address, reason)

    def steps(self) -> RecordedSteps:
        """Begin a loop within the innermost call, of which each step is recorded by itself."""
        return RecordedSteps(self, self.frames[-1])

    @property
    def current(self) -> Frame | None:
        """The innermost call that has not returned; None outside the run: in shape inference, in other threads."""
        if not self.frames or threading.get_ident() != self._thread or in_symbolic_scope():
            return None
        return self.frames[-1]

    def add(self, frame: Frame, word: str, tensor: Any, path: Sequence[str | int] = ()) -> None:
        """Record a tensor of a call beside its outputs, under the reserved suffix `word` and a path behind it.

        Further ones of the same suffix in one call get `.1`, `.2`, ... behind it.
        """
        suffix = ":" + ".".join([word, *(encode(str(part)) for part in path)])
        number = frame.extras[suffix]
        frame.extras[suffix] += 1
        suffix += f".{number}" if number else ""
        obstacle = frame.hidden or self.hiding or obstacle_of(tensor)
        if obstacle or not belongs_to(tensor, self._graph):
            self.miss(frame.path + suffix, obstacle or INNER_GRAPH)
            return
        self._record(frame, suffix, tensor)

    def _record(self, frame: Frame, suffix: str, tensor: Any) -> None:
        address = frame.path + suffix
        kept = tensor if self._only is None or address in self._only else None
        self.bytes += known_bytes(tensor)
        classes, parameters = class_names(frame.operation), parameter_count(frame.operation)
        structure, axes = frame.structure + suffix, axis_attributes(frame.operation)
        self.book.records.append(Recorded(address, frame.path, structure, classes, parameters, kept, attributes=axes))

    def _concerns(self, operation: Operation, args: Any, kwargs: Any) -> bool:
        """Tell whether a call belongs to the run: not shape inference, and a layer or a node of the graph."""
        if threading.get_ident() != self._thread or in_symbolic_scope() or any_symbolic_tensors(args, kwargs):
            return False
        if not self.frames:
            return operation is self._model
        if isinstance(operation, Layer):
            return True
        parent = self.frames[-1].operation
        return isinstance(parent, Functional) and any(operation is node for node in parent.operations)

    def call(self, function: Callable[..., Any], operation: Operation, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Call `function(operation, ...)`, recorded as a call of the operation; return what the model goes on with."""
        frame = self._enter(operation)
        with ExitStack() as stack:
            self.frames.append(frame)
            stack.callback(self.frames.pop)
            hooks = [] if frame.hidden else self._hooks
            for hook in hooks:
                stack.enter_context(hook.around(frame, args, kwargs))
            outputs = function(operation, *args, **kwargs)
            for hook in hooks:
                hook.returned(frame, outputs)
        return self._keep(frame, outputs) if self.frames else outputs

    def _enter(self, operation: Operation) -> Frame:
        if not self.frames:
            return Frame(operation, "")
        parent = self.frames[-1]
        namesakes = self._namesakes.setdefault((id(parent.operation), operation.name), [])
        namesake = next((number for number, known in enumerate(namesakes) if known is operation), len(namesakes))
        if namesake == len(namesakes):
            namesakes.append(operation)
        hidden = parent.hidden or (self._loop if isinstance(parent.operation, RNN) else self.hiding)
        call = parent.calls.get(id(operation), 0)
        parent.calls[id(operation)] = call + (hidden is None)
        last = segment(operation.name, namesake, call)
        path = f"{parent.path}.{last}" if parent.path else last
        self._paths.setdefault(id(operation), {})[path] = None
        self.classes[path] = class_names(operation)
        self._seen.add(id(operation))
        if hidden:
            self.miss(path, hidden)
            return Frame(operation, path, hidden)
        return Frame(operation, path, structure=self._structure(operation, path))

    def _structure(self, operation: Operation, path: str) -> str:
        number = self.book.calls.get(id(operation), 0)
        self.book.calls[id(operation)] = number + 1
        owned = self._owned.get(id(operation))
        return self.book.free_structure((owned.path if owned else f"({path})") + (f"@{number}" if number else ""))

    def _keep(self, frame: Frame, outputs: Any) -> Any:
        """Record the tensors that one call returned; return what the model goes on with."""
        if frame.hidden:
            return outputs
        tensors, obstacles = tensors_in(outputs), obstacles_in(outputs)
        several = len(tensors) + len(obstacles) > 1
        for path, reason in obstacles:
            self.miss(frame.path + (output_suffix(path) if several else ""), reason)
        if not tensors:
            if not obstacles:
                self._missed[frame.path] = _NOT_A_TENSOR
            return outputs
        if not all(belongs_to(tensor, self._graph) for _, tensor in tensors):
            self._missed[frame.path] = INNER_GRAPH
            return outputs
        if self._tap is not None:
            outputs, tensors = _tapped(outputs, self._tap)
        self.book.returned.add(frame.path)
        for path, tensor in tensors:
            self._record(frame, output_suffix(path) if several else "", tensor)
        return outputs

    def paths_of(self, operation: Operation | None) -> list[str]:
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
        owner = owned.owner
        if owner is self._model:
            return self._never
        if not self.paths_of(owner):
            return self._reason_of_owners(self._owned[id(owner)])
        if isinstance(owner, RNN):
            return self._loop
        softmax = getattr(owner, "_softmax", None)
        if isinstance(owner, (MultiHeadAttention, GroupQueryAttention)) and not self.paths_of(softmax):
            return self._fused
        return self._missed.get("".join(self.paths_of(owner)[:1]), self._never)

    @cached_property
    def _never(self) -> str:
        """Why a layer was not seen; the graph of a model does not tell what its Python functions will call."""
        operations = self._graph.get_operations() if self._graph is not None else []
        return _PYTHON if any(operation.type == "EagerPyFunc" for operation in operations) else _NEVER


def _advice(word: str, given: bool) -> str:
    """Return which option gives the tensors of a reserved word, unless it is given."""
    return "" if given else f"; tfdump activations {option_for(word)} gives its {word.replace('_', ' ')}"


def _tapped(outputs: Any, tap: Tap) -> tuple[Any, list[tuple[Any, Any]]]:
    """Return a layer's outputs with every tensor replaced by what `tap` makes of it, and the tensors with paths."""
    paths = [path for path, _ in keras.tree.flatten_with_path(outputs)]
    storable = [isinstance(leaf, TENSORS) and not obstacle_of(leaf) for leaf in keras.tree.flatten(outputs)]
    leaves = [tap(leaf) if stored else leaf for leaf, stored in zip(keras.tree.flatten(outputs), storable, strict=True)]
    tensors = [(path, as_tensor(leaf)) for path, leaf in zip(paths, leaves, strict=True)]
    return keras.tree.pack_sequence_as(outputs, leaves), [(path, leaf) for path, leaf in tensors if leaf is not None]
