"""The operations inside the calls of a recorded graph, as further records with addresses `<layer>:op.<name>`.

The graph counts its operations. So the numbers at which a call began and ended tell which operations it made.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from tfdump.address import OPERATION, reserved_word
from tfdump.dump import layout
from tfdump.model.free_names import free_name
from tfdump.model.operations.addresses import operation_suffix
from tfdump.model.operations.node_names import node_name
from tfdump.model.operations.roles import IN_CONTROL_FLOW, OperationOutput, Role, roles_of
from tfdump.model.operations.special_operations import BRANCHES, LOOPS, beside_loops, extra_copies, reads_of
from tfdump.model.recording.code_lines import code_line_of
from tfdump.model.recording.data_flow import DataFlow, graph_parts, values_read
from tfdump.model.recording.frames import Frame, Hook, ObservedRun, RecordedTensor
from tfdump.model.recording.ownership import class_names
from tfdump.model.recording.tensors import HANDLES
from tfdump.tensors import NotCaptured

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_IN_CALL = "inside a function, which the graph runs as one operation"
_IN_STEPS = "made again in every step of a loop, of which only the outputs of layers are stacked"

NO_GRAPH = NotCaptured(f":{OPERATION}", "operations need a graph, but the model runs eagerly")
"""What is missing in an eager run."""


@dataclass(frozen=True)
class Span:
    """The operations of one call: those with the numbers from `start` up to `stop` in its graph.

    `path` and `classes` are those of the layer, `scope` is the name scope of its operations, and `depth` is the number
    of calls around it.
    """

    path: str
    classes: tuple[str, ...]
    graph: Any
    scope: str
    depth: int
    start: int
    stop: int


@dataclass(frozen=True)
class RunRecords:
    """The recorded tensors of a run, what is missing with the reasons, and the flow that knows their addresses."""

    tensors: list[RecordedTensor]
    not_captured: tuple[NotCaptured, ...]
    flow: DataFlow


class OperationSpans(Hook):
    """Notes the operations that each call makes; `spans` has the calls in the order of their ends."""

    def __init__(self, recording: ObservedRun) -> None:
        super().__init__(recording)
        self.spans: list[Span] = []

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Note the numbers at which a call begins and ends; an eager call has no graph."""
        if tf.executing_eagerly():
            yield
            return
        graph = tf.compat.v1.get_default_graph()
        start, scope, depth = graph.num_operations(), graph.get_name_scope(), len(self.recording.frames)
        yield
        classes = class_names(frame.operation)
        self.spans.append(Span(frame.path, classes, graph, scope, depth, start, graph.num_operations()))


