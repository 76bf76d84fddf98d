"""Which function made a tensor, as far as a dump tells: by its class, its suffix, or the layer in the architecture."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tfdump.address import decode, split
from tfdump.dump.tensor import Tensor

_BY_CLASS = {
    "relu": "relu", "relu6": "relu", "relu_n1_to_1": "relu",
    "sigmoid": "sigmoid", "logistic": "sigmoid", "hardsigmoid": "sigmoid", "hard_sigmoid": "sigmoid",
    "tanh": "tanh", "hardtanh": "tanh", "softmax": "softmax",
}  # fmt: skip
"""Classes of Keras and operations of TensorFlow and TFLite, in small letters, and the names in a configuration."""

_BY_SUFFIX = {
    "attention_scores": "softmax",
    "gates.input": "sigmoid", "gates.forget": "sigmoid", "gates.output": "sigmoid",
    "gates.update": "sigmoid", "gates.reset": "sigmoid", "gates.cell": "tanh", "gates.candidate": "tanh",
}  # fmt: skip
_GATES = {
    "gates.cell": "activation", "gates.candidate": "activation",
    "gates.input": "recurrent_activation", "gates.forget": "recurrent_activation",
    "gates.output": "recurrent_activation", "gates.update": "recurrent_activation",
    "gates.reset": "recurrent_activation",
}  # fmt: skip

_WITH_UNITS = re.compile(
    r"Dense|EinsumDense|(Depthwise|Separable)?Conv[123]D(Transpose)?|BatchNormalization|SimpleRNN|LSTM|GRU"
    r"|(DEPTHWISE_)?CONV_2D|TRANSPOSE_CONV|FULLY_CONNECTED|MatMul|BiasAdd|DepthwiseConv2dNative"
)
"""Classes whose output has a unit for each column of a kernel; one that is always zero does nothing."""

_NOT_ITS_OWN = ("LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "MultiHeadAttention", "Bidirectional")
"""Layers whose `activation` is not the last thing that they do."""

_LINEAR_INSIDE = ("MultiHeadAttention", "GroupedQueryAttention")
"""Layers whose projections are linear, and are not in the configuration."""

_CALL = re.compile(r"@\d+$")
_SAME_NAME = re.compile(r"~(\d+)$")


@dataclass(frozen=True)
class Function:
    """What is known of the function that made a tensor.

    `name` is `relu`, `sigmoid`, `tanh`, `softmax`, another name of Keras, or None where the dump does not tell;
    `units` tells whether it has units, `axis` where they are, `gate` whether a mask may have zeroed time steps.
    """

    name: str | None
    units: bool = False
    axis: int = -1
    gate: bool = False

    @property
    def may_saturate(self) -> bool:
        """Whether it is, or could be, one that saturates."""
        return self.name is None and self.units


class Architecture:
    """The layers of a model in its configuration, found by address."""

    def __init__(self, config: Any) -> None:
        self._config: dict[str, Any] = config if isinstance(config, dict) else {}

    def function(self, tensor: Tensor) -> Function:
        """Return the function that made an activation."""
        _, suffix = split(tensor.address)
        class_name = str(tensor.attributes.get("class", ""))
        address = str(tensor.attributes.get("layer", ""))
        layer = self._layer(address)
        settings = _settings(layer)
        if suffix in _BY_SUFFIX:
            chosen = _activation(settings.get(_GATES.get(suffix, ""))) or _BY_SUFFIX[suffix]
            return Function(chosen, gate=suffix.startswith("gates"))
        if suffix and not suffix.startswith("op."):
            return Function("")
        axis = 1 if settings.get("data_format") == "channels_first" else -1
        if class_name == "BatchNormalization" and isinstance(settings.get("axis"), int):
            axis = settings["axis"]
        known = _BY_CLASS.get(class_name.lower())
        if known == "softmax" and settings.get("axis", -1) != -1:
            return Function("softmax over another axis")
        if known is not None:
            return Function(known, units=known == "relu", axis=axis)
        units = _WITH_UNITS.fullmatch(class_name) is not None
        if class_name in _NOT_ITS_OWN or class_name == "BatchNormalization":
            return Function("", units=units, axis=axis)
        name = _activation(settings.get("activation", "")) if layer is not None else None
        around = self._layer(address.rpartition(".")[0])
        if layer is None and around is not None and around.get("class_name") in _LINEAR_INSIDE:
            name = "linear"
        rectifies = class_name == "Activation" and name == "relu"
        return Function(name, units=(units or rectifies) and name not in ("sigmoid", "tanh", "softmax"), axis=axis)

    def outputs(self) -> set[str]:
        """Return the addresses of the layers whose outputs are those of the model."""
        settings = _settings(self._config)
        names = {name for name in _leaves(settings.get("output_layers", [])) if isinstance(name, str)}
        layers = settings.get("layers")
        if not names and isinstance(layers, list) and layers and self._config.get("class_name") == "Sequential":
            names = {str(_settings(layers[-1]).get("name"))}
        return names

    def _layer(self, address: str) -> dict[str, Any] | None:
        """Return the configuration of a layer, None where it is not there."""
        here: dict[str, Any] = self._config
        for segment in address.split(".") if address else []:
            called = _CALL.sub("", segment)
            number = _SAME_NAME.search(called)
            name = decode(_SAME_NAME.sub("", called))
            named = [inner for inner in _layers_in(here.get("config")) if inner["config"].get("name") == name]
            position = int(number[1]) if number else 0
            if position >= len(named):
                return None
            here = named[position]
        return here if here is not self._config else None


def _settings(layer: Any) -> dict[str, Any]:
    """Return the settings in the configuration of a layer, empty where it is odd."""
    found = layer.get("config") if isinstance(layer, dict) else None
    return found if isinstance(found, dict) else {}


def _layers_in(settings: Any) -> Iterator[dict[str, Any]]:
    """Yield the configurations of layers in a configuration, and not those within them."""
    if isinstance(settings, dict):
        if isinstance(settings.get("config"), dict) and "name" in settings["config"] and "class_name" in settings:
            yield settings
            return
        settings = list(settings.values())
    if isinstance(settings, list):
        for item in settings:
            yield from _layers_in(item)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _activation(value: Any) -> str | None:
    """Return the name of an activation in a configuration: a name, a function, or a layer; None where it is odd."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("class_name")
    if not isinstance(value, str):
        return None
    return _BY_CLASS.get(value.lower(), value)
