"""How exported integers stand for real numbers, also where only a part of them is written."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tfdump.dump.quantization import INPUT_SCALE, QUANTIZED_DTYPE, SCALE, QuantizationParameters
from tfdump.dump.slicing import Axis, Slicing
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError
from tfdump.tensors import Array


def exported_quantization(tensor: Tensor, slicing: Slicing | None = None) -> QuantizationParameters | None:
    """Return how the exported values of a tensor stand for real numbers.

    None for a tensor that is not quantized, for one whose values are real numbers already (`--dequantize`), and for
    composites. Raises DumpError where the parameters of a part of the tensor cannot be told.
    """
    parameters = tensor.quantization
    if parameters is None or QUANTIZED_DTYPE in tensor.attributes or tensor.encoding is not None:
        return None
    if slicing is None or not parameters.scale.ndim:
        return parameters
    what = f"'{tensor.address}'"
    axis = parameters.axis
    if axis is None or parameters.group_index is not None or not 0 <= axis < len(tensor.shape):
        raise DumpError(f"{what} has scales for groups of its values, which --slice would tear apart (write it whole)")
    return _sliced(parameters, axis, slicing.axes(tensor.shape, what))


def _sliced(parameters: QuantizationParameters, axis: int, axes: Sequence[Axis]) -> QuantizationParameters:
    """Return the parameters of the channels that remain along `axis`."""
    cut = axes[axis]
    rows = cut.start + cut.step * np.arange(cut.count)
    scale, zero = (values[rows] if values.ndim else values for values in (parameters.scale, parameters.zero_point))
    if not cut.remains:
        return replace(parameters, scale=scale[0], zero_point=zero[0] if zero.ndim else zero, axis=None)
    return replace(parameters, scale=scale, zero_point=zero, axis=sum(one.remains for one in axes[:axis]))


def plain_parameters(parameters: QuantizationParameters) -> dict[str, Array]:
    """Return parameters by the names of their attributes: real numbers as float32 if that has them, others as int32."""
    return {
        name: _smallest(np.asarray(value), (np.float32,) if name in (SCALE, INPUT_SCALE) else (np.int32, np.float32))
        for name, value in parameters.attributes.items()
    }


def _smallest(values: Array, dtypes: Sequence[type[np.generic]]) -> Array:
    """Return values in the first dtype that has all of them, or else as they are."""
    for dtype in dtypes:
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = values.astype(dtype)
        if np.array_equal(narrow.astype(values.dtype), values, equal_nan=values.dtype.kind == "f"):
            return narrow
    return values
