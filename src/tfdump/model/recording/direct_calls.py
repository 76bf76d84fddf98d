"""Layers whose `call` is called directly, as some layers of Keras and of users do with their sublayers."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from keras import Layer

from tfdump.model.recording.frames import Hook, ObservedRun
from tfdump.model.recording.patching import replaced

_ENTERED = "call"


class DirectCalls(Hook):
    """Records a direct call of a layer's `call` like any other call of the layer."""

    def __init__(self, recording: ObservedRun, layers: Iterable[Layer]) -> None:
        super().__init__(recording)
        self._layers = list(layers)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap the `call` of every layer."""
        with ExitStack() as stack:
            for layer in self._layers:
                stack.enter_context(replaced(layer, "call", self._watched(layer, layer.call)))
            yield

    def _watched(self, layer: Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call, updated=())
        def watched_call(*args: Any, **kwargs: Any) -> Any:
            frame = self.recording.current
            if frame is None:
                return call(*args, **kwargs)
            if frame.operation is layer and not frame.extras[_ENTERED]:  # the call that is being recorded
                frame.extras[_ENTERED] += 1
                return call(*args, **kwargs)
            return self.recording.call(lambda _, *a, **k: self._enter(call, a, k), layer, args, kwargs)

        return watched_call

    def _enter(self, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self.recording.frames[-1].extras[_ENTERED] += 1
        return call(*args, **kwargs)
