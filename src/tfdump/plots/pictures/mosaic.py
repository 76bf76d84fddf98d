"""Many small images in one: tiles with borders and labels, composed pixel by pixel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from tfdump.errors import TfdumpError
from tfdump.plots.colors import Colors, Scale, shrunk_matrix
from tfdump.plots.figure import SMALL_POINTS, show_pixels, text_width
from tfdump.tensors import Array

BORDER = np.array([150, 150, 150, 255], np.uint8)
_MOST_PIXELS = 12_000
"""The largest width and height: viewers refuse larger pictures."""

_LABEL = 14
_SMALLEST, _LARGEST, _ALONE = 22, 320, 480


@dataclass(frozen=True)
class Mosaic:
    """The places of the tiles: `columns` per row, each of `high` by `wide` pixels below its label, `gap` apart."""

    rows: int
    columns: int
    high: int
    wide: int
    gap: int
    label: int

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.columns * (self.wide + 2 + self.gap) - self.gap

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.rows * (self.high + 2 + self.label + self.gap) - self.gap

    def corner(self, number: int) -> tuple[int, int]:
        """Return the first pixel of a tile inside its border, from the left and from the top."""
        row, column = divmod(number, self.columns)
        return (
            column * (self.wide + 2 + self.gap) + 1,
            row * (self.high + 2 + self.label + self.gap) + self.label + 1,
        )


def mosaic_plan(
    count: int, size: tuple[int, int], columns: int | None = None, *, room: int = 1000, labels: Sequence[str] = ()
) -> Mosaic:
    """Return a mosaic of `count` tiles of `size` cells; cells are whole pixels, or several cells share one.

    Raises TfdumpError where the tiles are too many for a picture.
    """
    columns = columns or _columns(count, size)
    rows = -(-count // columns)
    target = min(_ALONE if count == 1 else _LARGEST, max(_SMALLEST, room // columns))
    high, wide = (_pixels(cells, target, max(size)) for cells in size)
    fits = labels and max(text_width(text, SMALL_POINTS) for text in labels) <= wide + 2
    mosaic = Mosaic(rows, columns, high, wide, 4 if wide >= 12 else 2, _LABEL if fits else 0)
    if max(mosaic.width, mosaic.height) > _MOST_PIXELS:
        raise TfdumpError(
            f"{count:,} tiles would make a picture of {mosaic.width:,} x {mosaic.height:,} pixels "
            "(draw fewer with --channels START:STOP)"
        )
    return mosaic


def _columns(count: int, size: tuple[int, int]) -> int:
    """Return the number of tiles per row, for a picture a little wider than high."""
    return full_rows(count, math.ceil(math.sqrt(count * 1.5 * max(0.2, min(5.0, size[0] / size[1])))))


def full_rows(count: int, best: int) -> int:
    """Return the number of columns near the best one that fills every row, or else the best one."""
    best = min(count, best)
    full = [number for number in range(-(-best * 2 // 3), best * 3 // 2 + 1) if count % number == 0]
    return min(full, key=lambda number: (abs(number - best), number), default=best)


def draw_tiles(axes: Axes, mosaic: Mosaic, tiles: Array, scale: Scale, labels: Sequence[str]) -> None:
    """Draw tiles `(count, H, W)` in axes of the mosaic's size."""
    canvas = np.full((mosaic.height, mosaic.width, 4), 255, np.uint8)
    for number, tile in enumerate(tiles):
        left, top = mosaic.corner(number)
        canvas[top - 1 : top + mosaic.high + 1, left - 1 : left + mosaic.wide + 1] = BORDER
        canvas[top : top + mosaic.high, left : left + mosaic.wide] = enlarged_pixels(
            tile, mosaic.high, mosaic.wide, scale
        )
    show_pixels(axes, canvas, (0, mosaic.width, mosaic.height, 0))
    axes.set_axis_off()
    if mosaic.label:
        for number, text in enumerate(labels):
            left, top = mosaic.corner(number)
            axes.text(left, top - 3, text, fontsize=SMALL_POINTS, va="bottom", ha="left", parse_math=False)


def enlarged_pixels(values: Array, high: int, wide: int, scale: Scale) -> Colors:
    """Return a matrix as `high` by `wide` colored pixels: cells are repeated, or reduced as `shrunk_matrix` does."""
    colored = scale.colors(shrunk_matrix(values, high, wide))
    for axis, size in ((0, high), (1, wide)):
        index = np.arange(size) * colored.shape[axis] // size
        colored = np.take(colored, index, axis)
    return colored


def _pixels(cells: int, target: int, longest: int) -> int:
    """Return the pixels of a side: whole pixels per cell, or fewer pixels than cells."""
    factor = target // longest
    return cells * factor if factor else max(1, cells * target // longest)


def row_labels(axes: Axes, mosaic: Mosaic, labels: Sequence[str]) -> None:
    """Write a label to the left of every row of tiles, or of as many rows as have room."""
    every = max(1, -(-_LABEL // (mosaic.high + 2 + mosaic.gap)))
    for row in range(0, mosaic.rows, every):
        _, top = mosaic.corner(row * mosaic.columns)
        where = (-6, top + mosaic.high / 2)
        axes.text(*where, labels[row], fontsize=SMALL_POINTS, va="center", ha="right", parse_math=False)


def column_labels(axes: Axes, mosaic: Mosaic, labels: Sequence[str]) -> None:
    """Write a label above every column of tiles, or above as many columns as have room."""
    room = mosaic.wide + 2 + mosaic.gap
    every = max(1, -(-int(max(text_width(text, SMALL_POINTS) for text in labels) + 4) // room))
    for column in range(0, mosaic.columns, every):
        left, _ = mosaic.corner(column)
        where = (left + mosaic.wide / 2, -4)
        axes.text(*where, labels[column], fontsize=SMALL_POINTS, va="bottom", ha="center", parse_math=False)
