"""Matrices as colors: sequences, dense layers over examples, kernels of dense layers, tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfdump.plots.colors import Limits, Scale, scale_of
from tfdump.plots.figure import (
    SMALL_POINTS,
    Caption,
    Margins,
    PictureFrame,
    short_name,
    show_pixels,
    text_width,
    whole_ticks,
)
from tfdump.plots.pictures.mosaic import enlarged_pixels
from tfdump.tensors import Array

_WIDE, _HIGH = 960, 640
_CELL = 48
_ROW = 13
"""Pixels of a line of labels."""


@dataclass(frozen=True)
class MatrixSide:
    """One side of a matrix: its name, and the first number or the label of every place."""

    name: str
    labels: Sequence[str] | int = 0


def heatmap_figure(
    values: Array,
    rows: MatrixSide,
    columns: MatrixSide,
    caption: Caption,
    unit: str = "activation",
    limits: Limits | None = None,
) -> Figure:
    """Return a matrix `(R, C)` as a heat map; where cells share a pixel, it shows the largest magnitude."""
    high, wide = _pixels(values.shape[0], _HIGH), _pixels(values.shape[1], _WIDE)
    scale = scale_of(values, limits=limits)
    frame = PictureFrame(
        caption.noting(*shrink_notes(values, high, wide)),
        wide,
        high,
        margins=Margins(left=left_margin(rows), bottom=bottom_margin(columns)),
        bar=True,
        values=values,
    )
    axes = frame.axes()
    draw_matrix(axes, values, high, wide, scale)
    label_side(axes, rows, values.shape[0], high, vertical=True)
    label_side(axes, columns, values.shape[1], wide, vertical=False)
    frame.bar(scale, unit)
    return frame.figure


def draw_matrix(axes: Axes, values: Array, high: int, wide: int, scale: Scale) -> None:
    """Draw a matrix in axes of `high` by `wide` pixels; the data coordinates are its rows and columns."""
    rows, columns = values.shape
    show_pixels(axes, enlarged_pixels(values, high, wide, scale), (-0.5, columns - 0.5, rows - 0.5, -0.5))


def label_side(axes: Axes, side: MatrixSide, size: int, pixels: int, *, vertical: bool, most: int = 24) -> None:
    """Set the ticks and the name of one side of a matrix of `size` rows or columns in `pixels`."""
    axis = axes.yaxis if vertical else axes.xaxis
    axis.set_label_text(side.name)
    if isinstance(side.labels, int):
        positions = whole_ticks(size, max(1, pixels // (16 if vertical else 42)))
        axis.set_ticks(positions, [f"{side.labels + position:,}" for position in positions])
        return
    every = max(1, -(-_ROW * size // max(1, pixels)))
    positions = list(range(0, size, every))
    labels = [short_name(side.labels[position], most) for position in positions]
    axis.set_ticks(positions, labels, fontsize=SMALL_POINTS, parse_math=False, rotation=0 if vertical else 90)


def left_margin(side: MatrixSide, most: int = 24) -> int:
    """Return the pixels for the labels of the rows."""
    if isinstance(side.labels, int):
        return 62
    return 34 + int(max((text_width(short_name(text, most), SMALL_POINTS) for text in side.labels), default=0))


def bottom_margin(side: MatrixSide, most: int = 24) -> int:
    """Return the pixels for the labels of the columns."""
    if isinstance(side.labels, int):
        return 44
    return 34 + int(max((text_width(short_name(text, most), SMALL_POINTS) for text in side.labels), default=0))


def shrink_notes(values: Array, high: int, wide: int) -> list[str]:
    """Return notes where several rows or columns of a matrix share a pixel."""
    notes = []
    for count, pixels, name in ((values.shape[0], high, "rows"), (values.shape[1], wide, "columns")):
        block = -(-count // pixels)
        if block > 1:
            notes.append(f"each pixel shows the value of the largest magnitude among {block:,} of {count:,} {name}")
    return notes


def _pixels(count: int, room: int) -> int:
    """Return the pixels of a side: whole pixels per cell, or whole cells per pixel, within the room."""
    return count * min(_CELL, room // count) if count <= room else -(-count // -(-count // room))
