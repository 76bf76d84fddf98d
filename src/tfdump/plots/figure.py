"""The frame of every picture: caption above, notes and legend below, room for axes and a color bar, in pixels.

The kind of picture chooses the size of the middle, and the frame adds margins around it. So no text overlaps another,
and the cells of an image are whole pixels.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from tfdump.plots.colors import INF_COLOR, NAN_COLOR, Scale
from tfdump.tensors import Array

DPI = 100
TITLE_POINTS, TEXT_POINTS, SMALL_POINTS = 11, 9, 8
LINE = 16
"""Pixels from one line of text to the next."""

SMALLEST_WIDTH = 520
_EDGE = 14
_BAR, _BAR_GAP, _BAR_LABELS, _LOWEST_BAR = 14, 14, 76, 72
_FONT = "DejaVu Sans"

MUTED = "#555555"


@dataclass(frozen=True)
class Caption:
    """The text around a picture: the address, lines of detail below it, and notes at the foot."""

    title: str
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> "Caption":
        """Return the caption with further notes."""
        return Caption(self.title, self.details, self.notes + notes)


@dataclass(frozen=True)
class Margins:
    """Pixels around the middle for tick labels and axis labels."""

    left: int = 62
    bottom: int = 44
    top: int = 8
    right: int = 8


@contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, not the user's settings, so that the bytes are the same every time."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": [_FONT],
                "font.size": TEXT_POINTS,
                "axes.unicode_minus": False,
                "axes.linewidth": 0.6,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "xtick.labelsize": SMALL_POINTS,
                "ytick.labelsize": SMALL_POINTS,
                "svg.hashsalt": "tfdump",
            }
        )
        yield


class PictureFrame:
    """A figure with its caption; `axes` adds axes in its middle, at pixels from the top left of the middle."""

    def __init__(
        self,
        caption: Caption,
        width: int,
        height: int,
        *,
        margins: Margins | None = None,
        bar: bool = False,
        values: Array | None = None,
    ) -> None:
        """Make a figure with a middle of `width` by `height` pixels, and a legend where `values` hold NaN or Inf."""
        margins = margins or Margins()
        beside = margins.left + margins.right + (_BAR_GAP + _BAR + _BAR_LABELS if bar else 0)
        self._pixels_wide = max(SMALLEST_WIDTH, width + beside + 2 * _EDGE)
        room = self._pixels_wide - 2 * _EDGE
        head = _wrapped(caption.title, room, TITLE_POINTS * 1.08)  # bold is wider
        details = [line for detail in caption.details for line in _wrapped(detail, room, TEXT_POINTS)]
        notes = [line for note in caption.notes for line in _wrapped(note, room, SMALL_POINTS)]
        marks = _marks(values) if values is not None else []
        above = _EDGE + len(head) * (LINE + 3) + len(details) * LINE + 10 + margins.top
        below = margins.bottom + (LINE + 6 if marks else 0) + len(notes) * (LINE - 2) + _EDGE
        self._pixels_high = above + (max(height, _LOWEST_BAR) if bar else height) + below
        self._left, self._above, self.width, self.height = _EDGE + margins.left, above, width, height
        self.figure = Figure(figsize=(self._pixels_wide / DPI, self._pixels_high / DPI), dpi=DPI)
        FigureCanvasAgg(self.figure)
        self._lines(head, _EDGE, LINE + 3, TITLE_POINTS, weight="bold")
        self._lines(details, _EDGE + len(head) * (LINE + 3), LINE, TEXT_POINTS, color=MUTED)
        foot = self._pixels_high - _EDGE - len(notes) * (LINE - 2)
        self._lines(notes, foot, LINE - 2, SMALL_POINTS, color=MUTED)
        if marks:
            self._legend(marks, foot - LINE)

    def axes(self, left: float = 0, top: float = 0, width: float | None = None, height: float | None = None) -> Axes:
        """Return axes that cover a part of the middle; all of it by default."""
        width = self.width if width is None else width
        height = self.height if height is None else height
        x = (self._left + left) / self._pixels_wide
        y = 1 - (self._above + top + height) / self._pixels_high
        return self.figure.add_axes((x, y, width / self._pixels_wide, height / self._pixels_high))

    def bar(self, scale: Scale, label: str, most: int = 400) -> None:
        """Draw the color bar to the right of the middle."""
        height = max(_LOWEST_BAR, min(self.height, most))
        axes = self.axes(self.width + _BAR_GAP, 0, _BAR, height)
        color_bar = self.figure.colorbar(scale.mappable(), cax=axes)
        color_bar.set_label(label)
        color_bar.outline.set_linewidth(0.4)
        if scale.high == scale.low:
            color_bar.set_ticks([scale.low])
        else:
            color_bar.locator = MaxNLocator(max(1, min(8, height // 24)))
            color_bar.update_ticks()
        color_bar.ax.tick_params(labelsize=SMALL_POINTS)

    def _lines(self, lines: Sequence[str], top: float, step: float, points: float, **style: Any) -> None:
        for number, line in enumerate(lines):
            y = 1 - (top + number * step) / self._pixels_high
            x = _EDGE / self._pixels_wide
            self.figure.text(x, y, line, fontsize=points, va="top", ha="left", parse_math=False, **style)

    def _legend(self, marks: Sequence[tuple[str, str]], top: float) -> None:
        x = float(_EDGE)
        for color, text in marks:
            corner = (x / self._pixels_wide, 1 - (top + 8) / self._pixels_high)
            size = 10 / self._pixels_wide, 10 / self._pixels_high
            self.figure.add_artist(
                Rectangle(corner, *size, facecolor=to_rgba(color), transform=self.figure.transFigure)
            )
            self.figure.text(
                (x + 15) / self._pixels_wide,
                1 - (top + 3) / self._pixels_high,
                text,
                fontsize=SMALL_POINTS,
                va="center",
                parse_math=False,
            )
            x += 15 + text_width(text, SMALL_POINTS) + 18


def show_pixels(axes: Axes, colored: Array, extent: tuple[float, float, float, float] | None = None) -> None:
    """Show RGBA bytes in axes, cell by cell, the first row on top; `extent` is left, right, bottom, top."""
    axes.imshow(colored, interpolation="nearest", aspect="auto", extent=extent, resample=False)
    axes.spines[:].set_visible(True)


def text_width(text: str, points: float) -> float:
    """Return the estimated pixels of a line of text: 0.62 em per character, which few lines exceed."""
    return len(text) * points * 0.62 * DPI / 72


def short_name(text: str, most: int) -> str:
    """Return a name of at most `most` characters: its start and its end around an ellipsis."""
    text = printable(text)
    if len(text) <= most:
        return text
    end = (most - 1) * 2 // 3  # the last segments tell one layer from another
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def printable(text: str) -> str:
    """Return text with the characters escaped that the font lacks."""
    characters = _font_characters()
    return "".join(c if ord(c) in characters else c.encode("unicode_escape").decode() for c in text)


@cache
def _font_characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=[_FONT]))).get_charmap())


def whole_ticks(size: int, most: int) -> list[int]:
    """Return at most `most` + 1 whole positions from 0 up to `size` - 1, at steps of 1, 2 or 5 times a power of ten."""
    step = 1
    for factor in (1, 2, 5, 10, 20, 50, *(k * 10**e for e in range(2, 18) for k in (1, 2, 5))):
        step = factor
        if -(-size // step) <= max(1, most):
            break
    return list(range(0, size, step))


def _wrapped(text: str, room: float, points: float) -> list[str]:
    """Return lines of text that fit; an address breaks after a dot."""
    most = max(20, int(room / text_width("x", points)))
    lines = [""]
    for piece in re.findall(r"[^ .]*(?:[ .]|$)", printable(text)):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > most:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > most:
            lines[-1:] = [lines[-1][:most], lines[-1][most:]]
    return [line.rstrip() for line in lines]


def _marks(values: Array) -> list[tuple[str, str]]:
    """Return the legend of the values that are not finite: color and text."""
    nan, infinite = int(np.isnan(values).sum()), np.isinf(values)
    marks = [(NAN_COLOR, f"NaN ({nan:,} of {values.size:,})")] if nan else []
    if infinite.any():
        above = int((values > 0)[infinite].sum())
        marks.append((INF_COLOR, f"Inf ({above:,} positive, {int(infinite.sum()) - above:,} negative)"))
    return marks
