"""Sums that do not depend on the order of their terms: exact ones of floats, and pairs of float64 of arrays.

Every term of an exact sum is what float64 made of one block of numbers. To add every number exactly, in integers,
takes half as long again as the statistics themselves.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.tensors import Array

_LEAST = -1074
"""Exponent of the smallest float64, of which all others are multiples."""

_BITS = 128
"""Bits of a root before it is rounded to float64: a last bit that stands for the rest is far from those of float64."""

_DIGITS_OF_FLOAT32 = 24

_PIECE = 1 << 14
"""Numbers of an array that are added at once, so that what is computed between stays in the cache."""


class ExactSum:
    """An exact sum of finite floats."""

    def __init__(self) -> None:
        self._units = 0  # of 2^-2148, the square of the smallest float

    @property
    def fraction(self) -> tuple[int, int]:
        """The sum as a numerator and a denominator, which is a power of 2."""
        return self._units, 1 << -2 * _LEAST

    def add(self, number: float, exponent: int = 0) -> None:
        """Add a finite float times 2^exponent."""
        self.add_units(_units(number), _LEAST + exponent)

    def add_units(self, integer: int, exponent: int) -> None:
        """Add `integer * 2 ** exponent`; bits below 2^-2148 are left out."""
        self._units += _shifted(integer, exponent - 2 * _LEAST)

    def merge(self, other: "ExactSum", times: int = 1) -> None:
        """Add another sum, so many times."""
        self._units += other._units * times

    def state(self) -> list[int]:
        """Return the sum as an odd integer and an exponent of 2, which do not depend on the order of the terms."""
        zeros = (self._units & -self._units).bit_length() - 1 if self._units else 0
        return [self._units >> zeros, zeros + 2 * _LEAST if self._units else 0]

    @classmethod
    def of_state(cls, state: list[int]) -> "ExactSum":
        """Return the sum with this `state`."""
        total = cls()
        total.add_units(*state)
        return total


class ExactMoments:
    """The number of finite numbers, their sum, and the sum of their squares, from those of blocks."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = ExactSum()
        self.squares = ExactSum()

    def add_sums(self, count: int, total: float, squares: float, exponent: int = 0) -> None:
        """Add a block of numbers with this sum and this sum of squares, all of them times 2^exponent."""
        self.count += count
        self.sum.add(total, exponent)
        self.squares.add(squares, 2 * exponent)

    def add_deviations(self, count: int, mean: float, rest: float, deviations: float, exponent: int = 0) -> None:
        """Add a block of numbers, all of them times 2^exponent.

        Their mean is `mean + rest`, and `deviations` is the sum of the squares of the deviations from it. The block's
        sum of squares then has more bits than float64, so that none is lost where the mean is far from 0.
        """
        exact = _units(mean) + _units(rest)
        self.count += count
        self.sum.add_units(count * exact, _LEAST + exponent)
        self.squares.add_units(count * exact**2, 2 * (_LEAST + exponent))
        self.squares.add(deviations, 2 * exponent)

    def merge(self, other: "ExactMoments", times: int = 1) -> None:
        """Add the numbers of another, so many times."""
        self.count += other.count * times
        self.sum.merge(other.sum, times)
        self.squares.merge(other.squares, times)

    def mean(self) -> float:
        """Return the mean of the sums, correctly rounded; raises ZeroDivisionError without a number."""
        units, unit = self.sum.fraction
        return units / (unit * self.count)

    def std(self) -> float:
        """Return the standard deviation (ddof 0), correctly rounded; raises ZeroDivisionError without a number."""
        units, unit = self.sum.fraction
        squares, _ = self.squares.fraction
        return root_of(max(0, squares * unit * self.count - units**2), (unit * self.count) ** 2)

    def l2(self) -> float:
        """Return the L2 norm, correctly rounded; infinite where float64 ends."""
        return root_of(*self.squares.fraction)

    def state(self) -> list[Any]:
        """Return the count and the sums, as JSON of integers."""
        return [self.count, self.sum.state(), self.squares.state()]

    @classmethod
    def of_state(cls, state: list[Any]) -> "ExactMoments":
        """Return the moments with this `state`."""
        moments = cls()
        moments.count = state[0]
        moments.sum, moments.squares = map(ExactSum.of_state, state[1:])
        return moments


