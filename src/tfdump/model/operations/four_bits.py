"""Numbers of four bits, of which model files put two into a byte."""

import numpy as np

from tfdump.tensors import Array

FOUR_BITS = ("int4", "uint4")


def unpacked(data: Array, dtype: str, count: int) -> Array:
    """Return `count` numbers in a byte each, int8 or uint8. The lower half of a byte of `data` (uint8) is the first."""
    halves = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)[:count]
    return (halves ^ 8).astype(np.int8) - np.int8(8) if dtype == "int4" else halves
