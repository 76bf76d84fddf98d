"""A histogram of all values of a tensor."""

import numpy as np
from matplotlib.figure import Figure

from tfdump.plots.colors import INF_COLOUR, NAN_COLOUR
from tfdump.plots.figure import Caption, Frame, Margins
from tfdump.plots.pictures.bars import COLOUR
from tfdump.statistics.histogram import Histogram

_WIDE, _HIGH = 720, 320
_LOG_FROM = 30
"""Bins of which the fullest holds so many times the typical one are counted on a logarithmic axis."""


def histogram(found: Histogram, caption: Caption, unit: str = "value") -> Figure:
    """Return a histogram; NaN and infinities stand beside it in bars of their own colours."""
    odd = [
        (name, count, colour)
        for name, count, colour in (
            ("-Inf", found.below, INF_COLOUR),
            ("+Inf", found.above, INF_COLOUR),
            ("NaN", found.nan, NAN_COLOUR),
        )
        if count
    ]
    beside = 60 * len(odd) + 30 if odd else 0
    frame = Frame(caption.noting(summary(found)), _WIDE, _HIGH, margins=Margins(left=72))
    axes = frame.axes(0, 0, _WIDE - beside)
    if found.counts.size:
        axes.bar(found.edges[:-1], found.counts, np.diff(found.edges), align="edge", color=COLOUR, edgecolor="#ffffff",
                 linewidth=0.3)  # fmt: skip
        margin = (found.edges[-1] - found.edges[0]) * (3 if len(found.counts) == 1 else 0)
        axes.set_xlim(found.edges[0] - margin, found.edges[-1] + margin)
    else:
        axes.text(0.5, 0.5, "no finite values", ha="center", transform=axes.transAxes)
        axes.set_xticks([])
    logarithmic = is_uneven(found)
    label = "count (log scale)" if logarithmic else "count"
    axes.set_xlabel(unit)
    axes.set_ylabel(label)
    highest = max([*found.counts.tolist(), *(count for _, count, _ in odd)], default=1)
    for number, place in enumerate([axes, *([frame.axes(_WIDE - beside + 30, 0, beside - 30)] if odd else [])]):
        if logarithmic:
            place.set_yscale("log")
        place.set_ylim(0.5 if logarithmic else 0, highest * (1.4 if logarithmic else 1.05))
        if number == 1:
            place.bar([name for name, _, _ in odd], [count for _, count, _ in odd], 0.6, color=[c for _, _, c in odd])
            place.set_xlim(-0.6, len(odd) - 0.4)
            place.set_yticks([])
            place.minorticks_off()
            place.spines["left"].set_visible(False)
    return frame.figure


def is_uneven(found: Histogram) -> bool:
    """Tell whether some bins would be too low to be seen beside the fullest one."""
    some = found.counts[found.counts > 0]
    odd = [count for count in (found.nan, found.above, found.below) if count]
    together = [*some.tolist(), *odd]
    return bool(together) and max(together) > _LOG_FROM * float(np.median(together))


def summary(found: Histogram) -> str:
    """Return how many values there are, and of which kind."""
    parts = [f"{found.total:,} values", f"{found.zero:,} zeros"]
    parts += [f"{found.nan:,} NaN"] if found.nan else []
    parts += [f"{found.above:,} +Inf"] if found.above else []
    parts += [f"{found.below:,} -Inf"] if found.below else []
    bins = "one bin a whole number" if found.whole else f"{len(found.counts)} bins of equal width"
    if len(found.counts) == 1:
        bins = f"every finite value is {(found.edges[0] + found.edges[1]) / 2:.6g}"
    return ", ".join(parts) + (f"; {bins}" if found.counts.size else "")
