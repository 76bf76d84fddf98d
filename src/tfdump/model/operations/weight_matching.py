"""Whether a matrix product or convolution of a file has the weights of one of a Keras model, and what was folded in.

A converter transposes kernels, multiplies them with the scale of a batch normalization behind them, and quantizes them.
The directions of the channels stay, so they tell the layer. The lengths and the bias tell what was folded in.
"""

from dataclasses import dataclass

import numpy as np

from tfdump.model.operations.reference import Affine, Reference
from tfdump.tensors import Array

SIMILAR = 0.995
"""The mean cosine of two kernels, channel by channel, above which they are the same."""

_TOLERANCES = {"float32": 1e-4, "float16": 3e-3, "bfloat16": 2e-2, "int8": 3e-2}
_COARSEST = 0.15


@dataclass(frozen=True)
class FileProduct:
    """The real weights of a product in a file as a matrix, one column per channel, and its bias.

    `tolerance` is the relative error that the dtype of the weights brings.
    """

    matrix: Array
    bias: Array | None
    tolerance: float


def file_product(kind: str, weights: Array, bias: Array | None, dtype: str) -> FileProduct | None:
    """Return the weights of an operation of TFLite in the common form, None where it is no product of that form."""
    match kind:
        case "FULLY_CONNECTED":
            matrix = weights.T if weights.ndim == 2 else None
        case "CONV_2D" | "TRANSPOSE_CONV":
            matrix = np.moveaxis(weights, 0, -1).reshape(-1, weights.shape[0])
        case "DEPTHWISE_CONV_2D" | "CONV_3D":
            matrix = weights.reshape(-1, weights.shape[-1])
        case _:
            matrix = None
    return None if matrix is None else FileProduct(matrix, bias, _TOLERANCES.get(dtype, _COARSEST))


def same_weights(product: FileProduct, reference: Reference, operation: int) -> Array | None:
    """Return the kernel of an operation of Keras, in the form of the file, if the product has the same; else None."""
    for kernel in _forms(reference, operation):
        if kernel.shape == product.matrix.shape and _similarity(kernel, product.matrix) > SIMILAR:
            return kernel
    return None


def last_folded(product: FileProduct, kernel: Array, reference: Reference, operation: int) -> Affine | None:
    """Return the last operation of Keras behind a product that the weights and the bias in the file contain."""
    channels = kernel.shape[-1]
    bias = np.zeros(channels) if product.bias is None else product.bias.reshape(-1).astype(np.float64)
    last = None
    for step in reference.behind_product(operation):
        if np.size(step.scale) not in (1, channels) or np.size(step.offset) not in (1, channels):
            continue
        offset = np.broadcast_to(np.asarray(step.offset, np.float64), (channels,))
        scaled = kernel * step.scale
        if _far(product.matrix, scaled, product.tolerance) or bias.shape != offset.shape:
            continue
        if not _far(bias, offset, product.tolerance):
            last = step
    return last


def _forms(reference: Reference, operation: int) -> list[Array]:
    """Return the kernel of an operation as matrices with one column per channel, in every way that it can be read."""
    kind, kernel = reference.operations[operation].kind, reference.operations[operation].constant
    if kernel is None or kernel.ndim < 2:
        return []
    kernel = kernel.astype(np.float64)
    if kind == "DepthwiseConv2dNative":
        return [kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1])]
    if kind == "Conv2DBackpropInput":
        return [np.swapaxes(kernel, -1, -2).reshape(-1, kernel.shape[-2])]
    if kind.startswith("Conv"):
        return [kernel.reshape(-1, kernel.shape[-1])]
    return [kernel.reshape(int(np.prod(kernel.shape[:cut])), -1) for cut in range(1, kernel.ndim)]


def _similarity(one: Array, two: Array) -> float:
    """Return the mean cosine of the columns of two matrices; a negative scale turns them around."""
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(two, axis=0)
    inner = np.abs((one * two).sum(axis=0))
    used = lengths > 0
    return float((inner[used] / lengths[used]).mean()) if used.any() else 0.0


def _far(one: Array, two: Array, tolerance: float) -> bool:
    size = max(float(np.linalg.norm(one)), float(np.linalg.norm(two)))
    return float(np.linalg.norm(one - two)) > tolerance * size
