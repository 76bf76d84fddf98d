"""The calls of one run as a stack, which gives each of them its address (docs/addresses.md).

This is what recording is on every backend of Keras; subclasses know the tensors.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from keras import Layer, Operation

from tfdump.address import output_suffix, segment
from tfdump.captures import Captures
from tfdump.model.any_backend_internals import Functional, any_symbolic_tensors, in_symbolic_scope
from tfdump.model.recording.call_numbers import GraphCalls, free_number
from tfdump.model.recording.frames import Frame, Hook, RecordedTensor
from tfdump.model.recording.layer_axes import axis_attributes
from tfdump.model.recording.loop_steps import Book, RecordedSteps, StackSteps
from tfdump.model.recording.missing import Missing
from tfdump.model.recording.ownership import OwnedOperation, class_names, owned_operations, parameter_count
from tfdump.model.recording.patching import replaced

WATCHING = threading.RLock()
"""Held while the classes of Keras are wrapped, so that only one model is recorded at a time."""

NOT_A_TENSOR = "returns no tensor"

Leaves = Sequence[tuple[Sequence[str | int], Any]]
"""Leaves of a structure, with their paths in it."""


class CallStack:
    """The calls inside one call of `model`, with their addresses; use a new one for every run.

    With `only`, tensors of other addresses are not held. `missing` collects what is not captured. A subclass says with
    `stack` how the tensors of the steps of a loop become one, and sets the hooks of the run before it watches.
    """

    def __init__(self, model: Layer, only: frozenset[str] | None, captures: Captures, stack: StackSteps) -> None:
        self._model = model
        self._only = only
        self._stack = stack
        self._owned = owned_operations(model)
        self._owned_layers = [own.operation for own in self._owned.values() if isinstance(own.operation, Layer)]
        self._missing = Missing(model, self._owned, captures)
        self._graph_calls = GraphCalls(self)
        self._hooks: list[Hook] = []
        self._thread = threading.get_ident()
        self._namesakes: dict[tuple[int, str], list[Operation]] = {}  # also keeps layers alive that a call created
        self._paths: dict[int, dict[str, int]] = {}  # the calls of an operation, with their numbers in the run
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
    def _watched(self) -> Iterator[None]:
        """Record Keras's calls in this thread until the body ends."""
        self._thread = threading.get_ident()
        original = Operation.__call__

        def watched(operation: Operation, *args: Any, **kwargs: Any) -> Any:
            if not self._concerns(operation, args, kwargs):
                return original(operation, *args, **kwargs)
            return self.call(original, operation, args, kwargs)

        with ExitStack() as stack:
            stack.enter_context(replaced(Operation, "__call__", watched))
            for hook in (self._graph_calls, *self._hooks):
                stack.enter_context(hook.installed())
            yield

    def steps(self) -> RecordedSteps:
        """Begin a loop within the innermost call whose steps are recorded one by one."""
        return RecordedSteps(self, self.frames[-1], self._stack)

    def add(self, frame: Frame, word: str, tensor: Any, path: Sequence[str | int] = ()) -> None:
        """Record a tensor of a call other than its outputs; only some backends do."""
        raise NotImplementedError

    def miss(self, address: str, reason: str) -> None:
        """Report an address as not captured; the first reason counts."""
        self._missing.reasons.setdefault(address, reason)

    @property
    def current(self) -> Frame | None:
        """The innermost call that has not returned; None outside the run, in shape inference and in other threads."""
        if not self.frames or threading.get_ident() != self._thread or in_symbolic_scope():
            return None
        return self.frames[-1]

    def _record(self, frame: Frame, suffix: str, tensor: Any, size: int) -> None:
        """Record a tensor of a call, which has `size` bytes."""
        address = frame.path + suffix
        held = tensor if self._only is None or address in self._only else None
        self.bytes += size
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
            self._read(frame, args, kwargs)
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

    def _read(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Note in a frame which tensors a call reads."""
        raise NotImplementedError

    def _keep(self, frame: Frame, outputs: Any) -> Any:
        """Record the tensors that one call returned; return the outputs with which the model continues."""
        raise NotImplementedError

    def _suffixes(self, frame: Frame, tensors: Leaves, obstacles: Leaves, inner: str | None) -> list[str]:
        """Return the suffixes of the tensors that a call returned, and note why others are missing.

        `obstacles` are the leaves that are not given, with the reasons. `inner` is why not all tensors have values
        of their own, None where all have. The result is empty where there is nothing to record.
        """
        several = len(tensors) + len(obstacles) > 1
        for path, reason in obstacles:
            self.miss(frame.path + (output_suffix(path) if several else ""), reason)
        if tensors and inner is None:
            self.book.returned.add(frame.path)
            return [output_suffix(path) if several else "" for path, _ in tensors]
        if inner is not None or not obstacles:
            self._missing.reasons[frame.path] = inner or NOT_A_TENSOR
        return []

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
