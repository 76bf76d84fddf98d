"""The weights of the matrix products and convolutions of a TFLite graph, as real numbers."""

from collections.abc import Callable

import numpy as np

from tfdump.model.operations.weight_matching import FileProduct, file_product
from tfdump.model.tflite.flatbuffer import LiteSubgraph, LiteTensor
from tfdump.model.tflite.name_evidence import PRODUCTS
from tfdump.tensors import Array


class LiteProducts:
    """The products of a graph; `values` returns the numbers of a constant as the file holds them."""

    def __init__(self, graph: LiteSubgraph, values: Callable[[int], Array]) -> None:
        self._graph = graph
        self._values = values
        self._made_by = {number: operator for operator in graph.operators for number in operator.outputs}

    def of(self, number: int) -> FileProduct | None:
        """Return the weights and the bias of the operation of a tensor, None where they are not constants."""
        operator = self._made_by[number]
        if operator.kind not in PRODUCTS:
            return None
        place, behind = PRODUCTS[operator.kind]
        weights = self._constant(operator.inputs[place])
        bias = operator.inputs[behind] if behind < len(operator.inputs) else -1
        offset = None if bias < 0 else self._constant(bias)
        if weights is None or (bias >= 0 and offset is None):
            return None
        tensor = self._graph.tensors[weights]
        real = represented_numbers(tensor, self._values(weights))
        added = None if offset is None else represented_numbers(self._graph.tensors[offset], self._values(offset))
        return file_product(operator.kind, real, added, tensor.dtype)

    def _constant(self, number: int) -> int | None:
        """Return the number of the constant that a tensor is, or that is converted to it."""
        operator = self._made_by.get(number)
        source = operator.inputs[0] if operator is not None and operator.kind == "DEQUANTIZE" else number
        return source if self._graph.tensors[source].constant else None


def represented_numbers(tensor: LiteTensor, values: Array) -> Array:
    """Return the numbers of a tensor in float64; quantized ones are `(q - zero_point) * scale`."""
    if not tensor.quantized:
        return values.astype(np.float64)
    shape = [1] * values.ndim
    if tensor.axis is not None:
        shape[tensor.axis] = -1
    zero_point, scale = tensor.zero_point.reshape(shape), tensor.scale.reshape(shape).astype(np.float64)
    return (values.astype(np.float64) - zero_point) * scale
