"""One number per layer along the depth of the model: gradient norms, activation scales, errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfdump.plots.colors import INF_COLOR, NAN_COLOR
from tfdump.plots.figure import SMALL_POINTS, TEXT_POINTS, Caption, Margins, PictureFrame, short_name, text_width
from tfdump.plots.pictures.curves import COLORS
from tfdump.tensors import Array

_HIGH = 260
_NAME = 28
_LABEL = 13
_NARROWEST, _WIDEST = 660, 1300
_BETWEEN = 52

HEADROOM = 40
"""Pixels above the axes for the legend and the name of a panel."""


@dataclass(frozen=True)
class Points:
    """One number per layer: the name in the legend, and the values, NaN where the layer has none.

    `joined` draws a line through them, which breaks at NaN. `belongs` is the mask of the layers that the line is
    about, None for all; the line passes over the others.
    """

    name: str
    values: Array
    joined: bool = True
    belongs: Array | None = None


@dataclass(frozen=True)
class Panel:
    """One panel: its title and unit, the names of the layers in order, and the numbers.

    `odd` is the mask of layers that hold NaN or infinities. `first` is the index of a layer to point out, and the
    words for it.
    """

    title: str
    unit: str
    names: Sequence[str]
    points: Sequence[Points]
    odd: Array
    first: tuple[int, str] | None = None
    odd_name: str = "holds NaN or Inf"


def depth_figure(panels: Sequence[Panel], caption: Caption) -> Figure:
    """Return panels below each other, with layers from left to right in the order of execution, on logarithmic axes.

    Every layer is drawn. Where the names do not fit, every second or third layer is named.
    """
    wide = max(min(_WIDEST, max(_NARROWEST, (_LABEL + 1) * len(panel.names))) for panel in panels)
    feet = [_foot(panel) for panel in panels]
    height = sum(_HIGH + HEADROOM for _ in panels) + sum(feet[:-1]) + (len(panels) - 1) * 10
    frame = PictureFrame(caption, wide, height, margins=Margins(left=78, bottom=feet[-1], top=0))
    top = 0
    for panel, foot in zip(panels, feet, strict=True):
        _draw(frame.axes(0, top + HEADROOM, wide, _HIGH), panel, wide)
        top += HEADROOM + _HIGH + foot + 10
    return frame.figure


def _draw(axes: Axes, panel: Panel, wide: int) -> None:
    places = np.arange(len(panel.names))
    together = np.concatenate([points.values for points in panel.points])
    positive = together[np.isfinite(together) & (together > 0)]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    axes.set_yscale("log")
    axes.set_ylim(max(low / 3, 5e-324), min(high * 3, 1e308))
    floor, ceiling = axes.get_ylim()
    few = len(places) <= 120
    for number, points in enumerate(panel.points):
        heights = np.where(np.isfinite(points.values) & (points.values > 0), points.values, np.nan)
        has_value = ~np.isnan(points.values)
        everything = np.ones(len(places), bool) if points.belongs is None else points.belongs
        here = everything if points.joined else has_value  # a line breaks where there is no number
        axes.plot(
            places[here],
            heights[here],
            linestyle=("-", "--", "-.", ":")[number % 4] if points.joined else "none",
            marker=("o", "s", "^", "D", "v", "P")[number % 6] if few or not points.joined else "",
            markersize=4,
            linewidth=1.2,
            color=COLORS[number % len(COLORS)],
            label=points.name,
        )
    _marks(axes, places, (together == 0).reshape(len(panel.points), -1).any(axis=0), floor, "v", "#b35806", "exactly 0")
    _marks(axes, places, panel.odd, ceiling, "X", NAN_COLOR, panel.odd_name)
    if panel.first is not None:
        where, words = panel.first
        axes.axvline(where, color=INF_COLOR, linewidth=1, linestyle=":")
        near_right = where > len(places) / 2
        axes.annotate(
            words, (where, ceiling), (-5 if near_right else 5, -4), textcoords="offset points", va="top",
            ha="right" if near_right else "left", fontsize=SMALL_POINTS, parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
        )  # fmt: skip
    every = max(1, -(-_LABEL * len(places) // wide))
    names = [short_name(name, _NAME) for name in panel.names[::every]]
    axes.set_xticks(places[::every], names, rotation=90, fontsize=SMALL_POINTS, parse_math=False)
    axes.set_xlim(-0.7, len(places) - 0.3)
    axes.set_ylabel(panel.unit)
    naming = "" if every == 1 else f" (every {_ordinal(every)} is named)"
    count = "1 tensor" if len(places) == 1 else f"{len(places):,} tensors"
    axes.set_xlabel(f"{count} in the order of execution{naming}", fontsize=SMALL_POINTS)
    axes.grid(True, axis="y", linewidth=0.3, color="#cccccc")
    axes.text(0, 1 + 24 / _HIGH, panel.title, transform=axes.transAxes, fontsize=TEXT_POINTS, weight="bold",
              parse_math=False)  # fmt: skip
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1 + 6 / _HIGH), ncols=5, frameon=False, fontsize=SMALL_POINTS,
                borderaxespad=0, borderpad=0.2)  # fmt: skip


def _marks(axes: Axes, places: Array, mask: Array, height: float, marker: str, color: str, name: str) -> None:
    if mask.any():
        axes.plot(
            places[mask], np.full(int(mask.sum()), height), marker, color=color, markersize=7, label=name,
            clip_on=False, linestyle="", zorder=5,
        )  # fmt: skip


def _foot(panel: Panel) -> int:
    return 34 + int(max(text_width(short_name(name, _NAME), SMALL_POINTS) for name in panel.names))


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"
