"""Recording one run of a model: every call of a layer or graph node, with its address and its outputs.

The method `Operation.__call__` of Keras is wrapped while the model runs once. The calls form a stack, and the stack
gives the addresses (docs/addresses.md).
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import tensorflow as tf
from keras import Layer, Operation

from tfdump.address import encode, output_suffix, segment
from tfdump.captures import NOTHING_MORE, Captures
from tfdump.model.keras_internals import Functional, any_symbolic_tensors, in_symbolic_scope
from tfdump.model.recording.call_numbers import GraphCalls, free_number
from tfdump.model.recording.data_flow import DataFlow, set_apart, tensors_read
from tfdump.model.recording.frames import INNER_GRAPH, Frame, RecordedTensor
from tfdump.model.recording.hooks import hooks_for
from tfdump.model.recording.layer_axes import axis_attributes
from tfdump.model.recording.loop_steps import Book, RecordedSteps
from tfdump.model.recording.missing import Missing
from tfdump.model.recording.name_scopes import valid_name_scopes
from tfdump.model.recording.operations import NO_GRAPH, Operations, OperationSpans, RunRecords
from tfdump.model.recording.ownership import OwnedOperation, class_names, owned_operations, parameter_count
from tfdump.model.recording.patching import replaced
from tfdump.model.recording.taps import Replacement, Tap, tapped, with_replacements
from tfdump.model.recording.tensors import belongs_to, known_bytes, obstacle_of, obstacles_in, tensors_in
from tfdump.tensors import NotCaptured

WATCHING = threading.RLock()
"""Held while the classes of Keras are wrapped, so that only one model is recorded at a time."""

_NOT_A_TENSOR = "returns no tensor"


class Recorder:
    """Records the calls inside one call of `model`; use a new recorder for every run.

    With `only`, it does not hold the tensors of other addresses, so that an eager run can free them. `bytes` counts the
    bytes of all tensors, where they are known. With `tap`, the model continues with the tensor that `tap` returns. With
    `replacement`, it continues with what that returns, while the tensor of the layer itself is recorded. `captures`
    asks for more tensors than the outputs of layers.
    """

    def __init__(
        self,
        model: Layer,
        only: frozenset[str] | None = None,
        tap: Tap | None = None,
        captures: Captures = NOTHING_MORE,
        replacement: Replacement | None = None,
    ) -> None:
        self._model = model
        self._only = only
        self._tap = tap
        self._replacement = replacement
        self._owned = owned_operations(model)
        owned_layers = (owned.operation for owned in self._owned.values() if isinstance(owned.operation, Layer))
        self._missing = Missing(model, self._owned, captures)
        self._graph_calls = GraphCalls(self)
        self._hooks = [self._graph_calls, *hooks_for(self, owned_layers, captures, self._missing.in_loop)]
        self._thread = threading.get_ident()
        self._namesakes: dict[tuple[int, str], list[Operation]] = {}  # also keeps layers alive that a call created
        self._paths: dict[int, dict[str, int]] = {}  # the calls of an operation, with their numbers in the run
        self._graph: Any = None
        self._flow = DataFlow(None, {})
        self.classes: dict[str, tuple[str, ...]] = {}  # of every call, by its address
        self.frames: list[Frame] = []
        self.hiding: str | None = None
        self.book = Book()
        self.bytes = 0

    @property
    def records(self) -> list[RecordedTensor]:
        """The recorded tensors, in order."""
        return self.book.records

    @contextmanager
    def watching(self, inputs: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Record Keras's calls in this thread until the body ends; `inputs` are the arguments of the model."""
        self._thread = threading.get_ident()
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self._flow = DataFlow(self._graph, inputs or {})
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
        """Return the calls that returned no tensor and the layers without a recorded call, with the reasons."""
        return self._missing.all(self, self.book.returned, self._graph)

    def with_operations(self) -> RunRecords:
        """Return what was recorded; operations are among it where the captures ask for them."""
        records, missing = self.records, self.not_captured()
        spans = next((hook.spans for hook in self._hooks if isinstance(hook, OperationSpans)), None)
        if spans is None:
            return RunRecords(records, missing, self._flow)
        if self._graph is None:
            return RunRecords(records, (*missing, NO_GRAPH), self._flow)
        operations = Operations(self._graph, spans, records, self._flow)
        return RunRecords(operations.records, (*missing, *operations.not_captured), operations.flow)

    def miss(self, address: str, reason: str) -> None:
        """Report an address as not captured; the first reason counts."""
        self._missing.reasons.setdefault(address, reason)

    def steps(self) -> RecordedSteps:
        """Begin a loop within the innermost call whose steps are recorded one by one."""
        return RecordedSteps(self, self.frames[-1])

    @property
    def current(self) -> Frame | None:
        """The innermost call that has not returned; None outside the run, in shape inference and in other threads."""
        if not self.frames or threading.get_ident() != self._thread or in_symbolic_scope():
            return None
        return self.frames[-1]

    def add(self, frame: Frame, word: str, tensor: Any, path: Sequence[str | int] = ()) -> None:
        """Record a tensor of a call other than its outputs, under the reserved suffix `word` followed by a path.

        Further tensors with the same suffix in one call get `.1`, `.2`, ... appended.
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
        held = tensor if self._only is None or address in self._only else None
        self.bytes += known_bytes(tensor)
        classes, parameters = class_names(frame.operation), parameter_count(frame.operation)
        structure, executed = frame.structure + suffix, frame.executed + suffix if frame.shared else ""
        self.book.records.append(
            RecordedTensor(
                address,
                frame.path,
                structure,
                classes,
                parameters,
                held,
                inputs=frame.inputs,
                executed_as=executed,
                attributes=axis_attributes(frame.operation),
            )
        )

    def _concerns(self, operation: Operation, args: Any, kwargs: Any) -> bool:
        """Tell whether a call belongs to the run: of a layer or a node of the graph, outside shape inference."""
        if threading.get_ident() != self._thread or in_symbolic_scope() or any_symbolic_tensors(args, kwargs):
            return False
        if not self.frames:
            return operation is self._model
        if isinstance(operation, Layer):
            return True
        parent = self.frames[-1].operation
        return isinstance(parent, Functional) and any(operation is node for node in parent.operations)

    def call(self, function: Callable[..., Any], operation: Operation, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Call `function(operation, ...)` and record it; return the outputs with which the model continues."""
        frame = self._enter(operation)
        if frame.path and not frame.hidden:
            frame.read, masks = tensors_read(args, kwargs)
            frame.inputs = self._flow.read_by(frame.read, masks)
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
        hidden = parent.hidden or self.hiding
        in_graph = self._graph_calls.next(parent.operation, operation)
        calls = parent.calls.get(id(operation), frozenset())
        call = free_number(calls, in_graph.number if in_graph else 0)
        branch = in_graph.number + in_graph.count * parent.branch if in_graph else parent.branch
        last = segment(operation.name, namesake, call)
        path = f"{parent.path}.{last}" if parent.path else last
        run_calls = self.book.calls.get(id(operation), frozenset())
        number = free_number(run_calls, branch)
        self._paths.setdefault(id(operation), {}).setdefault(path, number)
        self.classes[path] = class_names(operation)
        if hidden:
            self.miss(path, hidden)
            return Frame(operation, path, hidden)
        parent.calls[id(operation)] = calls | {call}
        self.book.calls[id(operation)] = run_calls | {number}
        executed = ".".join(filter(None, [parent.executed, segment(operation.name, namesake, len(calls))]))
        shared = parent.shared or call > 0 or (in_graph is not None and in_graph.count > 1)
        structure = self._structure(operation, path, number)
        return Frame(operation, path, None, structure, branch, executed, shared)

    def _structure(self, operation: Operation, path: str, number: int) -> str:
        owned = self._owned.get(id(operation))
        return self.book.free_structure((owned.path if owned else f"({path})") + (f"@{number}" if number else ""))

    def _keep(self, frame: Frame, outputs: Any) -> Any:
        """Record the tensors that one call returned; return the outputs with which the model continues."""
        if frame.hidden:
            return outputs
        tensors, obstacles = tensors_in(outputs), obstacles_in(outputs)
        several = len(tensors) + len(obstacles) > 1
        for path, reason in obstacles:
            self.miss(frame.path + (output_suffix(path) if several else ""), reason)
        if not tensors:
            if not obstacles:
                self._missing.reasons[frame.path] = _NOT_A_TENSOR
            return outputs
        if not all(belongs_to(tensor, self._graph) for _, tensor in tensors):
            self._missing.reasons[frame.path] = INNER_GRAPH
            return outputs
        if self._tap is not None:
            outputs, tensors = tapped(outputs, self._tap)
        elif (apart := set_apart(outputs, frame.read)) is not outputs:
            outputs, tensors = apart, tensors_in(apart)
        self.book.returned.add(frame.path)
        suffixes = [output_suffix(path) if several else "" for path, _ in tensors]
        for suffix, (_, tensor) in zip(suffixes, tensors, strict=True):
            self._record(frame, suffix, tensor)
            self._flow.add(frame.path + suffix, tensor)
        if self._replacement is None:
            return outputs
        return with_replacements(outputs, tensors, [frame.path + suffix for suffix in suffixes], self._replacement)

    def paths_of(self, operation: Operation | None) -> list[str]:
        """Return the addresses of the calls of a layer in the order of their numbers, empty where it was not called."""
        paths = self._paths.get(id(operation), {})
        return sorted(paths, key=paths.__getitem__)

    def ownership_address(self, owned: OwnedOperation) -> str:
        """Return the address of a layer, or the one that it would have by its owners."""
        if paths := self.paths_of(owned.operation):
            return paths[0]
        name = segment(owned.operation.name)
        if owned.owner is self._model:
            return name
        return f"{self.ownership_address(self._owned[id(owned.owner)])}.{name}"

    def address_of(self, operation: Operation) -> str:
        """Return the address of a layer: of its first call, else by its owners; "" for the model."""
        owned = self._owned.get(id(operation))
        return self.ownership_address(owned) if owned is not None else "".join(self.paths_of(operation)[:1])

    @property
    def layers(self) -> list[OwnedOperation]:
        """Every layer that the model owns: called layers in the order of their calls, then the others."""
        order = {identity: number for number, identity in enumerate(self._paths)}
        owned = [item for item in self._owned.values() if isinstance(item.operation, Layer)]
        return sorted(owned, key=lambda item: order.get(id(item.operation), len(order)))
