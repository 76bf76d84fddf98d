"""Recording one run of a model: every call of a layer or graph node, with its address and its outputs.

The method `Operation.__call__` of Keras is wrapped while the model runs once. The calls form a stack, and the stack
gives the addresses (docs/addresses.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from keras import Layer

from tfdump.address import encode
from tfdump.captures import NOTHING_MORE, Captures
from tfdump.model.recording.call_stack import WATCHING, CallStack
from tfdump.model.recording.data_flow import DataFlow, set_apart, tensors_read
from tfdump.model.recording.frames import INNER_GRAPH, Frame
from tfdump.model.recording.hooks import hooks_for
from tfdump.model.recording.name_scopes import valid_name_scopes
from tfdump.model.recording.operations import NO_GRAPH, Operations, OperationSpans, RunRecords
from tfdump.model.recording.taps import Replacement, Tap, tapped, with_replacements
from tfdump.model.recording.tensors import belongs_to, known_bytes, obstacle_of, obstacles_in, stacked, tensors_in
from tfdump.tensors import NotCaptured


class Recorder(CallStack):
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
        super().__init__(model, only, captures, stacked)
        self._tap = tap
        self._replacement = replacement
        self._hooks = hooks_for(self, self._owned_layers, captures, self._missing.in_loop)
        self._graph: Any = None
        self._flow = DataFlow(None, {})

    @contextmanager
    def watching(self, inputs: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Record Keras's calls in this thread until the body ends; `inputs` are the arguments of the model."""
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self._flow = DataFlow(self._graph, inputs or {})
        with WATCHING, valid_name_scopes(), self._watched():
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
        self._record(frame, suffix, tensor, known_bytes(tensor))

    def _read(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Note in a frame which tensors a call reads."""
        frame.read, masks = tensors_read(args, kwargs)
        frame.inputs = self._flow.read_by(frame.read, masks)

    def _keep(self, frame: Frame, outputs: Any) -> Any:
        """Record the tensors that one call returned; return the outputs with which the model continues."""
        if frame.hidden:
            return outputs
        tensors, obstacles = tensors_in(outputs), obstacles_in(outputs)
        inner = None if all(belongs_to(tensor, self._graph) for _, tensor in tensors) else INNER_GRAPH
        suffixes = self._suffixes(frame, tensors, obstacles, inner)
        if not suffixes:
            return outputs
        if self._tap is not None:
            outputs, tensors = tapped(outputs, self._tap)
        elif (apart := set_apart(outputs, frame.read)) is not outputs:
            outputs, tensors = apart, tensors_in(apart)
        for suffix, (_, tensor) in zip(suffixes, tensors, strict=True):
            self._record(frame, suffix, tensor, known_bytes(tensor))
            self._flow.add(frame.path + suffix, tensor)
        if self._replacement is None:
            return outputs
        return with_replacements(outputs, tensors, [frame.path + suffix for suffix in suffixes], self._replacement)
