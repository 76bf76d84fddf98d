"""Which integers of an ONNX graph stand for real numbers, and by which scale and zero point."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfdump.model.onnx.file import OnnxGraph, OnnxNode
from tfdump.tensors import Array

_SCALES = {
    "QuantizeLinear": (1, 2),
    "QLinearConv": (6, 7),
    "QLinearMatMul": (6, 7),
    "com.microsoft:QLinearAdd": (6, 7),
    "com.microsoft:QLinearMul": (6, 7),
    "com.microsoft:QLinearConcat": (0, 1),
    "com.microsoft:QLinearSigmoid": (3, 4),
    "com.microsoft:QLinearLeakyRelu": (3, 4),
    "com.microsoft:QLinearSoftmax": (3, 4),
    "com.microsoft:QLinearAveragePool": (3, 4),
    "com.microsoft:QLinearGlobalAveragePool": (3, 4),
    "com.microsoft:QLinearReduceMean": (3, 4),
    "com.microsoft:QGemm": (7, 8),
}
"""Operations that return quantized numbers, with the places of the scale and the zero point among their inputs."""

_SCALE_PRESERVING = frozenset(
    {"Reshape", "Transpose", "MaxPool", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Split"}
)
"""Operations that return some of the numbers of their first input, so that scale and zero point stay."""


@dataclass(frozen=True)
class Quantization:
    """A scale and a zero point, of one element or one for each place along `axis`."""

    scale: Array
    zero_point: Array
    axis: int | None

    def real(self, values: Array) -> Array:
        """Return the real numbers that quantized ones stand for, `(q - zero_point) * scale` in float32."""
        shape = [1] * values.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        scale = self.scale.reshape(shape) if self.axis is not None else self.scale.reshape(())
        zero_point = self.zero_point.reshape(shape) if self.axis is not None else self.zero_point.reshape(())
        return ((values.astype(np.int64) - zero_point).astype(np.float32) * scale).astype(np.float32)


def quantizations(graph: OnnxGraph) -> dict[str, Quantization]:
    """Return the scales and zero points of the quantized tensors of a graph, where they are constants."""
    constants = {name: constant.values for name, constant in graph.constants.items() if constant.values is not None}
    for node in graph.nodes:
        if node.kind == "Constant" and len(node.tensors) == 1 and node.tensors[0].values is not None:
            constants |= dict.fromkeys(node.outputs, node.tensors[0].values)
    result: dict[str, Quantization] = {}
    for node in graph.nodes:
        if node.title in _SCALES:
            quantization = _of_node(node, constants)
        elif node.title in _SCALE_PRESERVING and node.inputs:
            quantization = result.get(node.inputs[0])
            quantization = None if quantization is not None and quantization.axis is not None else quantization
        else:
            continue
        if quantization is not None:
            result |= dict.fromkeys(filter(None, node.outputs), quantization)
    return result


def _of_node(node: OnnxNode, constants: Mapping[str, Array]) -> Quantization | None:
    """Return what a node quantizes by; None where it is not constant, or of a form that is not known."""
    at_scale, at_zero = _SCALES[node.title]
    scale = constants.get(node.inputs[at_scale]) if at_scale < len(node.inputs) else None
    if scale is None or scale.dtype.kind != "f" or not scale.size:
        return None
    has_zero = at_zero < len(node.inputs) and bool(node.inputs[at_zero])
    zero_point = constants.get(node.inputs[at_zero]) if has_zero else np.zeros_like(scale, np.int64)
    if zero_point is None or zero_point.dtype.kind not in "iu" or zero_point.size != scale.size or scale.ndim > 1:
        return None
    axis = None if scale.size == 1 else 1 if node.axis is None else node.axis
    return Quantization(scale.reshape(-1).astype(np.float32), zero_point.reshape(-1).astype(np.int64), axis)
