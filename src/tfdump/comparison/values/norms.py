"""Sums of squares by one thread: the threads of a dot product would wait for those of the models."""

import math

import numpy as np

from tfdump.tensors import Array


def l2_norm(values: Array) -> float:
    """Return the L2 norm of an array of float32, float64, complex64 or complex128."""
    return math.sqrt(sum_of_squares(flat_numbers(values)))


def sum_of_squares(values: Array) -> float:
    """Return the sum of the squares of real numbers in a row, in their dtype."""
    return float(np.einsum("i,i->", values, values))


def flat_numbers(values: Array) -> Array:
    """Return the numbers of an array in a row; a complex number is two."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat
