"""The inputs of layers, and of their fused activations."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keras import Layer, Operation, activations
from keras.layers import RNN, Activation

from tfdump.model.recording.frames import Frame, Hook, ObservedRun
from tfdump.model.recording.patching import replaced
from tfdump.model.recording.recurrence import has_gates
from tfdump.model.recording.tensors import data_in

PREACTIVATION, INPUT = "preactivation", "input"


_RECURRENT = "the activation of a recurrent layer works within its loop"
_GATES = "; --rnn-gates gives its gates"
_UNUSED = "the layer's call does not use its activation"


class Preactivations(Hook):
    """Records `<address>:preactivation`: the argument of a layer's `activation`, unless it is linear."""

    def __init__(self, recording: ObservedRun) -> None:
        super().__init__(recording)
        self._count = 0

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Wrap the activation of the called layer; an activation that is a layer is recorded when it is called."""
        frames = self.recording.frames
        if len(frames) > 1 and _activation_of(frames[-2].operation) is frame.operation:
            self._record(frames[-2], (args, kwargs))
        layer = frame.operation
        activation = _activation_of(layer)
        count = self._count
        if activation is None:
            yield
        elif isinstance(activation, Layer):
            yield
            self._tell_unused(frame, count)
        elif isinstance(getattr(type(layer), "activation", None), property):
            yield
            reason = _RECURRENT + _GATES * has_gates(layer.cell) if isinstance(layer, RNN) else _UNUSED
            self.recording.miss(f"{frame.path}:{PREACTIVATION}", reason)
        else:
            with replaced(
                layer, "activation", _WatchedActivation(activation, lambda data: self._record_if_current(frame, data))
            ):
                yield
            self._tell_unused(frame, count)

    def _record_if_current(self, frame: Frame, data: Any) -> None:
        if self.recording.current is frame:
            self._record(frame, data)

    def _record(self, frame: Frame, data: Any) -> None:
        self._count += 1
        tensors = data_in(data)
        for number, (_, tensor) in enumerate(tensors):
            self.recording.add(frame, PREACTIVATION, tensor, (number,) if len(tensors) > 1 else ())

    def _tell_unused(self, frame: Frame, count: int) -> None:
        """Report a layer in which no activation was called, neither its own nor that of a sublayer."""
        if self._count == count:
            self.recording.miss(f"{frame.path}:{PREACTIVATION}", _UNUSED)


class _WatchedActivation:
    """Wraps an activation and reports its arguments; otherwise it behaves like the activation."""

    def __init__(self, activation: Callable[..., Any], report: Callable[[Any], None]) -> None:
        self._activation = activation
        self._report = report

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._report((args, kwargs))
        return self._activation(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._activation, name)

    def __eq__(self, other: object) -> bool:
        return bool(self._activation == other)

    def __hash__(self) -> int:
        return hash(self._activation)


def _activation_of(layer: Operation) -> Any:
    """Return the activation that is fused into a layer, None where there is none or it is linear."""
    activation = getattr(layer, "activation", None)
    if isinstance(layer, Activation) or not callable(activation) or activation is activations.linear:
        return None
    return activation


class LayerInputs(Hook):
    """Records `<address>:input`: the tensors among the arguments of a layer's `call`, after Keras's own casts.

    Several have the name of the argument in the suffix, or the path in the first argument if it holds all. Masks are
    recorded under their own names: `<address>:input.mask`.
    """

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Record the arguments of the call."""
        if frame.path and isinstance(frame.operation, Layer):
            self._record(frame, args, kwargs)
        yield

    def _record(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> None:
        named = _arguments(frame.operation, args, kwargs)
        data = {name: tensors for name, tensors in named.items() if name != "mask" and not name.endswith("_mask")}
        for name, tensors in named.items():
            for path, tensor in tensors:
                prefix = () if name in data and len(data) == 1 else (name,)
                self.recording.add(frame, INPUT, tensor, (*prefix, *path))


def _arguments(
    layer: Layer, args: Any, kwargs: Mapping[str, Any]
) -> dict[str, list[tuple[tuple[str | int, ...], Any]]]:
    """Return the tensors among the arguments of a call with their paths, by the names of the arguments."""
    try:
        bound = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    except TypeError:  # the call itself will raise the error
        return {}
    tensors_by_name = {name: data_in(value) for name, value in bound.items()}
    return {name: tensors for name, tensors in tensors_by_name.items() if tensors}