class ArraySum:
    """A sum of arrays of one shape, as an unevaluated sum of two float64, `high` and `low`.

    Its 106 bits make the sum, rounded to float64 or less, the same in every order of its terms. After D. E. Knuth, "The
    Art of Computer Programming" 2, 4.2.2, theorem B ("TwoSum"). Complex numbers are two floats. Terms of 32 bits are
    added to `high` alone as long as their sums are exact in float64, which takes half the time.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64) -> None:
        self.high = np.zeros(shape, dtype)
        self.low = np.zeros(shape, dtype)
        pieces = -(-_floats(self.high).size // _PIECE)
        self._bounds = np.zeros(pieces)  # of the sizes of the sums in each piece, which are multiples of the units
        self._units = np.full(pieces, np.inf)

    def add(self, values: Array) -> None:
        """Add an array of the same shape."""
        highs, lows, terms = _floats(self.high), _floats(self.low), _floats(np.asarray(values, order="C"))
        buffers = np.empty((3, min(_PIECE, highs.size)))
        with np.errstate(invalid="ignore", over="ignore"):
            for number in range(len(self._bounds)):
                piece = slice(number * _PIECE, (number + 1) * _PIECE)
                if terms.dtype == np.float32 and self._stays_exact(number, terms[piece]):
                    np.add(highs[piece], terms[piece], out=highs[piece])
                else:
                    self._bounds[number] = np.inf
                    _add_with_error(highs[piece], lows[piece], terms[piece], buffers)

    def add_rows(self, rows: npt.NDArray[np.integer[Any]], values: Array) -> None:
        """Add values to some rows; a row may repeat, and the values of one row are added in order first."""
        touched, places = np.unique(rows, return_inverse=True)
        added = np.zeros((len(touched), *self.high.shape[1:]), self.high.dtype)
        high, low = self.high[touched], self.low[touched]
        with np.errstate(invalid="ignore", over="ignore"):
            np.add.at(added, places.reshape(-1), values)
            _add_with_error(_floats(high), _floats(low), _floats(added), np.empty((3, _floats(added).size)))
        self.high[touched], self.low[touched] = high, low
        self._bounds[:] = np.inf

    def parts(self) -> tuple[Array, Array | None]:
        """Return `high` and `low`, which can be added to another sum; `low` is None where it is 0 everywhere."""
        if self._is_exact:
            return self.high, None
        highs, lows = _floats(self.high), _floats(self.low).copy()
        lows[~np.isfinite(highs)] = 0.0  # the error of an infinite sum is NaN
        return self.high, lows.view(self.high.dtype).reshape(self.high.shape) if lows.any() else None

    def merge(self, other: "ArraySum") -> None:
        """Add another sum."""
        high, low = other.parts()
        self.add(high)
        if low is not None:
            self.add(low)

    @property
    def _is_exact(self) -> bool:
        return bool(np.isfinite(self._bounds).all())

    def result(self) -> Array:
        """Return the sum in float64 or complex128; NaN and infinity are those of a sum in float64."""
        if self._is_exact:
            return self.high
        with np.errstate(invalid="ignore", over="ignore"):
            high, low = _floats(self.high), _floats(self.low)
            total = high + low
        np.copyto(total, high, where=~np.isfinite(high))  # the error of an infinite sum is NaN
        return total.view(self.high.dtype).reshape(self.high.shape)

    def _stays_exact(self, number: int, terms: npt.NDArray[np.float32]) -> bool:
        """Tell whether the sums of one piece are exact in float64 when these terms are added to it too.

        They are where they are multiples of one unit, and smaller than 2^53 units.
        """
        sizes = np.abs(terms)
        self._bounds[number] += sizes.max()
        words = sizes.view(np.uint32)
        words -= np.uint32(1)  # a zero, of which every unit is a divisor, becomes the largest
        least = (words.min(keepdims=True) + np.uint32(1)).view(np.float32)[0]
        if least:
            self._units[number] = min(self._units[number], math.ldexp(1.0, math.frexp(least)[1] - _DIGITS_OF_FLOAT32))
        return bool(self._bounds[number] < 2.0**52 * self._units[number])


def root_of(numerator: int, denominator: int) -> float:
    """Return the square root of a fraction, correctly rounded; infinite where float64 ends."""
    if not numerator:
        return 0.0
    shift = max(0, 2 * _BITS + denominator.bit_length() - numerator.bit_length()) // 2
    quotient, rest = divmod(numerator << 2 * shift, denominator)
    root = math.isqrt(quotient)
    if rest or root * root != quotient:
        root |= 1
    try:
        return root / (1 << shift)
    except OverflowError:
        return math.inf


def float_sum(numbers: Iterable[float]) -> float:
    """Return the sum of floats, correctly rounded, which their order does not change; NaN and infinity propagate."""
    terms = [float(number) for number in numbers]
    if not all(map(math.isfinite, terms)):
        return sum(term for term in terms if not math.isfinite(term))
    total = ExactSum()
    for term in terms:
        total.add(term)
    numerator, denominator = total.fraction
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def _units(number: float) -> int:
    """Return a finite float in units of the smallest one."""
    numerator, denominator = number.as_integer_ratio()
    return numerator << (1 - _LEAST - denominator.bit_length())


def _shifted(integer: int, shift: int) -> int:
    return integer << shift if shift >= 0 else integer >> -shift


def _floats(values: Array) -> Array:
    """Return a flat view of floats; a complex number is two."""
    flat = values.reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _add_with_error(high: Array, low: Array, terms: Array, buffers: Array) -> None:
    """Add terms to `high`, and the rounding errors to `low`; `buffers` are three arrays that are overwritten."""
    term, total, part = buffers[:, : terms.size]
    np.copyto(term, terms)
    np.add(high, term, out=total)
    np.subtract(total, high, out=part)
    np.subtract(term, part, out=term)
    np.subtract(total, part, out=part)
    np.subtract(high, part, out=part)
    np.add(part, term, out=term)
    np.add(low, term, out=low)
    np.copyto(high, total)
