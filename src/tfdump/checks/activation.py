"""The function that made a tensor, as far as a dump tells: by its class, its suffix, or the layer's configuration."""

import re
from dataclasses import dataclass
from typing import Any

from tfdump.address import split
from tfdump.checks.axes import LAST, Axes
from tfdump.checks.configuration import Configuration, settings_of
from tfdump.dump.tensor import Tensor

_BY_CLASS = {
    "relu": "relu", "relu6": "relu", "relu_n1_to_1": "relu",
    "sigmoid": "sigmoid", "logistic": "sigmoid", "hardsigmoid": "sigmoid", "hard_sigmoid": "sigmoid",
    "tanh": "tanh", "hardtanh": "tanh", "softmax": "softmax",
}  # fmt: skip
"""Classes of Keras, operations of TensorFlow and TFLite, and names in a configuration, all in lower case."""

_SCORES = "attention_scores"
_BY_SUFFIX = {
    _SCORES: "softmax",
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
"""Classes whose output has one unit per column of a kernel; a unit that is always zero has no effect."""

_NOT_ITS_OWN = ("LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "MultiHeadAttention", "Bidirectional")
"""Layers whose `activation` is not the last step of their computation."""

_LINEAR_INSIDE = ("MultiHeadAttention", "GroupedQueryAttention")
"""Layers whose projections are linear and are not in the configuration."""


@dataclass(frozen=True)
class Function:
    """What is known about the function that made a tensor.

    Attributes
    ----------
    name : str or None
        `relu`, `sigmoid`, `tanh`, `softmax` or another name of Keras; None if the dump does not tell.
    units : bool
        Whether the tensor has units.
    axis : int
        The axis of the units.
    gate : bool
        Whether a mask may have zeroed time steps.
    sums : tuple of int
        The axes over which a softmax sums to 1.
    """

    name: str | None
    units: bool = False
    axis: int = -1
    gate: bool = False
    sums: tuple[int, ...] = LAST

    @property
    def may_saturate(self) -> bool:
        """Whether the function is unknown and could be one that saturates."""
        return self.name is None and self.units


class Functions:
    """The functions that made the activations of a dump, by the configuration of the model."""

    def __init__(self, configuration: Configuration, axes: Axes) -> None:
        self._configuration = configuration
        self._axes = axes

    def function(self, tensor: Tensor) -> Function:
        """Return the function that made an activation."""
        _, suffix = split(tensor.address)
        class_name = str(tensor.attributes.get("class", ""))
        address = str(tensor.attributes.get("layer", ""))
        layer = self._configuration.layer(address)
        settings = settings_of(layer)
        if suffix in _BY_SUFFIX:
            activation = _activation(settings.get(_GATES.get(suffix, ""))) or _BY_SUFFIX[suffix]
            sums = self._axes.of_softmax(tensor) if suffix == _SCORES else LAST
            return Function(activation, gate=suffix.startswith("gates"), sums=sums)
        if suffix and not suffix.startswith("op."):
            return Function("")
        axis = self._axes.of_units(tensor)
        known = _BY_CLASS.get(class_name.lower())
        if known == "softmax":
            return Function(known, sums=self._axes.of_softmax(tensor))
        if known is not None:
            return Function(known, units=known == "relu", axis=axis)
        units = _WITH_UNITS.fullmatch(class_name) is not None
        if class_name in _NOT_ITS_OWN or class_name == "BatchNormalization":
            return Function("", units=units, axis=axis)
        name = _activation(settings.get("activation", "")) if layer is not None else None
        around = self._configuration.layer(address.rpartition(".")[0])
        if layer is None and around is not None and around.get("class_name") in _LINEAR_INSIDE:
            name = "linear"
        rectifies = class_name == "Activation" and name == "relu"
        return Function(name, units=(units or rectifies) and name not in ("sigmoid", "tanh", "softmax"), axis=axis)


def _activation(value: Any) -> str | None:
    """Return the name of an activation in a configuration: a name, a function or a layer; else None."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("class_name")
    if not isinstance(value, str):
        return None
    return _BY_CLASS.get(value.lower(), value)
