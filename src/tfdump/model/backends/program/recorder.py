"""Recording one eager run of a model, on any backend of Keras."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from keras import Layer

from tfdump.captures import Captures
from tfdump.model.any_backend_internals import maps
from tfdump.model.backends.program.values import (
    EagerFlow,
    bytes_of_tensor,
    copies_apart,
    dense_tensors_in,
    eager_tensors_read,
    has_values,
    obstacles_to_dense_in,
    stacked_steps,
)
from tfdump.model.recording.call_stack import WATCHING, CallStack
from tfdump.model.recording.direct_calls import DirectCalls
from tfdump.model.recording.frames import Frame, Hook
from tfdump.model.recording.patching import replaced
from tfdump.model.recording.recurrent_loops import RecurrentLoops, with_hidden_calls
from tfdump.model.recording.time_distributed import TimeDistributedSteps
from tfdump.tensors import NotCaptured

_INNER = "inside a loop or map of the backend, which has no tensors of one step"
_MAPS = ("map", "vectorized_map", "scan", "associative_scan", "while_loop", "fori_loop")

_NO_ADVICE = Captures(attention=True, rnn_steps=True)
"""As if these were captured: the reasons of what is missing do not name options that another backend lacks."""


class BackendRecorder(CallStack):
    """Records the calls inside one eager call of `model`; tensors of addresses outside `only` are not held."""

    def __init__(self, model: Layer, only: frozenset[str] | None = None) -> None:
        super().__init__(model, only, _NO_ADVICE, stacked_steps)
        self._hooks = [
            LoopsOfBackend(self),
            RecurrentLoops(self, self._missing.in_loop),
            DirectCalls(self, self._owned_layers),
            TimeDistributedSteps(self),
        ]
        self.flow = EagerFlow({})

    @contextmanager
    def watching(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        """Record Keras's calls until the body ends; `inputs` are the arguments of the model."""
        self.flow = EagerFlow(inputs)
        with WATCHING, self._watched():
            yield

    def not_captured(self) -> tuple[NotCaptured, ...]:
        """Return the calls that returned no tensor and the layers without a recorded call, with the reasons."""
        return self._missing.all(self, self.book.returned, None)

    def _read(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Note in a frame which tensors a call reads."""
        frame.read, masks = eager_tensors_read(args, kwargs)
        frame.inputs = self.flow.read_by(frame.read, masks)

    def _keep(self, frame: Frame, outputs: Any) -> Any:
        """Record the tensors that one call returned; return the outputs with which the model continues."""
        if frame.hidden:
            return outputs
        tensors, obstacles = dense_tensors_in(outputs), obstacles_to_dense_in(outputs)
        inner = None if all(has_values(tensor) for _, tensor in tensors) else _INNER
        suffixes = self._suffixes(frame, tensors, obstacles, inner)
        if not suffixes:
            return outputs
        apart = copies_apart(outputs, frame.read)
        if apart is not outputs:
            outputs, tensors = apart, dense_tensors_in(apart)
        for suffix, (_, tensor) in zip(suffixes, tensors, strict=True):
            self._record(frame, suffix, tensor, bytes_of_tensor(tensor))
            self.flow.add(frame.path + suffix, tensor)
        return outputs


class LoopsOfBackend(Hook):
    """Hides the calls within the loops and maps of a backend, which call their function in ways of their own."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap these functions."""
        with ExitStack() as stack:
            for name in _MAPS:
                if hasattr(maps, name):
                    hiding = with_hidden_calls(self.recording, _INNER, getattr(maps, name))
                    stack.enter_context(replaced(maps, name, hiding))
            yield
