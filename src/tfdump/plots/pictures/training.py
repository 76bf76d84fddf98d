"""A tensor through a folder of dumps: curves over the training."""

import math
from collections.abc import Sequence

import numpy as np

from tfdump.dump import layout
from tfdump.dump.series import Series
from tfdump.errors import DumpError
from tfdump.plots.drawing import Picture
from tfdump.plots.figure import Caption, plain_style
from tfdump.plots.kinds import Kind
from tfdump.plots.pictures.curves import Band, Line, curve
from tfdump.statistics.series import Followed, Following, follow


def over_training(series: Series, address: str, scale: bool) -> Picture:
    """Return how a tensor changes over a training: its range, mean and standard deviation.

    With `scale`, or where nothing else is known, its L2 norm (of a gradient), or its root mean square and standard
    deviation. Raises DumpError for a tensor that no dump has, or of which none has a size.
    """
    followed = follow(series, address)
    notes = notes_on(series, followed)
    known = [found for found in followed.places if found.statistics or found.norm is not None]
    if not known:
        raise DumpError(f"no dump in {series.folder} has values, statistics or norms of '{followed.name}'")
    if len(known) < len(followed.places):
        notes.append(f"{len(followed.places) - len(known)} of {len(followed.places)} dumps have no values of it")
    details = (f"{known[0].dtype}, {len(known):,} dumps", f"{series.folder.name}")
    caption = Caption(followed.name.removeprefix(f"{layout.ACTIVATIONS}/"), details, tuple(notes))
    places = [found.dump.number for found in known]
    distributed = all(found.statistics for found in known)
    with plain_style():
        if distributed and not scale:
            names = ("max", "mean", "min")
            lines = [Line(name, np.array([_of(found, name) for found in known])) for name in names]
            mean, std = lines[1].values, np.array([_of(found, "std") for found in known])
            band = Band("mean and standard deviation", mean - std, mean + std)
            figure = curve(lines, caption, series.axis, "value", places, band=band)
        else:
            sizes = _sizes(followed.name, known)
            figure = curve(sizes, caption, series.axis, sizes[0].name if len(sizes) == 1 else "size", places)
    return Picture(figure, Kind.CURVE, tuple(notes))


def _sizes(name: str, found: Sequence[Followed]) -> list[Line]:
    if name.startswith(f"{layout.GRADIENTS}/"):
        norms = [item.norm if item.norm is not None else _of(item, "l2") for item in found]
        return [Line("L2 norm of the gradient", np.array(norms))]
    if not all(item.statistics for item in found):
        return [Line("L2 norm", np.array([math.nan if item.norm is None else item.norm for item in found]))]
    rms = [_of(item, "l2") / math.sqrt(_finite(item)) if _finite(item) > 0 else math.nan for item in found]
    return [
        Line("root mean square", np.array(rms)),
        Line("standard deviation", np.array([_of(item, "std") for item in found])),
    ]


def _of(found: Followed, name: str) -> float:
    return float((found.statistics or {}).get(name, math.nan))


def _finite(found: Followed) -> float:
    return _of(found, "count") - _of(found, "nan") - _of(found, "inf")


def notes_on(series: Series, followed: Following) -> list[str]:
    """Return what is missing in a series: files that are no dumps, and dumps without the tensor."""
    notes = [f"skipped: {skipped.reason}" for skipped in series.skipped]
    if followed.without:
        count = len(followed.without)
        notes.append(f"{followed.name} is not in {count} of {count + len(followed.places)} dumps")
    return notes
