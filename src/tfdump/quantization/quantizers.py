"""Numbers of fewer bits: each quantizer takes real numbers and returns the numbers that would stand for them."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfdump.dtypes import numpy_dtype
from tfdump.tensors import Array

_MOST_EXPONENT = 1024
"""Every float64 is below 2 to the power of this."""


class Quantizer(Protocol):
    """Replaces real numbers by those that a narrower type has."""

    def quantized(self, numbers: Array) -> Array:
        """Return the numbers that stand for finite float32 or float64 numbers."""


@dataclass(frozen=True)
class IntegerQuantizer:
    """Integers from `low` to `high` that stand for `(q - zero_point) * scale`; halves are rounded to even."""

    scale: float
    zero_point: int
    low: int
    high: int

    def quantized(self, numbers: Array) -> Array:
        """Return the nearest numbers that integers stand for; those outside of the range become its ends."""
        least, most = self.low - self.zero_point, self.high - self.zero_point
        with np.errstate(over="ignore"):
            steps: Array = np.divide(numbers, self.scale, dtype=np.float64)
            np.rint(steps, out=steps)
            np.clip(steps, least, most, out=steps)
            if math.isinf(max(-least, most) * self.scale):  # an end stands for more than the largest float64
                steps = steps.astype(np.longdouble)
            steps *= self.scale
        return steps


@dataclass(frozen=True)
class FixedPointQuantizer:
    """`ap_fixed<bits, integer_bits>`: rounds down (AP_TRN) and saturates (AP_SAT); see AMD UG1399, "Arbitrary Precision
    Fixed-Point Data Types".
    """

    bits: int
    integer_bits: int

    def quantized(self, numbers: Array) -> Array:
        """Return the largest fixed-point numbers that are not above the numbers."""
        fraction = self.bits - self.integer_bits
        most = 2.0 ** (self.bits - 1)
        with np.errstate(over="ignore", under="ignore"):
            steps: Array = np.floor(np.ldexp(numbers.astype(np.float64), fraction))
            if fraction < 0:
                steps[(steps == 0) & (numbers < 0)] = -1  # a small negative number that vanished in float64
            np.clip(steps, -most, most - 1, out=steps)
            if self.integer_bits > _MOST_EXPONENT:  # -most stands for less than the smallest float64
                steps = steps.astype(np.longdouble)
            return np.ldexp(steps, -fraction)


def integer_bits_for(low: float, high: float) -> int:
    """Return the least I with which `ap_fixed<W, I>` holds -2**(I-1) <= low and high < 2**(I-1); 1 if both are 0.

    A number below 2**(I-1) and above the largest one of the type is rounded down to that one, so it does not overflow.
    """
    needed = []
    if high > 0:
        needed.append(math.frexp(high)[1])  # high < 2**exponent
    if low < 0:
        mantissa, exponent = math.frexp(-low)
        needed.append(exponent - 1 if mantissa == 0.5 else exponent)  # -low <= 2**exponent
    return max(needed, default=0) + 1


@dataclass(frozen=True)
class FloatQuantizer:
    """A narrower float, rounded to the nearest, halves to even.

    Beyond the largest number, float16 and bfloat16 become infinite, as IEEE 754 says. The two float8 formats become
    the largest number, as Keras and accelerators do it ("OCP 8-bit Floating Point Specification", saturating mode).
    """

    dtype: str

    @cached_property
    def _type(self) -> np.dtype[Any]:
        return numpy_dtype("float8_e4m3fn" if self.dtype == "float8_e4m3" else self.dtype)

    @cached_property
    def largest(self) -> float:
        """The largest finite number."""
        return LARGEST[self.dtype]

    def quantized(self, numbers: Array) -> Array:
        """Return the nearest numbers of the type, as float32."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if self.dtype.startswith("float8"):
                numbers = np.clip(numbers, -self.largest, self.largest)
            if numbers.dtype == np.float64 and self.dtype != "float16":  # which ml_dtypes would round twice
                numbers = rounded_to_odd(numbers)
            return numbers.astype(self._type).astype(np.float32)

    def overflowed(self, numbers: Array) -> int:
        """Return how many numbers would be rounded to something beyond the largest number."""
        magnitudes, limit = np.abs(numbers), _OVERFLOWS[self.dtype]
        even = self.dtype == "float8_e4m3"  # the last bit of its largest number is 0, so halves are rounded down to it
        return int(np.count_nonzero(magnitudes > limit if even else magnitudes >= limit))


LARGEST = {"float16": 65504.0, "bfloat16": float.fromhex("0x1.fep127"), "float8_e4m3": 448.0, "float8_e5m2": 57344.0}
"""The largest number of each narrower float."""

_OVERFLOWS = {"float16": 65520.0, "bfloat16": float.fromhex("0x1.ffp127"), "float8_e4m3": 464.0, "float8_e5m2": 61440.0}
"""The middle between the largest number and the next one that there would be."""


def rounded_to_odd(numbers: Array) -> npt.NDArray[np.float32]:
    """Return float64 as float32 with an odd last bit where it is not exact, which no second rounding can spoil."""
    nearest = numbers.astype(np.float32)
    finite = np.isfinite(nearest)
    inexact = finite & (nearest != numbers)
    beyond = np.abs(nearest.astype(np.float64)) > np.abs(numbers)
    bits = nearest.view(np.int32)
    bits = np.where(inexact & beyond, bits - 1, bits)  # toward zero
    return np.where(inexact, bits | 1, bits).astype(np.int32).view(np.float32)
