"""Numbers in a row: losses over steps, scalars over examples, tensors over training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfdump.plots.figure import SMALL_POINTS, Caption, Frame, Margins, shortened
from tfdump.plots.pictures.bars import mark_odd
from tfdump.tensors import Array

_WIDE, _HIGH = 720, 340
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#000000")
"""Of Okabe and Ito, which colour-blind eyes can tell apart."""

_DASHES = ("-", "--", "-.", ":")
_LOG_FROM = 100.0
"""A range of positive numbers this wide is drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Line:
    """One curve: its name in the legend, and its values, of which those that are no number are marked."""

    name: str
    values: Array


@dataclass(frozen=True)
class Band:
    """A shaded band between two curves, with its name."""

    name: str
    low: Array
    high: Array


def curve(
    lines: Sequence[Line],
    caption: Caption,
    axis: str,
    unit: str,
    places: Sequence[float] | None = None,
    joined: bool = True,
    band: Band | None = None,
) -> Figure:
    """Return curves over the same `places` (0, 1, 2, ... by default); positive ones of wide range on a log axis.

    Without `joined`, for places in no order such as examples, they are points. A `band` lies behind them.
    """
    together = np.concatenate([line.values for line in lines])
    legend = 18 if len(lines) > 1 else 0
    frame = Frame(caption, _WIDE, _HIGH, margins=Margins(left=72, top=8 + legend), values=together)
    axes = frame.axes()
    where = np.arange(len(lines[0].values)) if places is None else np.asarray(places, float)
    few = len(where) <= 60
    finite = together[np.isfinite(together)]
    if finite.size and finite.min() > 0 and finite.max() / finite.min() > _LOG_FROM:
        axes.set_yscale("log")
    if band is not None:
        axes.fill_between(where, band.low, band.high, color=COLOURS[0], alpha=0.2, linewidth=0, label=band.name)
    for number, line in enumerate(lines):
        drawn = np.where(np.isfinite(line.values), line.values, np.nan)
        axes.plot(
            where,
            drawn,
            linestyle=_DASHES[number % len(_DASHES)] if joined else "none",
            color=COLOURS[number % len(COLOURS)],
            linewidth=1.4,
            marker="o" if few or not joined else "",
            markersize=3.5,
            label=shortened(line.name, 40),
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
