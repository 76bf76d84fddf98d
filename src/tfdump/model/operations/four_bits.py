"""Integers of 4 bits, of which model files put two into a byte."""

import numpy as np

from tfdump.tensors import Array

FOUR_BITS = ("int4", "uint4")


def unpacked(packed: Array, length: int, axis: int, signed: bool) -> Array:
    """Return the integers of 4 bits that lie in pairs along an axis, the lower half of each byte first.

    `length` is the number of integers along the axis: the last half byte may be padding.
    """
    pairs = np.moveaxis(packed.view(np.uint8), axis, 0)
    halves = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1, *pairs.shape[1:])[:length]
    halves = np.moveaxis(halves, 0, axis)
    return ((halves ^ 8).astype(np.int8) - np.int8(8)) if signed else halves
