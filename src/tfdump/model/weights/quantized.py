"""Quantized weights of Keras layers: their integers in the shape of the weight, and what they stand for.

Keras holds the integers of 4 bits in pairs, and some kernels flat or transposed. The layers of Keras that can be
quantized are those below; `keras/src/layers/core/` shows how each of them computes with its weights.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import Layer
from keras.layers import Dense, EinsumDense, Embedding, ReversibleEmbedding

from tfdump.dtypes import numpy_dtype
from tfdump.dump.quantization import QuantizationParameters
from tfdump.model.operations.four_bits import unpacked
from tfdump.tensors import Array

INT8, INT4, FLOAT8, GPTQ, AWQ = "int8", "int4", "float8", "gptq", "awq"

_FLOAT8_KERNEL = "float8_e4m3fn"
_LARGEST_FLOAT8 = 448
_Parameters = Callable[[], QuantizationParameters]


@dataclass(frozen=True)
class QuantizedWeight:
    """One quantized weight: its variable, the scheme, the dtype and shape of its integers, and how they are read.

    `parameters` is None for float8, whose layers hold real numbers (`integers`) and round them to float8 when they
    compute.
    """

    variable: Any
    scheme: str
    dtype: str
    shape: tuple[int, ...]
    integers: Callable[[], Array]
    parameters: _Parameters | None
    scale: Any = None

    @property
    def computed_dtype(self) -> str:
        """The dtype in which the layer computes with the weight, apart from its scale."""
        return self.dtype if self.parameters is not None else _FLOAT8_KERNEL

    def real(self) -> Array:
        """Return the real numbers with which the layer computes, as float32.

        float8 follows `quantize_and_dequantize` in `keras/src/quantizers/quantizers.py`.
        """
        if self.parameters is not None:
            return self.parameters().dequantized(self.integers())
        most, scale = _LARGEST_FLOAT8, numbers(self.scale)
        rounded = np.clip(self.integers() / scale, -most, most).astype(numpy_dtype(_FLOAT8_KERNEL))
        return np.asarray(rounded.astype(np.float32) * scale, np.float32)


def quantized_weights(layer: Layer) -> Iterator[QuantizedWeight]:
    """Yield the quantized weights of one layer."""
    scheme = getattr(layer, "quantization_mode", None)
    if scheme == FLOAT8 and isinstance(layer, (Dense, EinsumDense)):
        yield _rounded(layer)
    elif scheme in (INT8, INT4) and isinstance(layer, (Dense, EinsumDense)):
        yield _eight_bits(layer) if scheme == INT8 else _four_bits(layer)
    elif scheme in (INT8, INT4) and isinstance(layer, Embedding):
        yield from _embeddings(layer, scheme)
    elif getattr(layer, f"is_{scheme}_calibrated", False) and isinstance(layer, (Dense, EinsumDense)):
        yield _calibrated(layer, str(scheme))


def numbers(variable: Any) -> Array:
    """Return the value of a variable or tensor of Keras."""
    return np.asarray(variable.value.numpy() if hasattr(variable, "value") else variable)


def reciprocal(scale: Any) -> Array:
    """Return the scale by which Keras divides as the one by which integers are multiplied."""
    return np.asarray(1 / numbers(scale).astype(np.float64))


_ZERO = np.int64(0)


def _rounded(layer: Any) -> QuantizedWeight:
    kernel = layer._kernel
    dtype, shape = str(kernel.dtype), tuple(kernel.shape)
    return QuantizedWeight(kernel, FLOAT8, dtype, shape, lambda: numbers(kernel), None, layer.kernel_scale)


def _eight_bits(layer: Any) -> QuantizedWeight:
    kernel = layer._kernel

    def parameters() -> QuantizationParameters:
        if isinstance(layer, Dense):
            return QuantizationParameters(reciprocal(layer.kernel_scale), np.asarray(_ZERO), axis=1)
        return _along_one_axis(reciprocal(layer._adjust_scale_for_dequant(layer.kernel_scale.value)))

    return QuantizedWeight(kernel, INT8, INT8, tuple(kernel.shape), lambda: numbers(kernel), parameters)


def _along_one_axis(scale: Array) -> QuantizationParameters:
    """Return the parameters for a scale that broadcasts; one along a single axis becomes a list along it."""
    long = [axis for axis, size in enumerate(scale.shape) if size > 1]
    if len(long) > 1:
        return QuantizationParameters(scale, np.asarray(_ZERO))
    if not long:
        return QuantizationParameters(scale.reshape(()), np.asarray(_ZERO))
    return QuantizationParameters(scale.reshape(-1), np.asarray(_ZERO), axis=long[0])


def _four_bits(layer: Any) -> QuantizedWeight:
    kernel = layer._kernel
    rows = int(kernel.shape[0])
    is_dense = isinstance(layer, Dense)
    columns = layer._orig_output_dim if is_dense else layer._int4_unpacked_column_size
    shape = (rows, columns) if is_dense else tuple(layer.original_kernel_shape)

    def parameters() -> QuantizationParameters:
        if not hasattr(layer, "kernel_zero"):
            return _of_columns(reciprocal(layer.kernel_scale), rows, shape)
        zero = numbers(layer.kernel_zero).astype(np.int64)
        return _of_groups(numbers(layer.kernel_scale), zero, numbers(layer.g_idx), shape)

    def integers() -> Array:
        return unpacked(numbers(kernel), columns, 1, signed=True).reshape(shape)

    return QuantizedWeight(kernel, INT4, INT4, shape, integers, parameters)


def _of_columns(scale: Array, rows: int, shape: tuple[int, ...]) -> QuantizationParameters:
    """Return the parameters for one scale per column of a kernel that was flattened to rows and columns."""
    leading = _leading_axes(rows, shape)
    if leading is None:
        return QuantizationParameters(np.broadcast_to(scale, (rows, len(scale))).reshape(shape), np.asarray(_ZERO))
    return _along_one_axis(scale.reshape((1,) * leading + shape[leading:]))


def _of_groups(
    scale: Array, zero: Array, index: Array, shape: tuple[int, ...], input_scale: Array | None = None
) -> QuantizationParameters:
    """Return the parameters for groups of rows of a kernel that was flattened; `scale` is (groups, columns)."""
    leading, index = _leading_axes(len(index), shape), index.astype(np.int64)
    if leading is None:
        step = scale[index] if input_scale is None else scale[index] / input_scale[:, None]
        return QuantizationParameters(step.reshape(shape), zero[index].reshape(shape))
    rest = shape[leading:]
    scale, zero = scale.reshape(-1, *rest), zero.reshape(-1, *rest)
    return QuantizationParameters(scale, zero, None, index, tuple(range(leading)), input_scale)


def _leading_axes(rows: int, shape: tuple[int, ...]) -> int | None:
    """Return how many axes of a kernel became its rows when it was flattened; None if no number of axes gives them."""
    return next((count for count in range(1, len(shape)) if math.prod(shape[:count]) == rows), None)


def _embeddings(layer: Any, scheme: str) -> Iterator[QuantizedWeight]:
    table, width = layer._embeddings, int(layer.output_dim)

    def parameters() -> QuantizationParameters:
        scale = layer.embeddings_scale
        if scheme == INT8 or not hasattr(layer, "embeddings_zero"):
            return QuantizationParameters(reciprocal(scale), np.asarray(_ZERO), axis=0)
        zero, index = numbers(layer.embeddings_zero).astype(np.int64), numbers(layer.g_idx).astype(np.int64)
        return QuantizationParameters(numbers(scale).T, zero.T, None, index, (1,))

    yield QuantizedWeight(
        table, scheme, scheme, (int(layer.input_dim), width), lambda: _table(table, scheme, width, 1), parameters
    )
    if isinstance(layer, ReversibleEmbedding) and not layer.tie_weights:
        yield _reverse(layer, scheme)


def _reverse(layer: Any, scheme: str) -> QuantizedWeight:
    table, shape = layer.reverse_embeddings, (int(layer.output_dim), int(layer.input_dim))

    def parameters() -> QuantizationParameters:
        scale = layer.reverse_embeddings_scale
        if scheme == INT8 or not hasattr(layer, "reverse_embeddings_zero"):
            return QuantizationParameters(reciprocal(scale), np.asarray(_ZERO), axis=1)
        zero = numbers(layer.reverse_embeddings_zero).astype(np.int64)
        return QuantizationParameters(numbers(scale), zero, None, numbers(layer.g_idx).astype(np.int64), (0,))

    return QuantizedWeight(table, scheme, scheme, shape, lambda: _table(table, scheme, shape[0], 0), parameters)


def _table(table: Any, scheme: str, length: int, axis: int) -> Array:
    return numbers(table) if scheme == INT8 else unpacked(numbers(table), length, axis, signed=True)


def _calibrated(layer: Any, scheme: str) -> QuantizedWeight:
    """Return the kernel of a layer after GPTQ or AWQ, which holds it transposed: (outputs, inputs)."""
    kernel = layer.quantized_kernel
    shape = tuple(layer.kernel_shape if isinstance(layer, Dense) else layer.original_kernel_shape)
    rows = int(kernel.shape[1])
    columns = math.prod(shape) // rows
    packed = int(kernel.shape[0]) != columns

    def integers() -> Array:
        flat = numbers(kernel)
        return (unpacked(flat, columns, 0, signed=False) if packed else flat).T.reshape(shape)

    def parameters() -> QuantizationParameters:
        zero = numbers(layer.kernel_zero).astype(np.int64)
        divisor = numbers(layer.awq_scales) if scheme == AWQ else None
        return _of_groups(numbers(layer.kernel_scale).T, zero.T, numbers(layer.g_idx), shape, divisor)

    return QuantizedWeight(kernel, scheme, "uint4" if packed else "uint8", shape, integers, parameters)
