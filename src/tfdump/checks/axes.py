"""The axes of units and of softmax in a tensor, by the configuration of the layers and not by position."""

import re
from collections.abc import Sequence
from typing import Any

from tfdump.address import split
from tfdump.checks.configuration import Configuration, LayerSettings, settings_of
from tfdump.dump.graph.labels import inputs_of
from tfdump.dump.tensor import Tensor

LAST = (-1,)

_WITH_OWN_AXIS = ("BatchNormalization", "GroupNormalization", "Normalization")
"""Layers whose setting `axis` is the axis of the units; other normalizations name the axes that they normalize over."""

_LAST_AXIS = ("Dense", "Embedding", "LSTM", "GRU", "SimpleRNN", "MultiHeadAttention")
_SAME_UNITS = re.compile(
    r"Activation|(Leaky|P)?ReLU|ELU|Softmax|(Spatial|Gaussian|Alpha)?Dropout([123]D)?|GaussianNoise"
    r"|ActivityRegularization|Identity|Rescaling|Masking|(Layer|RMS|Unit)Normalization"
    r"|Add|Subtract|Multiply|Average|Maximum|Minimum|Concatenate"
    r"|(Leaky)?Relu6?|Elu|Selu|Celu|Gelu|Glu|Silu|Mish|Softplus|Softsign|(Hard)?Sigmoid|(Hard)?Tanh|HardSilu"
    r"|(True)?Divide|Abs|Absolute|Negative|Square|R?sqrt|Exp|Log|Clip|Power|Where|Cast"
)
"""Layers and operations whose outputs have their units along the same axis as their inputs."""

_MOST_STEPS = 10_000


class Axes:
    """The axes of the tensors of a dump; `activations` has those of the dump, in the order of execution."""

    def __init__(self, configuration: Configuration, activations: Sequence[Tensor] = ()) -> None:
        self._configuration = configuration
        self._tensors = {tensor.address: tensor for tensor in activations}
        self._before: dict[str, str] = {}
        last: dict[tuple[int, ...], str] = {}
        for tensor in activations:
            if not split(tensor.address)[1]:
                self._before[tensor.address] = last.get(tensor.shape, "")
                last[tensor.shape] = tensor.address

    def of_units(self, tensor: Tensor) -> int:
        """Return the axis of the units: as the nearest layer before it tells, or else the last axis."""
        address: str | None = split(tensor.address)[0]
        for _ in range(_MOST_STEPS):
            if not address:
                break
            class_name, settings = self._layer(address)
            axis = _own_axis(class_name, settings)
            if axis is not None:
                return axis
            inside = self._configuration.last_inside(address)
            if inside is None and not _SAME_UNITS.fullmatch(class_name):
                break
            address = inside or self._configuration.read_by(address) or self._read_in_dump(address)
        return -1

    def of_softmax(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the axes over which a softmax sums to 1."""
        address, suffix = split(tensor.address)
        attention = address if suffix else address.rpartition(".")[0]
        axes = settings_of(self._configuration.layer(attention)).get("attention_axes")
        if isinstance(axes, list) and axes:  # the keys are the last axes of the scores
            return tuple(range(-len(axes), 0))
        axis = self._layer(address)[1].get("axis", -1)
        several = axis if isinstance(axis, list) else [axis]
        return tuple(several) if several and all(type(one) is int for one in several) else LAST

    def _layer(self, address: str) -> tuple[str, LayerSettings]:
        """Return the class and the settings of a layer, as far as the configuration and the dump tell them."""
        layer = self._configuration.layer(address)
        if layer is not None:
            return str(layer.get("class_name", "")), settings_of(layer)
        tensor = self._tensors.get(address)
        return ("", {}) if tensor is None else (str(tensor.attributes.get("class", "")), tensor.attributes)

    def _read_in_dump(self, address: str) -> str | None:
        """Return what a layer read if no configuration tells: from the dump, or the previous tensor of its shape."""
        tensor = self._tensors.get(address)
        read = [] if tensor is None else [name for name in inputs_of(tensor) or () if name in self._tensors]
        return split(read[0])[0] if read else self._before.get(address)


def _own_axis(class_name: str, settings: LayerSettings) -> int | None:
    """Return the axis of the units that a layer sets itself; None if it has that of its input."""
    axis = settings.get("axis")
    if class_name in _WITH_OWN_AXIS:
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        return axis if type(axis) is int else -1
    if class_name == "TimeDistributed":
        inner: Any = settings.get("layer")
        inside = _own_axis(str(inner.get("class_name", "")), settings_of(inner)) if isinstance(inner, dict) else None
        return None if inside is None else inside + (inside > 0)
    if isinstance(settings.get("data_format"), str):
        return 1 if settings["data_format"] == "channels_first" else -1
    return -1 if class_name in _LAST_AXIS else None


def whole_axes(axes: Sequence[int], rank: int) -> tuple[int, ...] | None:
    """Return axes as positions from the first, sorted; None if one is the first axis or does not exist."""
    if not all(-rank <= axis < rank for axis in axes):
        return None
    positions = sorted({axis % rank for axis in axes})
    return tuple(positions) if positions and positions[0] > 0 else None
