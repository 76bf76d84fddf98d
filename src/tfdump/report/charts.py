"""Small charts as inline SVG with the colors of the page: histograms, and numbers along depth or steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tfdump.report.html import MINUS, AttributeValue, Markup, element, join, number_text
from tfdump.statistics.histogram import Histogram

_HIGH = 30
_WIDE, _TALL, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000, 230, 64, 12, 12, 40
_MOST_LINES = 8
_MOST_POINTS = 1000
_FEW = 150
_ZERO = _TALL - _BOTTOM + 14
"""The height of exact zeros: below the logarithmic axis, which has no zero."""


@dataclass(frozen=True)
class Point:
    """One tensor in a chart along depth: its row, its value, and its marks.

    The value is None where it is unknown, and NaN or infinite where the tensor has no finite value. `kind` holds the
    names of CSS classes, separated by spaces.
    """

    row: int
    name: str
    value: float | None
    kind: str = ""

    @property
    def has_number(self) -> bool:
        """Whether the value is on the axis, or below it for zero."""
        return self.value is not None and math.isfinite(self.value) and self.value >= 0

    @property
    def is_odd(self) -> bool:
        """Whether the mark is at the edge, because no value is finite."""
        return self.value is not None and not math.isfinite(self.value)


def bars_svg(histogram: Histogram, kind: str = "") -> Markup:
    """Return a histogram: one bar per bin, whose height is the square root of the count, so that low bars are visible.

    A line below marks the bin of 0, where there is one.
    """
    most = math.sqrt(max(histogram.counts.tolist(), default=0) or 1)
    count = len(histogram.counts)
    steps = []
    for place, here in enumerate(histogram.counts.tolist()):
        if here:
            height = max(1, round(math.sqrt(here) / most * _HIGH))
            steps.append(f"M{place} {_HIGH}v-{height}h1v{height}z")
    zero = next((n for n in range(count) if histogram.edges[n] <= 0 < histogram.edges[n + 1]), None)
    mark = None if zero is None else element("path", d=f"M{zero} {_HIGH + 1}h1v2h-1z", class_="zero")
    return element(
        "svg",
        element("path", d="".join(steps), class_="bar"),
        mark,
        viewBox=f"0 0 {max(1, count)} {_HIGH + 3}",
        preserveAspectRatio="none",
        class_=f"histogram {kind}".strip(),
        role="img",
        aria_label=f"histogram of {histogram.total:,} values: {range_text(histogram)}",
    )


def range_text(histogram: Histogram) -> str:
    """Return the range of a histogram in words."""
    if not len(histogram.counts):
        return "no finite value"
    return f"{number_text(float(histogram.edges[0]), 3)} to {number_text(float(histogram.edges[-1]), 3)}"


def depth_svg(points: Sequence[Point], unit: str, apart: str | None = None, joined: bool = True) -> Markup | None:
    """Return values along depth on a logarithmic axis; None where fewer than two tensors have a value.

    A line joins all points except those of the kind `apart`. It breaks at tensors without a finite value, which are
    crosses at the upper edge, and at exact zeros, which are below the axis.
    """
    numbers = [point.value for point in points if point.has_number and point.value is not None]
    odd = sum(point.is_odd for point in points)
    positive = [value for value in numbers if value]
    if len(numbers) + odd < 2 or not positive:
        return None
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    low, high = (low, high) if high > low else (low - 1, high + 1)
    inner, tall = _WIDE - _LEFT - _RIGHT, _TALL - _TOP - _BOTTOM

    def x(place: int) -> float:
        return _LEFT + inner * (place + 0.5) / len(points)

    def y(value: float) -> float:
        return _TOP + tall * (high - math.log10(value)) / (high - low) if value else _ZERO

    lines = [*_grid(low, high), _rule(_ZERO, "0") if len(positive) < len(numbers) else None]
    radius = 3 if len(points) <= _FEW else 1.7
    marks = [
        _cross(point, x(place), radius) if point.is_odd else _dot(point, x(place), y(point.value or 0.0), radius)
        for place, point in enumerate(points)
        if point.is_odd or point.has_number
    ]
    on_line = [(x(n), y(p.value or 0.0) if p.value and p.has_number else None) for n, p in enumerate(points)
               if joined and p.value is not None and apart not in p.kind.split()]  # fmt: skip
    path = _broken_line(on_line)
    line = element("path", d=path, class_="line") if "L" in path else None
    without = len(points) - len(numbers) - odd
    omissions = [f"{odd:,} without a finite value, \u00d7"] if odd else []
    omissions += [f"{without:,} without a number"] if without else []
    besides = f" ({', '.join(omissions)})" if omissions else ""
    foot = element(
        "text", f"{len(points):,} tensors in the order of execution{besides}", x=_LEFT, y=_TALL - 8, class_="foot"
    )
    label = f"{unit} of {len(numbers):,} tensors, from {number_text(min(positive))} to {number_text(max(positive))}"
    return _chart([*lines, line, *marks, foot], label + (f"; {odd:,} have no finite value" if odd else ""))


def _broken_line(places: Sequence[tuple[float, float | None]]) -> str:
    """Return the path through places; it breaks where a value is zero or not finite, and has no height."""
    path, pen = "", "M"
    for across, height in places:
        if height is None:
            pen = "M"
            continue
        path += f"{pen}{across:.1f} {height:.1f}"
        pen = "L"
    return path


def _dot(point: Point, x: float, y: float, radius: float) -> Markup:
    title = element("title", f"{point.name}: {number_text(point.value)}")
    kind = f"point {point.kind}" if point.value else "point null"
    at: dict[str, AttributeValue] = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": radius}
    return element("circle", title, class_=kind.strip(), data_row=point.row, **at)


def _cross(point: Point, x: float, radius: float) -> Markup:
    title = element("title", f"{point.name}: no value is finite")
    size = radius + 1
    corner, wide = f"M{x - size:.1f} {_TOP - size:.1f}", f"{2 * size:.1f}"
    path = f"{corner}l{wide} {wide}m0 -{wide}l-{wide} {wide}"
    return element("path", title, d=path, class_="point cross", data_row=point.row)


def curve_svg(values: Sequence[float], axis: str) -> Markup | None:
    """Return numbers along steps or examples; None where fewer than two are finite.

    The axis is logarithmic where all numbers are positive and span more than two powers of ten. Of more than a
    thousand numbers, the chart shows evenly spaced ones.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return None
    logarithmic = min(finite) > 0 and max(finite) / min(finite) > 100
    scaled = [math.log10(value) if logarithmic else value for value in finite]
    low, high = min(scaled), max(scaled)
    if not math.isfinite(high - low):
        return None
    low, high = (low, high) if high > low else (low - 1, high + 1)
    inner, tall = _WIDE - _LEFT - _RIGHT, _TALL - _TOP - _BOTTOM
    step = -(-len(values) // _MOST_POINTS)
    path = ""
    pen = "M"
    for place in range(0, len(values), step):
        value = values[place]
        if not math.isfinite(value):
            pen = "M"
            continue
        height = (math.log10(value) if logarithmic else value) - low
        x = _LEFT + inner * place / max(1, len(values) - 1)
        path += f"{pen}{x:.1f} {_TOP + tall * (1 - height / (high - low)):.1f}"
        pen = "L"
    heights = {
        _TOP + tall * (1 - (value - low) / (high - low)): end
        for value, end in ((min(scaled), min(finite)), (max(scaled), max(finite)))
    }
    lines = [_rule(height, number_text(end)) for height, end in heights.items()]
    every = f", one of {step:,} drawn" if step > 1 else ""
    scale = ", logarithmic" if logarithmic else ""
    foot = element("text", f"{len(values):,} {axis}s{every}{scale}", x=_LEFT, y=_TALL - 8, class_="foot")
    label = f"{len(values):,} {axis}s, from {number_text(float(values[0]))} to {number_text(float(values[-1]))}"
    return _chart([*lines, element("path", d=path, class_="line"), foot], label)


def _grid(low: int, high: int) -> list[Markup]:
    """Return lines at powers of ten, with labels."""
    step = max(1, -(-(high - low) // _MOST_LINES))
    tall = _TALL - _TOP - _BOTTOM
    return [
        _rule(_TOP + tall * (high - power) / (high - low), f"1e{power}".replace("-", MINUS))
        for power in range(low, high + 1, step)
    ]


def _rule(y: float, text: str) -> Markup:
    line = element("path", d=f"M{_LEFT} {y:.1f}H{_WIDE - _RIGHT}", class_="grid")
    return join([line, element("text", text, x=_LEFT - 6, y=f"{y + 4:.1f}", text_anchor="end")])


def _chart(children: Sequence[Markup | None], label: str) -> Markup:
    svg = element("svg", *children, viewBox=f"0 0 {_WIDE} {_TALL}", class_="chart", role="img", aria_label=label)
    return element("div", svg, class_="scroll", tabindex=0, role="region", aria_label=label)
