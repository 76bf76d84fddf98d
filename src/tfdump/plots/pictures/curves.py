"""Curves: losses over steps, scalars over examples, tensors over training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfdump.plots.figure import SMALL_POINTS, Caption, Margins, PictureFrame, short_name
from tfdump.plots.pictures.bars import mark_odd
from tfdump.tensors import Array

_WIDE, _HIGH = 720, 340
COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#000000")
"""The colors of Okabe and Ito, which color-blind people can tell apart."""

_DASHES = ("-", "--", "-.", ":")
_LOG_FROM = 100.0
"""The ratio of the largest to the smallest positive number above which the axis is logarithmic."""


@dataclass(frozen=True)
class Line:
    """One curve: its name in the legend, and its values; marks show NaN and infinities."""

    name: str
    values: Array


@dataclass(frozen=True)
class Band:
    """A shaded band between two curves, with its name."""

    name: str
    low: Array
    high: Array


def curves_figure(
    lines: Sequence[Line],
    caption: Caption,
    axis: str,
    unit: str,
    places: Sequence[float] | None = None,
    joined: bool = True,
    band: Band | None = None,
) -> Figure:
    """Return curves over the same `places` (0, 1, 2, ... by default); positive ones of a wide range on a log axis.

    Without `joined` the values are points, for places without an order, such as examples. A `band` lies behind them.
    """
    together = np.concatenate([line.values for line in lines])
    legend = 18 if len(lines) > 1 else 0
    frame = PictureFrame(caption, _WIDE, _HIGH, margins=Margins(left=72, top=8 + legend), values=together)
    axes = frame.axes()
    where = np.arange(len(lines[0].values)) if places is None else np.asarray(places, float)
    few = len(where) <= 60
    finite = together[np.isfinite(together)]
    if finite.size and finite.min() > 0 and finite.max() / finite.min() > _LOG_FROM:
        axes.set_yscale("log")
    if band is not None:
        axes.fill_between(where, band.low, band.high, color=COLORS[0], alpha=0.2, linewidth=0, label=band.name)
    for number, line in enumerate(lines):
        finite_values = np.where(np.isfinite(line.values), line.values, np.nan)
        axes.plot(
            where,
            finite_values,
            linestyle=_DASHES[number % len(_DASHES)] if joined else "none",
            color=COLORS[number % len(COLORS)],
            linewidth=1.4,
            marker="o" if few or not joined else "",
            markersize=3.5,
            label=short_name(line.name, 40),
        )
    if not finite.size:
        axes.set_ylim(0, 1)
    floor = axes.get_ylim()[0]
    for line in lines:
        mark_odd(axes, where, line.values, np.full(len(where), floor))
    axes.set_ylim(bottom=floor)
    axes.set_xlabel(axis)
    axes.set_ylabel(unit)
    axes.grid(True, linewidth=0.3, color="#cccccc")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    if legend:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=len(lines) + 1,
            frameon=False,
            fontsize=SMALL_POINTS,
            borderaxespad=0,
        )
    return frame.figure
