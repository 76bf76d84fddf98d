"""A histogram of all values of a tensor."""

import numpy as np
from matplotlib.figure import Figure

from tfdump.plots.colors import INF_COLOR, NAN_COLOR
from tfdump.plots.figure import Caption, Margins, PictureFrame
from tfdump.plots.pictures.bars import COLOR
from tfdump.statistics.histogram import Histogram

_WIDE, _HIGH = 720, 320
_LOG_FROM = 30
"""The ratio of the fullest bin to the median one above which the axis of counts is logarithmic."""


def histogram_figure(histogram: Histogram, caption: Caption, unit: str = "value") -> Figure:
    """Return a histogram; bars beside it, in other colors, count NaN and infinities."""
    odd = [
        (name, count, color)
        for name, count, color in (
            ("-Inf", histogram.below, INF_COLOR),
            ("+Inf", histogram.above, INF_COLOR),
            ("NaN", histogram.nan, NAN_COLOR),
        )
        if count
    ]
    beside = 60 * len(odd) + 30 if odd else 0
    frame = PictureFrame(caption.noting(summary(histogram)), _WIDE, _HIGH, margins=Margins(left=72))
    axes = frame.axes(0, 0, _WIDE - beside)
    if histogram.counts.size:
        widths = np.diff(histogram.edges)
        axes.bar(histogram.edges[:-1], histogram.counts, widths, align="edge", color=COLOR, edgecolor="#ffffff",
                 linewidth=0.3)  # fmt: skip
        margin = (histogram.edges[-1] - histogram.edges[0]) * (3 if len(histogram.counts) == 1 else 0)
        axes.set_xlim(histogram.edges[0] - margin, histogram.edges[-1] + margin)
    else:
        axes.text(0.5, 0.5, "no finite values", ha="center", transform=axes.transAxes)
        axes.set_xticks([])
    logarithmic = is_uneven(histogram)
    label = "count (log scale)" if logarithmic else "count"
    axes.set_xlabel(unit)
    axes.set_ylabel(label)
    highest = max([*histogram.counts.tolist(), *(count for _, count, _ in odd)], default=1)
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


def is_uneven(histogram: Histogram) -> bool:
    """Return whether some bins would be too low to see beside the fullest one."""
    some = histogram.counts[histogram.counts > 0]
    odd = [count for count in (histogram.nan, histogram.above, histogram.below) if count]
    together = [*some.tolist(), *odd]
    return bool(together) and max(together) > _LOG_FROM * float(np.median(together))


def summary(histogram: Histogram) -> str:
    """Return how many values a tensor has, how many of them are 0 or not finite, and the bins."""
    parts = [f"{histogram.total:,} values", f"{histogram.zero:,} zeros"]
    parts += [f"{histogram.nan:,} NaN"] if histogram.nan else []
    parts += [f"{histogram.above:,} +Inf"] if histogram.above else []
    parts += [f"{histogram.below:,} -Inf"] if histogram.below else []
    bins = "one bin per whole number" if histogram.whole else f"{len(histogram.counts)} bins of equal width"
    if len(histogram.counts) == 1:
        bins = f"every finite value is {(histogram.edges[0] + histogram.edges[1]) / 2:.6g}"
    return ", ".join(parts) + (f"; {bins}" if histogram.counts.size else "")
