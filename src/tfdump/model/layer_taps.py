"""What goes into layers, and into their fused activations."""

import functools
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from keras import Layer, activations
from keras.layers import Activation

from tfdump.model.frames import Frame, Hook
from tfdump.model.leaves import TENSORS
from tfdump.model.replacing import replaced

PREACTIVATION, INPUT = "preactivation", "input"


class Preactivations(Hook):
    """Records `<address>:preactivation`: what a layer hands to its `activation`, where that is not linear."""

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Stand in for the activation of the layer that is called."""
        layer = frame.operation
        activation = vars(layer).get("activation")
        if isinstance(layer, Activation) or not callable(activation) or activation is activations.linear:
            yield
            return

        @functools.wraps(activation, updated=())
        def watched_activation(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.recording.add(frame, PREACTIVATION, inputs)
            return activation(inputs, *args, **kwargs)

        with replaced(layer, "activation", watched_activation):
            yield


class LayerInputs(Hook):
    """Records `<address>:input`: the tensors with which a layer's `call` is called, after Keras's own casts.

    Several are told apart by the argument's name, or by the structure of the first where it holds all. Masks stand
    beside the data under their own names: `<address>:input.mask`.
    """

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Record the arguments."""
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
    """Return the tensors among the arguments of a call, by the names of the arguments."""
    try:
        bound = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    except TypeError:  # the call itself will say what is wrong
        return {}
    found = {
        name: [(path, leaf) for path, leaf in keras.tree.flatten_with_path(value) if isinstance(leaf, TENSORS)]
        for name, value in bound.items()
    }
    return {name: tensors for name, tensors in found.items() if tensors}
