"""Numbers to colors: maps that are perceptually uniform or symmetric, and that color-blind people can read.

NaN is magenta and an infinity black. Both stay at least 25 (CIE76) away from every color of both maps, also as
simulated for protanopia, deuteranopia and tritanopia (Machado, Oliveira and Fernandes 2009).
"""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize, to_rgba

from tfdump.tensors import Array

NAN_COLOR, INF_COLOR, EMPTY_COLOR = "#ff00ff", "#000000", "#ffffff"

Limits = tuple[float, float]
"""The smallest and the largest value of several pictures on one scale."""

Colors = npt.NDArray[np.uint8]


def sequential_map() -> Colormap:
    """Return the map for values of one sign."""
    return matplotlib.colormaps["viridis"]


def diverging_map() -> Colormap:
    """Return the map for values of both signs: white at 0, without the ends, which are near black."""
    shades = matplotlib.colormaps["PRGn"](np.linspace(0.05, 0.95, 257))
    return ListedColormap(shades, name="PRGn_inner")


@dataclass(frozen=True)
class Scale:
    """How the finite values of one picture become colors: from `low` to `high`, centered at 0 where `diverging`."""

    low: float
    high: float
    diverging: bool

    @property
    def color_map(self) -> Colormap:
        """The colors from `low` to `high`."""
        return diverging_map() if self.diverging else sequential_map()

    def colors(self, values: Array) -> Colors:
        """Return RGBA bytes, `(*values.shape, 4)`: NaN and the infinities in their own colors."""
        finite = np.isfinite(values)
        clipped = np.clip(np.where(finite, values, self.low), self.low, self.high)
        span = self.high - self.low
        shares = (clipped - self.low) / span if span > 0 else np.full(values.shape, 0.5)
        colored: Colors = np.asarray(self.color_map(shares, bytes=True), np.uint8)
        colored[np.isnan(values)] = _bytes(NAN_COLOR)
        colored[np.isinf(values)] = _bytes(INF_COLOR)
        return colored

    def mappable(self) -> ScalarMappable:
        """Return the record from which matplotlib draws a color bar."""
        widened = self.high > self.low
        norm = Normalize(self.low, self.high) if widened else Normalize(*_around(self.low))
        return ScalarMappable(norm, self.color_map)


def scale_of(values: Array, low: float | None = None, limits: Limits | None = None) -> Scale:
    """Return the scale of real values: their whole finite range.

    Values of both signs get a diverging scale with arms of equal length. `low` fixes the lower end, and `limits` is
    the range of several pictures that share a scale. Without a finite value, the scale is 0 to 1.
    """
    finite = values[np.isfinite(values)]
    least = float(finite.min()) if finite.size else 0.0
    most = float(finite.max()) if finite.size else 1.0
    least = least if low is None else low
    if limits is not None:
        least, most = min(least, limits[0]), max(most, limits[1])
    if least < 0 < most:
        arm = max(-least, most)
        return Scale(-arm, arm, True)
    return Scale(least, max(least, most), False)


def shrunk_matrix(values: Array, rows: int, columns: int) -> Array:
    """Return a matrix `(R, C)` reduced to at most `rows` by `columns` cells.

    Each cell is the value of the largest magnitude in its block (NaN before infinities, infinities before numbers),
    so that a single spike stays visible, with its sign.
    """
    for axis, most in ((0, rows), (1, columns)):
        size = values.shape[axis]
        if size > most:
            values = _largest(np.moveaxis(values, axis, 0), -(-size // most), axis)
    return values


def _largest(values: Array, block: int, axis: int) -> Array:
    """Return the extreme of every `block` rows, moved back to `axis`."""
    count = -(-len(values) // block)
    padded = np.zeros((count * block, *values.shape[1:]))
    padded[: len(values)] = values
    blocks = padded.reshape(count, block, *values.shape[1:])
    rank = np.where(np.isnan(blocks), np.inf, np.abs(blocks))
    rank = np.where(np.isinf(blocks), np.finfo(np.float64).max, rank)
    extremes = np.argmax(rank, axis=1)[:, None]
    return np.moveaxis(np.take_along_axis(blocks, extremes, axis=1)[:, 0], 0, axis)


def _around(value: float) -> tuple[float, float]:
    """Return a range around one value, for the color bar of a constant."""
    margin = abs(value) * 0.1 or 1.0
    return value - margin, value + margin


def _bytes(color: Any) -> Colors:
    return np.asarray(np.round(np.array(to_rgba(color)) * 255), np.uint8)
