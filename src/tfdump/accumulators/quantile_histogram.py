"""How often values occur: bins of equal relative width, whose counts add up exactly and in any order. NumPy only.

A bin holds the floats of float64 that share their sign and their leading bits, so that every octave has as many bins
as every other one. Halving the resolution joins pairs of bins. The histogram that is stored has the finest resolution
with at most `MOST_BINS` bins in use: this depends on the values alone, and not on the order or the parts in which they
arrived.
"""

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.tensors import Array

MOST_BINS = 8_000
"""An attribute of HDF5 holds 64 kB, which are so many counts."""

FINEST = 45
"""The bits of a float64 that share a bin at the finest resolution: 7 bits of the mantissa, 128 bins per octave."""

_MANTISSA = 52
_INFINITE = 0x7FF << _MANTISSA
_MAGNITUDES = (1 << (63 - FINEST)) - 1
_MOST_BYTES = 16 * (_MAGNITUDES + 1)
_BLOCK = 1 << 16
_SPAN = 64 << (_MANTISSA - FINEST)
"""The bins below the largest magnitude of a block that are counted at once: 64 octaves. Less is rare, and slower."""


@dataclass(frozen=True)
class QuantileHistogram:
    """The number of finite values per bin.

    Attributes
    ----------
    bins : numpy.ndarray
        The bins in use, ascending int64. Bin 0 is zero. Bin n > 0 holds x with E(n - 1) <= x < E(n) except zero, where
        E(k) is the float64 whose bits are k * 2**shift; bin -n holds -x.
    counts : numpy.ndarray
        The number of values in each of them, int64.
    shift : int
        The number of low bits of a float64 in which the values of a bin differ: 45 at the finest resolution.
    """

    bins: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    shift: int = FINEST

    @property
    def finite(self) -> int:
        """The number of finite values."""
        return int(self.counts.sum())

    @property
    def relative_error(self) -> float:
        """The largest error of the middle of a bin, relative to a value in it: 2**-8 at the finest resolution."""
        return float(2.0 ** (self.shift - _MANTISSA - 1))

    def edges(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the lower and the upper end of each bin in use."""
        magnitudes = np.abs(self.bins)
        inner, outer = (_edge(np.maximum(magnitudes - one, 0), self.shift) for one in (1, 0))
        negative = self.bins < 0
        return np.where(negative, -outer, inner), np.where(negative, -inner, outer)

    def coarser(self, shift: int) -> "QuantileHistogram":
        """Return the same counts in bins of a lower resolution."""
        joined = (np.maximum(np.abs(self.bins), 1) - 1 >> (shift - self.shift)) + 1
        bins, places = np.unique(np.sign(self.bins) * joined, return_inverse=True)
        counts = np.zeros(len(bins), np.int64)
        np.add.at(counts, places, self.counts)
        return QuantileHistogram(bins, counts, shift)

    def within(self, most: int = MOST_BINS) -> "QuantileHistogram":
        """Return the finest histogram of these counts that has at most so many bins in use."""
        histogram = self
        while len(histogram.bins) > most:
            histogram = histogram.coarser(histogram.shift + 1)
        return histogram

    def attributes(self) -> dict[str, Any]:
        """Return the attributes with which a dataset stores the histogram."""
        stored = self.within()
        return {
            "quantile_bins": stored.bins.astype(np.int32),
            "quantile_counts": stored.counts,
            "quantile_shift": np.int64(stored.shift),
        }


def stored_histogram(attributes: Any) -> QuantileHistogram | None:
    """Return the histogram in the attributes of a tensor, or None; raises ValueError where they are damaged."""
    names = ("quantile_bins", "quantile_counts", "quantile_shift")
    if names[0] not in attributes:
        return None
    bins, counts, shift = (attributes.get(name) for name in names)
    whole = all(isinstance(part, list) and all(isinstance(n, int) for n in part) for part in (bins, counts))
    if not whole or len(bins) != len(counts) or not isinstance(shift, int) or not FINEST <= shift < 63:
        raise ValueError("its attributes 'quantile_...' are not a histogram")
    histogram = QuantileHistogram(np.array(bins, np.int64), np.array(counts, np.int64), shift)
    if float(sum(counts)) > 2.0**62:
        raise ValueError("its attribute 'quantile_counts' counts more values than any file holds")
    most = (_INFINITE >> shift) + (shift > _MANTISSA)
    if (np.diff(histogram.bins) <= 0).any() or (histogram.counts < 0).any() or (np.abs(histogram.bins) > most).any():
        raise ValueError("its attributes 'quantile_...' are not a histogram")
    return histogram


def _edge(numbers: npt.NDArray[np.int64], shift: int) -> npt.NDArray[np.float64]:
    """Return E(k): the float64 whose bits are k * 2**shift."""
    most = _INFINITE >> shift
    edges = (np.minimum(numbers, most) << shift).view(np.float64)
    return np.where(numbers > most, np.inf, edges)


class QuantileAccumulator:
    """Gathers the histogram of a numeric tensor that arrives batch by batch, in any shapes.

    NaN and infinities are left out. Complex numbers enter by their magnitude.
    """

    def __init__(self) -> None:
        self._zero = 0
        self._first = 0
        self._counts = np.zeros((2, 0), np.int64)

    def add(self, values: Array) -> None:
        """Add the values of one batch; text is ignored."""
        if values.dtype.kind in "OSU":
            return
        flat = values.reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            if block.dtype.kind == "c":
                block = np.abs(block.astype(np.complex128))
            with np.errstate(invalid="ignore"):  # a signaling NaN
                self._add_numbers(np.ascontiguousarray(block, np.float64))

    def _add_numbers(self, numbers: npt.NDArray[np.float64]) -> None:
        low, high = float(numbers.min()), float(numbers.max())
        if not (low > -np.inf and high < np.inf):  # min and max propagate NaN
            numbers = numbers[np.isfinite(numbers)]
        zeros = numbers.size - int(np.count_nonzero(numbers))
        self._zero += zeros
        bits = numbers.view(np.int64)
        places = bits >> FINEST
        places &= _MAGNITUDES
        first = int(places.max(initial=0)) - _SPAN + 1
        if first <= 0:
            self._add_few(numbers[numbers != 0])
            return
        np.maximum(places, first - 1, out=places)
        places -= first - 1
        if not low >= 0:  # NaN too
            places += (bits < 0) * (_SPAN + 1)
        counts = np.bincount(places, minlength=2 * (_SPAN + 1)).reshape(2, -1)
        if counts[:, 0].sum() > zeros:
            small = numbers[(bits >> FINEST & _MAGNITUDES) < first]
            self._add_few(small[small != 0])
        self._add_counts(first, counts[:, 1:])

    def _add_few(self, numbers: npt.NDArray[np.float64]) -> None:
        """Add numbers other than zero of any magnitudes."""
        if not numbers.size:
            return
        bits = numbers.view(np.int64)
        places = bits >> FINEST & _MAGNITUDES
        first, length = int(places.min()), int(np.ptp(places)) + 1
        places += (bits < 0) * length - first
        self._add_counts(first, np.bincount(places, minlength=2 * length).reshape(2, -1))

    def _add_counts(self, first: int, counts: npt.NDArray[np.int64]) -> None:
        """Add the counts of some bins; row 0 has those of positive numbers."""
        used = np.flatnonzero(counts.any(axis=0))
        if not used.size:
            return
        counts = counts[:, used[0] : used[-1] + 1]
        first += int(used[0])
        last = first + counts.shape[1]
        if not (self._first <= first and last <= self._first + self._counts.shape[1]):
            self._widen(first, last)
        self._counts[:, first - self._first : last - self._first] += counts

    def _widen(self, first: int, last: int) -> None:
        before = self._counts
        if before.shape[1]:
            first, last = min(first, self._first), max(last, self._first + before.shape[1])
        octave = 1 << (_MANTISSA - FINEST)
        first, last = first // octave * octave, -(-last // octave) * octave
        self._counts = np.zeros((2, last - first), np.int64)
        if before.shape[1]:
            self._counts[:, self._first - first : self._first - first + before.shape[1]] = before
        self._first = first

    def merge(self, other: "QuantileAccumulator", times: int = 1) -> None:
        """Add everything that was added to another, so many times."""
        self._zero += other._zero * times
        self._add_counts(other._first, other._counts * times)

    def histogram(self) -> QuantileHistogram:
        """Return the histogram of everything added so far, at the finest resolution."""
        positive, negative = (np.flatnonzero(row) for row in self._counts)
        bins = np.concatenate([-(negative[::-1] + self._first + 1), [0] * bool(self._zero), positive + self._first + 1])
        zero = [self._zero] * bool(self._zero)
        counts = np.concatenate([self._counts[1, negative[::-1]], zero, self._counts[0, positive]])
        return QuantileHistogram(bins.astype(np.int64), counts.astype(np.int64))

    def state(self) -> list[int | str]:
        """Return the state so far, as JSON: the counts are compressed."""
        packed = zlib.compress(self._counts.astype("<i8").tobytes(), 1)
        return [self._zero, self._first, base64.b64encode(packed).decode("ascii")]

    @classmethod
    def of_state(cls, state: list[Any]) -> "QuantileAccumulator":
        """Return the record with this `state`; raises ValueError or TypeError where it is damaged."""
        zero, first, text = state
        decompressor = zlib.decompressobj()
        try:
            unpacked = decompressor.decompress(base64.b64decode(text), _MOST_BYTES)
        except zlib.error as cause:
            raise ValueError(f"its histogram cannot be unpacked: {cause}") from None
        gathered = cls()
        gathered._zero = zero
        gathered._first = first
        gathered._counts = np.frombuffer(unpacked, "<i8").astype(np.int64).reshape(2, -1)
        if not 0 <= first <= first + gathered._counts.shape[1] <= _MAGNITUDES or not decompressor.eof:
            raise ValueError("its histogram has bins that no number is in")
        return gathered
