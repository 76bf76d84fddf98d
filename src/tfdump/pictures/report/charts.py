"""Small drawings as inline SVG, whose colours are those of the page: histograms, and numbers along depth or steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tfdump.analysis.histogram import Histogram
from tfdump.pictures.report.html import MINUS, Markup, Value, element, join, number

_HIGH = 30
_WIDE, _TALL, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000, 230, 64, 12, 12, 40
_MOST_LINES = 8
_MOST_POINTS = 1000
_FEW = 150


@dataclass(frozen=True)
class Point:
    """One tensor in a chart along depth: its row, its value, None where that is not known, and how it is marked."""

    row: int
    name: str
    value: float | None
    kind: str = ""


def bars(found: Histogram, kind: str = "") -> Markup:
    """Return a histogram: a bar a bin, as high as the square root of its count, so that small ones can be seen.

    A line below marks the bin of 0, where there is one.
    """
    most = math.sqrt(max(found.counts.tolist(), default=0) or 1)
    count = len(found.counts)
    steps = []
    for place, here in enumerate(found.counts.tolist()):
        if here:
            height = max(1, round(math.sqrt(here) / most * _HIGH))
            steps.append(f"M{place} {_HIGH}v-{height}h1v{height}z")
    zero = next((n for n in range(count) if found.edges[n] <= 0 < found.edges[n + 1]), None)
    mark = None if zero is None else element("path", d=f"M{zero} {_HIGH + 1}h1v2h-1z", class_="zero")
    return element(
        "svg",
        element("path", d="".join(steps), class_="bar"),
        mark,
        viewBox=f"0 0 {max(1, count)} {_HIGH + 3}",
        preserveAspectRatio="none",
        class_=f"histogram {kind}".strip(),
        role="img",
        aria_label=f"histogram of {found.total:,} values: {range_text(found)}",
    )


def range_text(found: Histogram) -> str:
    """Return the range of a histogram in words."""
    if not len(found.counts):
        return "none is finite"
    return f"{number(float(found.edges[0]), 3)} to {number(float(found.edges[-1]), 3)}"


def depth_chart(points: Sequence[Point], unit: str, joined: str | None = "") -> Markup | None:
    """Return values along depth on a logarithmic axis; None where fewer than two tensors have one.

    Points of the kind `joined` are joined by a line. Exact zeros stand below the axis, in a kind of their own.
    """
    known = [point for point in points if point.value is not None and math.isfinite(point.value) and point.value >= 0]
    positive = [point.value for point in known if point.value]
    if len(known) < 2 or not positive:
        return None
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    low, high = (low, high) if high > low else (low - 1, high + 1)
    inner, tall = _WIDE - _LEFT - _RIGHT, _TALL - _TOP - _BOTTOM

    def x(place: int) -> float:
        return _LEFT + inner * (place + 0.5) / len(points)

    def y(value: float) -> float:
        return _TOP + tall * (high - math.log10(value)) / (high - low)

    zero = _TALL - _BOTTOM + 14  # below the axis, which has no place for it
    lines = [*_grid(low, high), _rule(zero, "0") if len(positive) < len(known) else None]
    marks: list[Markup] = []
    path: list[str] = []
    for place, point in enumerate(points):
        value = point.value
        if value is None or not math.isfinite(value) or value < 0:
            continue
        above = y(value) if value else zero
        if value and point.kind == joined:
            path.append(f"{'L' if path else 'M'}{x(place):.1f} {above:.1f}")
        title = element("title", f"{point.name}: {number(value)}")
        kind = f"point {point.kind}" if value else "point null"
        at: dict[str, Value] = {"cx": f"{x(place):.1f}", "cy": f"{above:.1f}", "r": 3 if len(points) <= _FEW else 1.7}
        marks.append(element("circle", title, class_=kind.strip(), data_row=point.row, **at))
    line = element("path", d="".join(path), class_="line") if len(path) > 1 else None
    without = f" ({len(points) - len(known):,} without a number)" if len(known) < len(points) else ""
    foot = element(
        "text", f"{len(points):,} tensors in the order of execution{without}", x=_LEFT, y=_TALL - 8, class_="foot"
    )
    label = f"{unit} of {len(known):,} tensors, from {number(min(positive))} to {number(max(positive))}"
    return _chart([*lines, line, *marks, foot], label)


def curve(values: Sequence[float], axis: str) -> Markup | None:
    """Return numbers along steps or examples; None where fewer than two are finite.

    The axis is logarithmic where all are positive and they span more than two powers of ten. Of more than a thousand,
    evenly spaced ones are drawn.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return None
    logarithmic = min(finite) > 0 and max(finite) / min(finite) > 100
    shown = [math.log10(value) if logarithmic else value for value in finite]
    low, high = min(shown), max(shown)
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
        for value, end in ((min(shown), min(finite)), (max(shown), max(finite)))
    }
    lines = [_rule(height, number(end)) for height, end in heights.items()]
    every = f", every {step:,}th drawn" if step > 1 else ""
    scale = ", logarithmic" if logarithmic else ""
    foot = element("text", f"{len(values):,} {axis}s{every}{scale}", x=_LEFT, y=_TALL - 8, class_="foot")
    label = f"{len(values):,} {axis}s, from {number(float(values[0]))} to {number(float(values[-1]))}"
    return _chart([*lines, element("path", d=path, class_="line"), foot], label)


def _grid(low: int, high: int) -> list[Markup]:
    """Return lines at powers of ten, with their numbers."""
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
    drawn = element("svg", *children, viewBox=f"0 0 {_WIDE} {_TALL}", class_="chart", role="img", aria_label=label)
    return element("div", drawn, class_="scroll", tabindex=0, role="region", aria_label=label)
