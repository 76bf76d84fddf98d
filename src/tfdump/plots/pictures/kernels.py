"""Kernels of convolutions, and their gradients: one tile per pair of an input channel and a filter."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfdump.plots.colors import Limits, scale_of
from tfdump.plots.figure import SMALL_POINTS, TEXT_POINTS, Caption, Margins, PictureFrame, text_width
from tfdump.plots.pictures import mosaic
from tfdump.tensors import Array

MOST = 32
"""Filters, and input channels, that a picture shows by default."""


def kernels_figure(
    values: Array,
    inputs: Sequence[str],
    filters: Sequence[str],
    caption: Caption,
    unit: str = "weight",
    limits: Limits | None = None,
) -> Figure:
    """Return kernels `(H, W, inputs, filters)` as tiles: rows are input channels, columns are filters."""
    height, width, rows, columns = values.shape
    plan = mosaic.mosaic_plan(rows * columns, (height, width), columns)
    scale = scale_of(values, limits=limits)
    each = f"rows of tiles: input channels; columns: filters; each tile: {height} x {width}"
    left = int(max(text_width(text, SMALL_POINTS) for text in inputs)) + 12
    frame = PictureFrame(
        Caption(caption.title, caption.details, (each, *caption.notes)),
        plan.width,
        plan.height,
        margins=Margins(left=left, bottom=8, top=34),
        bar=True,
        values=values,
    )
    axes = frame.axes()
    mosaic.draw_tiles(axes, plan, np.transpose(values, (2, 3, 0, 1)).reshape(-1, height, width), scale, ())
    mosaic.row_labels(axes, plan, inputs)
    mosaic.column_labels(axes, plan, filters)
    axes.text(0, -20, "filter (across), input channel (down)", fontsize=TEXT_POINTS, va="bottom", ha="left")
    frame.bar(scale, unit)
    return frame.figure
