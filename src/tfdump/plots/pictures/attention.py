"""Attention scores: one matrix per head, queries down and keys across, labeled with tokens where there are some."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from tfdump.plots.colors import Limits, scale_of
from tfdump.plots.figure import SMALL_POINTS, Caption, Margins, PictureFrame
from tfdump.plots.pictures.heatmap import MatrixSide, bottom_margin, draw_matrix, label_side, left_margin, shrink_notes
from tfdump.plots.pictures.mosaic import full_rows
from tfdump.tensors import Array

MOST = 16
"""Heads that a picture shows by default."""

_MOST_TOKEN = 14


def attention_figure(
    values: Array,
    heads: Sequence[str],
    caption: Caption,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> Figure:
    """Return scores `(heads, T, S)` as a grid of heads on one scale of colors, which starts at 0."""
    count, rows, columns = values.shape
    down, across = MatrixSide("query", queries or 0), MatrixSide("key", keys or 0)
    grid = full_rows(count, math.ceil(math.sqrt(count * 1.4)))
    room = max(130, min(420, 1120 // grid))
    high, wide = (_pixels(size, room, labeled) for size, labeled in ((rows, queries), (columns, keys)))
    left, bottom = left_margin(down, _MOST_TOKEN), bottom_margin(across, _MOST_TOKEN)
    step_across, step_down = wide + left + 16, high + bottom + 26
    scale = scale_of(values, low=None if (values < 0).any() else 0.0, limits=limits)
    frame = PictureFrame(
        caption.noting(*shrink_notes(values[0], high, wide)),
        grid * step_across - left - 16,
        -(-count // grid) * step_down - bottom - 26,
        margins=Margins(left=left, bottom=bottom, top=20),
        bar=True,
        values=values,
    )
    for number in range(count):
        row, column = divmod(number, grid)
        axes = frame.axes(column * step_across, row * step_down, wide, high)
        draw_matrix(axes, values[number], high, wide, scale)
        label_side(axes, down, rows, high, vertical=True, most=_MOST_TOKEN)
        label_side(axes, across, columns, wide, vertical=False, most=_MOST_TOKEN)
        axes.set_title(heads[number], fontsize=SMALL_POINTS, loc="left", pad=3)
    frame.bar(scale, "attention score")
    return frame.figure


def _pixels(size: int, room: int, labeled: Sequence[str] | None) -> int:
    """Return the pixels of a side; each of up to 48 tokens gets a line."""
    if labeled is not None and size <= 48:
        room = max(room, 13 * size)
    return size * min(48, room // size) if size <= room else -(-size // -(-size // room))
