"""Vectors: the units of a dense layer as bars, or as an outline where they are many."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfdump.plots.colors import INF_COLOR, NAN_COLOR, Limits
from tfdump.plots.figure import SMALL_POINTS, Caption, Margins, PictureFrame, short_name, text_width, whole_ticks
from tfdump.tensors import Array

COLOR = "#31688e"
_HIGH = 300
_MOST_BARS = 400


def bars_figure(
    values: Array,
    caption: Caption,
    unit: str = "activation",
    axis: str = "unit",
    labels: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> Figure:
    """Return a vector `(D,)` as D bars, or as their filled outline where D is above 400.

    NaN and infinities are marks on the line of 0.
    """
    count = len(values)
    wide = int(min(960, max(420, 26 * count)))
    longest = max((text_width(short_name(text, 24), SMALL_POINTS) for text in labels), default=0) if labels else 0
    frame = PictureFrame(caption, wide, _HIGH, margins=Margins(left=72, bottom=44 + int(longest)), values=values)
    axes = frame.axes()
    finite = np.where(np.isfinite(values), values, 0.0)
    places = np.arange(count)
    if count <= _MOST_BARS:
        axes.bar(places, finite, width=0.8, color=COLOR)
    else:
        axes.stairs(finite, np.arange(count + 1) - 0.5, fill=True, color=COLOR, linewidth=0.5)
    mark_odd(axes, places, values, np.zeros(count))
    if limits is not None:
        margin = 0.05 * (max(limits[1], 0) - min(limits[0], 0)) or 1.0
        axes.set_ylim(min(limits[0], 0) - margin, max(limits[1], 0) + margin)
    axes.axhline(0, color="#222222", linewidth=0.6)
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_xlabel(axis)
    axes.set_ylabel(unit)
    if labels and count <= wide // 13:
        texts = [short_name(text, 24) for text in labels]
        axes.set_xticks(places, texts, rotation=90, fontsize=SMALL_POINTS, parse_math=False)
    else:
        ticks = whole_ticks(count, wide // 42)
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    return frame.figure


def mark_odd(axes: Axes, places: Array, values: Array, heights: Array) -> None:
    """Mark NaN with a cross, and infinities with a triangle that points up or down, at these heights."""
    for mask, marker, color in (
        (np.isnan(values), "X", NAN_COLOR),
        (values == np.inf, "^", INF_COLOR),
        (values == -np.inf, "v", INF_COLOR),
    ):
        if mask.any():
            axes.plot(places[mask], heights[mask], marker, color=color, markersize=6, clip_on=False, zorder=5)
