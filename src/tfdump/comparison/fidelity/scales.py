"""The scales of a quantized tensor: which real numbers its integers stand for, and how far these are apart."""

import re
from dataclasses import dataclass

import numpy as np

from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.values.layouts import laid_out, stored_item
from tfdump.dtypes import kind_of
from tfdump.dump.attributes import full_name
from tfdump.dump.parts import Key
from tfdump.dump.quantization import QUANTIZED_DTYPE, QuantizationParameters
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage
from tfdump.tensors import Array

_MOST = 2.0**62
"""No zero point is beyond this."""

_MOST_BITS = 64


@dataclass(frozen=True, eq=False)
class Scales:
    """The integers `q` from `lowest` to `highest` stand for `(q - zero_point) * step`.

    `step` and `zero_point` are scalars, or arrays that broadcast against the tensor. A dtype that is not one of
    integers has infinite limits.
    """

    step: Array
    zero_point: Array
    lowest: float
    highest: float

    def fit(self, shape: tuple[int, ...]) -> bool:
        """Return whether they are those of an array of this shape."""
        step = self.step.shape
        return not step or (
            len(step) == len(shape) and all(size in (1, whole) for size, whole in zip(step, shape, strict=True))
        )

    def of_piece(self, key: Key) -> "Scales":
        """Return the scales of a piece of the tensor."""
        if not self.step.ndim:
            return self
        place = tuple(slice(None) if size == 1 else cut for size, cut in zip(self.step.shape, key, strict=True))
        zero_point = self.zero_point[place] if self.zero_point.ndim else self.zero_point
        return Scales(self.step[place], zero_point, self.lowest, self.highest)

    def real(self, integers: Array) -> Array:
        """Return the float32 numbers for which integers stand, as `weights --dequantize` computes them."""
        with np.errstate(over="ignore", under="ignore"):
            return ((integers - self.zero_point) * self.step).astype(np.float32)

    @property
    def ends(self) -> tuple[Array, Array]:
        """The smallest and the largest real number that the integers stand for."""
        return (self.lowest - self.zero_point) * self.step, (self.highest - self.zero_point) * self.step


def scales_of(item: Item) -> Scales | None:
    """Return the scales of a tensor, also where it was dequantized; None if it has none, or none that are known.

    Those of single channels or groups of a composite are not known.

    Raises DumpError if they are not numbers that belong together.
    """
    with damage(DumpError, full_name(item)):
        parameters = item.quantization
        return None if parameters is None else _scales(item, parameters)


def _scales(item: Item, parameters: QuantizationParameters) -> Scales | None:
    if item.encoding is not None and any(values.ndim for values in (parameters.scale, parameters.zero_point)):
        return None
    shape = stored_item(item).shape
    step, zero = parameters.steps(shape), parameters.zero_points(shape)
    if not (np.all(np.isfinite(step)) and np.all(step > 0) and np.all(np.abs(zero) < _MOST)):
        raise ValueError("its scale is not positive, or its zero point is out of range")
    if step.ndim or zero.ndim:
        step, zero = np.broadcast_arrays(step, zero)
        layout = getattr(item, "layout", None)
        if layout is not None:
            step, zero = laid_out(step, layout), laid_out(zero, layout)
    return Scales(step, zero, *_limits(str(item.attributes.get(QUANTIZED_DTYPE, item.stored_dtype))))


def scales_of_both(golden: Item, new: Item) -> tuple[Scales | None, Scales | None]:
    """Return the scales of two tensors of floats or of quantized integers; (None, None) for other ones.

    Integers of a plain array are in the scales of the other side.
    """
    scales = scales_of(golden), scales_of(new)
    kinds = {kind_of(item.dtype) for item in (golden, new)}
    if kinds == {"f"}:
        return scales
    if not kinds <= set("iu"):
        return None, None
    old = scales[0] or (scales[1] if not golden.group else None)
    other = scales[1] or (scales[0] if not new.group else None)
    return (None, None) if old is None or other is None else (old, other)


def is_quantized_integer(item: Item) -> bool:
    """Return whether a tensor holds integers that stand for other real numbers."""
    return kind_of(item.dtype) in "iu" and kind_of(item.stored_dtype) in "iu" and scales_of(item) is not None


def _limits(dtype: str) -> tuple[float, float]:
    """Return the smallest and the largest integer of a dtype."""
    integer = re.fullmatch(r"(u?)int(\d+)", dtype)
    if integer is None:
        return -np.inf, np.inf
    bits = int(integer[2])
    if not 1 <= bits <= _MOST_BITS:
        raise ValueError(f"its attribute '{QUANTIZED_DTYPE}' is '{dtype}', which has not 1 to {_MOST_BITS} bits")
    return (0, 2.0**bits - 1) if integer[1] else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
