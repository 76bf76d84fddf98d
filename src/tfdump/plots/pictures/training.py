"""Curves of a tensor over a training: one value per dump of a folder."""

import math
from collections.abc import Sequence

import numpy as np

from tfdump.dump import layout
from tfdump.dump.series import Series
from tfdump.errors import DumpError
from tfdump.plots.drawing import Picture
from tfdump.plots.figure import Caption, plain_style
from tfdump.plots.kinds import Kind
from tfdump.plots.pictures.curves import Band, Line, curves_figure
from tfdump.statistics.series import SeriesEntry, TensorHistory, follow


def over_training(series: Series, address: str, scale: bool) -> Picture:
    """Return the range, mean and standard deviation of a tensor over a training.

    With `scale`, or where the dumps hold nothing else, the curves are the L2 norm (of a gradient), or the root mean
    square and standard deviation. Raises DumpError for a tensor that no dump has, or whose size no dump has.
    """
    followed = follow(series, address)
    notes = series_notes(series, followed)
    items = [item for item in followed.places if item.statistics or item.norm is not None]
    if not items:
        raise DumpError(f"no dump in {series.folder} has values, statistics or norms of '{followed.name}'")
    if len(items) < len(followed.places):
        notes.append(
            f"{len(followed.places) - len(items)} of {len(followed.places)} dumps have no values of {followed.name}"
        )
    details = (f"{items[0].dtype}, {len(items):,} dumps", f"{series.folder.name}")
    caption = Caption(followed.name.removeprefix(f"{layout.ACTIVATIONS}/"), details, tuple(notes))
    places = [item.dump.number for item in items]
    distributed = all(item.statistics for item in items)
    with plain_style():
        if distributed and not scale:
            names = ("max", "mean", "min")
            lines = [Line(name, np.array([_of(item, name) for item in items])) for name in names]
            mean, std = lines[1].values, np.array([_of(item, "std") for item in items])
            band = Band("mean and standard deviation", mean - std, mean + std)
            figure = curves_figure(lines, caption, series.axis, "value", places, band=band)
        else:
            sizes = _sizes(followed.name, items)
            figure = curves_figure(sizes, caption, series.axis, sizes[0].name if len(sizes) == 1 else "size", places)
    return Picture(figure, Kind.CURVE, tuple(notes))


def _sizes(name: str, items: Sequence[SeriesEntry]) -> list[Line]:
    if name.startswith(f"{layout.GRADIENTS}/"):
        norms = [item.norm if item.norm is not None else _of(item, "l2") for item in items]
        return [Line("L2 norm of the gradient", np.array(norms))]
    if not all(item.statistics for item in items):
        return [Line("L2 norm", np.array([math.nan if item.norm is None else item.norm for item in items]))]
    rms = [_of(item, "l2") / math.sqrt(_finite(item)) if _finite(item) > 0 else math.nan for item in items]
    return [
        Line("root mean square", np.array(rms)),
        Line("standard deviation", np.array([_of(item, "std") for item in items])),
    ]


def _of(item: SeriesEntry, name: str) -> float:
    return float((item.statistics or {}).get(name, math.nan))


def _finite(item: SeriesEntry) -> float:
    return _of(item, "count") - _of(item, "nan") - _of(item, "inf")


def series_notes(series: Series, followed: TensorHistory) -> list[str]:
    """Return notes on the files of a series that are not dumps, and the dumps without the tensor."""
    notes = [f"skipped: {skipped.reason}" for skipped in series.skipped]
    if followed.without:
        count = len(followed.without)
        notes.append(f"{followed.name} is not in {count} of {count + len(followed.places)} dumps")
    return notes
