"""The section of a page on what a quantized model has lost: a chart along depth, and the layers to keep in float."""

import math

from tfdump.quantization.losses import DEFAULT_LIMIT, TensorLoss, noise_share
from tfdump.report.charts import Point, depth_svg
from tfdump.report.html import Markup, element, join, number_text, row_link
from tfdump.report.records import Report

_MOST_LISTED = 100


def losses_of_quantization(report: Report) -> Markup | None:
    """Return the chart of the noise of every tensor, and a table of the layers to keep in float; None without any."""
    if not report.losses:
        return None
    numbers = {row.name: row.number for row in report.rows}
    points = [
        Point(numbers[one.tensor], one.tensor.removeprefix("activations/"), _noise(one.sqnr), _kind(one))
        for one in report.losses
        if one.tensor in numbers and not math.isnan(one.sqnr)
    ]
    caption = "Quantization noise of each tensor as a share of its signal (0.1 is 20 dB, 0.01 is 40 dB)"
    chart = depth_svg(points, caption, joined=False)
    limit = f"{DEFAULT_LIMIT:g} dB"
    text = f"{caption}; filled red points add noise of their own below {limit}, and as much as they receive"
    figure = None if chart is None else element("figure", element("figcaption", text), chart)
    named = [one for one in report.losses if one.keep_float]
    items = [
        element("li", row_link(numbers.get(one.tensor), one.tensor.removeprefix("activations/")), f": {_words(one)}")
        for one in named[:_MOST_LISTED]
    ]
    more = f" (the first {_MOST_LISTED:,} of {len(named):,})" if len(named) > _MOST_LISTED else ""
    advice = [element("p", f"Keep in float{more}:"), element("ul", *items)] if items else []
    return join([figure, *advice])


def _noise(sqnr: float) -> float:
    """Return the noise as a share of the signal, as amplitudes; infinite for a signal of zeros."""
    return math.sqrt(noise_share(sqnr))


def _kind(one: TensorLoss) -> str:
    return "differs" if one.keep_float else ""


def _words(one: TensorLoss) -> str:
    """Return the numbers of a tensor in words."""
    words = [f"SQNR {number_text(one.sqnr, 3)} dB"]
    if one.input_sqnr is not None:
        words.append(f"{number_text(one.input_sqnr, 3)} dB at its inputs")
    if one.steps is not None:
        words.append(f"largest error {number_text(one.steps, 3)} steps")
    if one.saturated:
        words.append(f"{one.saturated:.2%} saturated")
    return ", ".join(words)
