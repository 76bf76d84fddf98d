"""What quantization costs: noise against signal, errors in steps, and values beyond the range."""

from collections.abc import Iterator

import numpy as np

from tfdump.comparison.fidelity.scales import Scales
from tfdump.dump.parts import Key
from tfdump.statistics.sqnr import SignalToNoise
from tfdump.tensors import Array

_PIECE = 1 << 16
"""About how many numbers are looked at together, so that they stay in cache."""


class QuantizationLoss:
    """Gathers the loss of one tensor from its blocks on both sides.

    `scales` are those of the golden and of the new side, None for a side that is not quantized. Errors are counted in
    steps of the new side, or else in those of the golden side.
    """

    def __init__(self, scales: tuple[Scales | None, Scales | None]) -> None:
        self._scales = scales
        self._noise = SignalToNoise()
        self._finite = self._beyond = 0
        self._steps: float | None = None
        self._has_steps = any(side is not None for side in scales)

    def add(self, shape: tuple[int, ...], key: Key, golden: Array, new: Array) -> None:
        """Add the block at a place of an array of this shape."""
        if not golden.size:
            return
        self._has_steps = self._has_steps and all(side is None or side.fit(shape) for side in self._scales)
        for piece, old, other in _pieces(key, golden, new):
            scales, their_scales = (
                side.of_piece(piece) if side is not None and side.fit(shape) else None for side in self._scales
            )
            real, their_real = _real(old, scales), _real(other, their_scales)
            self._noise.add(real, their_real)
            if self._has_steps:
                self._count_steps(real, their_real, scales, their_scales)

    def _count_steps(self, golden: Array, new: Array, golden_scales: Scales | None, scales: Scales | None) -> None:
        """Count in the steps of the side that is quantized, or of the new side where both are."""
        exact, rounded, own = (golden, new, scales) if scales is not None else (new, golden, golden_scales)
        assert own is not None
        finite = np.isfinite(exact) & np.isfinite(rounded)
        self._finite += int(np.count_nonzero(finite))
        if not finite.any():
            return
        wide = exact.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            steps = np.abs(rounded - wide) / own.step
        self._steps = max(self._steps or 0.0, float(steps.max(where=finite, initial=0)))
        low, high = own.ends
        half = own.step / 2
        above = (rounded > high - half) & (wide > high + half)
        below = (rounded < low + half) & (wide < low - half)
        self._beyond += int(np.count_nonzero((above | below) & finite))

    @property
    def sqnr(self) -> float:
        """The signal-to-quantization-noise ratio in dB; see `SignalToNoise`."""
        return self._noise.decibels()

    @property
    def steps(self) -> float | None:
        """The largest error in steps of the quantized side; None if neither side is quantized."""
        return self._steps if self._has_steps else None

    @property
    def saturated(self) -> float | None:
        """The share of values at an end of the range whose counterpart is more than half a step beyond it, 0 to 1."""
        return self._beyond / self._finite if self._has_steps and self._finite else None


def _pieces(key: Key, golden: Array, new: Array) -> Iterator[tuple[Key, Array, Array]]:
    """Cut a block into pieces of some rows."""
    if golden.size <= _PIECE:
        yield key, golden, new
        return
    rows = max(1, _PIECE // (golden.size // len(golden)))
    first = key[0].start
    for start in range(0, len(golden), rows):
        stop = min(start + rows, len(golden))
        yield (slice(first + start, first + stop), *key[1:]), golden[start:stop], new[start:stop]


def _real(block: Array, scales: Scales | None) -> Array:
    """Return real numbers: those that integers stand for, and both parts of complex numbers that are finite."""
    if block.dtype.kind in "iu" and scales is not None:
        return scales.real(block)
    if block.dtype.kind == "c":
        parts = np.stack([block.real, block.imag], -1)
        parts[~np.isfinite(block)] = np.nan
        return parts
    return block
