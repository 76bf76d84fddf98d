"""Saliency maps: the gradient of the input, alone or over the image."""

import numpy as np
from matplotlib.figure import Figure

from tfdump.plots.colors import Colors, Limits, scale_of, shrunk_matrix
from tfdump.plots.figure import SMALL_POINTS, Caption, Margins, PictureFrame, show_pixels, whole_ticks
from tfdump.plots.pictures.mosaic import enlarged_pixels
from tfdump.plots.values import real_numbers
from tfdump.tensors import Array

_MOST, _ALONE = 340, 520


def saliency_figure(
    gradient: Array, caption: Caption, picture: Array | None = None, limits: Limits | None = None
) -> Figure:
    """Return the largest magnitude over the channels of an input gradient `(H, W, C)` or `(H, W)`.

    With `picture`, the input `(H, W[, C])`, the figure has three images: the picture, the gradient, and the gradient
    over the picture in gray, more opaque where the gradient is larger.
    """
    strength = _strength(gradient)
    rows, columns = strength.shape
    factor = (_ALONE if picture is None else _MOST) / max(rows, columns)
    high, wide = (max(1, size * int(factor) if factor >= 1 else int(size * factor)) for size in (rows, columns))
    largest = None if limits is None else (0.0, max(-limits[0], limits[1]))
    scale = scale_of(strength, low=0.0, limits=largest)
    heat = enlarged_pixels(strength, high, wide, scale)
    panels: list[tuple[str, Colors]] = [("|gradient|, largest over channels", heat)]
    if picture is not None:
        colored, gray = _picture_pixels(picture, high, wide)
        shares = np.nan_to_num(_shares(shrunk_matrix(strength, high, wide), scale.high), nan=1.0)
        opacity = _resized(shares, high, wide)[..., None]
        blended = np.asarray(np.round(heat * opacity + gray * (1 - opacity)), np.uint8)
        panels = [("input", colored), *panels, ("gradient over input", blended)]
    step = max(wide, 190) + 54
    notes = () if picture is None else ("the gradient over the input is more opaque where its magnitude is larger",)
    frame = PictureFrame(
        caption.noting(*notes),
        len(panels) * step - 54,
        high,
        margins=Margins(left=48, top=20),
        bar=True,
        values=gradient,
    )
    for number, (title, colored) in enumerate(panels):
        axes = frame.axes(number * step, 0, wide, high)
        show_pixels(axes, colored, (-0.5, columns - 0.5, rows - 0.5, -0.5))
        axes.set_title(title, fontsize=SMALL_POINTS, loc="left", pad=4)
        axes.set_xticks(whole_ticks(columns, wide // 42))
        axes.set_yticks(whole_ticks(rows, high // 20))
        axes.set_xlabel("column")
        if number == 0:
            axes.set_ylabel("row")
    frame.bar(scale, "|gradient|")
    return frame.figure


def _strength(gradient: Array) -> Array:
    """Return the largest magnitude over the channels, or NaN where a channel has NaN."""
    magnitude = np.abs(gradient)
    return magnitude if magnitude.ndim == 2 else np.max(magnitude, axis=-1)


def _shares(strength: Array, most: float) -> Array:
    """Return strengths as shares of the largest finite one, from 0 to 1; an infinity is 1."""
    return np.clip(strength / most if most > 0 else np.zeros(strength.shape), 0, 1)


def _picture_pixels(picture: Array, high: int, wide: int) -> tuple[Colors, Array]:
    """Return the input as RGBA pixels, in color where it has 3 or 4 channels, and in gray."""
    numbers = real_numbers(picture)
    numbers = numbers[..., None] if numbers.ndim == 2 else numbers
    if numbers.shape[-1] not in (1, 3, 4):
        numbers = numbers.mean(axis=-1, keepdims=True)
    finite = numbers[np.isfinite(numbers)]
    low, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    shares = np.nan_to_num((numbers - low) / (most - low) if most > low else np.zeros(numbers.shape))
    shares = np.clip(shares, 0, 1)[..., :3]
    colors = np.repeat(shares, 3, axis=-1) if shares.shape[-1] == 1 else shares
    gray = np.repeat(colors @ np.array([0.299, 0.587, 0.114])[:, None], 3, axis=-1)
    return _bytes(_resized(colors, high, wide)), _bytes(_resized(gray, high, wide))


def _bytes(shares: Array) -> Colors:
    opaque = np.concatenate([shares, np.ones((*shares.shape[:2], 1))], axis=-1)
    return np.asarray(np.round(opaque * 255), np.uint8)


def _resized(values: Array, high: int, wide: int) -> Array:
    """Return an image of `high` by `wide` pixels, each with the value of the nearest cell."""
    rows, columns = np.arange(high) * len(values) // high, np.arange(wide) * values.shape[1] // wide
    return values[rows][:, columns]
