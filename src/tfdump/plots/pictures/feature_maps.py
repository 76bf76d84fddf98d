"""Feature maps: the channels of one example as tiles on one scale of colors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfdump.plots.colors import Limits, scale_of
from tfdump.plots.figure import Caption, Margins, PictureFrame
from tfdump.plots.pictures import mosaic
from tfdump.tensors import Array

MOST = 64
"""Channels that a picture shows by default."""


def feature_maps_figure(
    values: Array,
    labels: Sequence[str],
    caption: Caption,
    unit: str = "activation",
    what: str = "channel",
    limits: Limits | None = None,
) -> Figure:
    """Return feature maps `(H, W, C)` as C tiles, with a label above each tile or, where it does not fit, each row."""
    height, width, count = values.shape
    plan = mosaic.mosaic_plan(count, (height, width), labels=labels)
    scale = scale_of(values, limits=limits)
    sides = not plan.label
    each = f"each tile: {height} rows (down) x {width} columns (across), labeled with its {what}"
    if sides:
        each = f"each tile: {height} rows (down) x {width} columns (across); {what}s run from left to right"
    frame = PictureFrame(
        Caption(caption.title, caption.details, (each, *caption.notes)),
        plan.width,
        plan.height,
        margins=Margins(left=56 if sides else 0, bottom=8, top=0),
        bar=True,
        values=values,
    )
    axes = frame.axes()
    mosaic.draw_tiles(axes, plan, np.moveaxis(values, -1, 0), scale, labels)
    if sides:
        mosaic.row_labels(axes, plan, [labels[row * plan.columns] for row in range(plan.rows)])
    frame.bar(scale, unit)
    return frame.figure