class Operations:
    """The operations of one recorded graph whose values follow from the inputs.

    `records` are their tensors and those in `outputs`, the tensors that were recorded before, in the order of
    execution. `not_captured` names the loops and functions whose operations are not available. `flow` knows the
    addresses of all.
    """

    def __init__(self, graph: Any, spans: Sequence[Span], outputs: Sequence[RecordedTensor], flow: DataFlow) -> None:
        self._operations = graph.get_operations()
        self._numbers = {operation.name: number for number, operation in enumerate(self._operations)}
        self._spans = _innermost([span for span in spans if span.graph is graph], len(self._operations))
        self._sources: dict[str, str | None] = {}
        self._copied = self._originals(outputs, flow)
        self._flow = flow.extended(dict(self._copied.values()))
        self._used = {record.address for record in outputs}
        steps = self._steps([span for span in spans if span.graph is graph])
        self.not_captured = (*steps, *self._inner_graphs())
        stepped = {item.address.partition(":")[0] for item in steps}
        data = self._data()
        inside = {
            number: self._addressed(operation, span, data)
            for number, (operation, span) in enumerate(zip(self._operations, self._spans, strict=True))
            if span is not None and span.path not in stepped
        }
        self.flow = self._flow.extended({address: tensor for pairs in inside.values() for address, tensor in pairs})
        self.records = self._merged(inside, [self._described(record) for record in outputs])

    @staticmethod
    def _steps(spans: Sequence[Span]) -> tuple[NotCaptured, ...]:
        """Return the calls that were recorded once for every step of a loop."""
        count = Counter(span.path for span in spans)
        return tuple(NotCaptured(f"{path}:{OPERATION}", _IN_STEPS) for path, number in count.items() if number > 1)

    def _data(self) -> frozenset[str]:
        """Return the names of the tensors whose values follow from the inputs."""
        tensors = [tensor for operation in self._operations for tensor in operation.outputs]
        place = {tensor.name: position for position, tensor in enumerate(tensors)}
        described = [
            OperationOutput(
                tensor.name,
                tensor.op.type,
                tuple(place[read.name] for read in reads_of(tensor)),
                is_input=self._flow.is_input(tensor),
            )
            for tensor in tensors
        ]
        recorded = [position for position, tensor in enumerate(tensors) if self._flow.address(tensor) is not None]
        roles = roles_of(described, recorded, beside_loops(tensors) | extra_copies(tensors))
        return frozenset(tensor.name for tensor, role in zip(tensors, roles, strict=True) if role is Role.DATA)

    def _inner_graphs(self) -> list[NotCaptured]:
        """Return the loops, branches and functions within calls, whose operations are not available."""
        missing = []
        for operation, span in zip(self._operations, self._spans, strict=True):
            if span is not None and operation.type in LOOPS | BRANCHES | _CALLS:
                reason = _IN_CALL if operation.type in _CALLS else IN_CONTROL_FLOW
                missing.append(NotCaptured(f"{_address(operation, span)}.body", reason))
        return missing

    def _source(self, operation: Any) -> str | None:
        """Return the line of code that made an operation, None for one that tfdump made."""
        if operation.name not in self._sources:
            self._sources[operation.name] = code_line_of(operation)
        return self._sources[operation.name]

    def _source_attribute(self, operation: Any) -> tuple[tuple[str, str], ...]:
        source = self._source(operation)
        return () if source is None else ((layout.SOURCE, source),)

    def _originals(self, outputs: Sequence[RecordedTensor], flow: DataFlow) -> dict[str, tuple[str, Any]]:
        """Return the tensors without an address of which tfdump recorded copies.

        The keys are the names of the copies. Each original comes with the address of its copy.
        """
        originals = {}
        for record in outputs:
            for part in graph_parts(record.tensor):
                operation = part.op
                if operation.type != "Identity" or flow.address(part) is None or self._source(operation) is not None:
                    continue
                if flow.address(operation.inputs[0]) is None:
                    originals[part.name] = (record.address, operation.inputs[0])
        return originals

    def _addressed(self, operation: Any, span: Span, data: frozenset[str]) -> list[tuple[str, Any]]:
        """Return the tensors of an operation that have no address yet, with their addresses."""
        tensors = [
            tensor
            for tensor in operation.outputs
            if tensor.name in data and tensor.dtype not in HANDLES and self._flow.address(tensor) is None
        ]
        if not tensors or self._source(operation) is None:
            return []
        name = _address(operation, span)
        several = len(operation.outputs) > 1
        pairs = []
        for tensor in tensors:
            number = f".{tensor.value_index}" if ":" in name else f":{tensor.value_index}"
            address = free_name(name + (number if several else ""), self._used)
            self._used.add(address)
            pairs.append((address, tensor))
        return pairs

    def _described(self, record: RecordedTensor) -> RecordedTensor:
        """Return the record of a layer's output with what the operation was that computed it."""
        parts = graph_parts(record.tensor)
        if not parts or self._flow.address(parts[0]) is None or reserved_word(record.address):
            return record
        operations = [self._copied.get(part.name, ("", part))[1].op for part in parts]
        read = self.flow.read_by(tensor for operation in operations for tensor in values_read(operation))
        told = ((layout.OPERATION, operations[0].type), *self._source_attribute(operations[0]))
        return replace(record, attributes=(*record.attributes, *told), operands=read)

    def _merged(
        self, inside: Mapping[int, Sequence[tuple[str, Any]]], outputs: Sequence[RecordedTensor]
    ) -> list[RecordedTensor]:
        """Return the records of the operations and the others in the order of execution."""
        waiting = sorted(inside, reverse=True)
        merged: list[RecordedTensor] = []

        def emit(before: int) -> None:
            while waiting and waiting[-1] < before:
                number = waiting.pop()
                merged.extend(self._record(number, address, tensor) for address, tensor in inside[number])

        for record in outputs:
            emit(max((self._numbers.get(part.op.name, 0) for part in graph_parts(record.tensor)), default=0))
            merged.append(record)
        emit(len(self._operations))
        return merged

    def _record(self, number: int, address: str, tensor: Any) -> RecordedTensor:
        operation, span = self._operations[number], self._spans[number]
        assert span is not None, "only operations of calls have addresses"
        layer = address.partition(":")[0]
        return RecordedTensor(
            address,
            layer,
            tensor.name.removesuffix(":0"),
            (operation.type,),
            0,
            tensor,
            inputs=self.flow.read_by(values_read(operation)),
            attributes=self._source_attribute(operation),
            within=((span.path, span.classes),) if span.path else (),
        )


def _innermost(spans: Sequence[Span], operations: int) -> list[Span | None]:
    """Return the innermost call that made each operation of the graph, None outside of every call."""
    owners: list[Span | None] = [None] * operations
    for span in sorted(spans, key=lambda one: one.depth):
        owners[span.start : span.stop] = [span] * (span.stop - span.start)
    return owners


def _address(operation: Any, span: Span) -> str:
    """Return the address of an operation without a number; one of the model itself has no suffix."""
    own = tuple(operation.name.removeprefix(f"{span.scope}/").split("/"))
    return f"{span.path}:{operation_suffix(own)}" if span.path else node_name(own)
