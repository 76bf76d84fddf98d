"""`--diff`: the error of every tensor along depth, and the first that diverges."""

import numpy as np
from matplotlib.figure import Figure

from tfdump.comparison.verdict import DIFFERS, VALUES, DiffReport, TensorDiff
from tfdump.errors import DumpError
from tfdump.plots.figure import Caption, plain_style
from tfdump.plots.pictures.depth import Panel, Points, depth

_NAMED = 8


def divergence(report: DiffReport, caption: Caption) -> tuple[Figure, tuple[str, ...]]:
    """Return the largest error of every tensor as a share of its largest golden magnitude, and notes.

    What `diff` compares by its values is drawn: those outside of their tolerance stand out, and a line marks the first
    of them. Raises DumpError where nothing was compared so.
    """
    drawn = [tensor for tensor in report.tensors if tensor.compared_by == VALUES and tensor.comparison is not None]
    if not drawn:
        raise DumpError(f"{report.golden} and {report.new} share no tensor with values to draw the error of")
    others = [tensor for tensor in report.tensors if tensor not in drawn]
    notes = [*report.notes]
    if others:
        names = ", ".join(f"{tensor.shown_name} ({tensor.reason or tensor.status})" for tensor in others[:_NAMED])
        notes.append(f"without a place: {len(others):,} ({names}{', ...' if len(others) > _NAMED else ''})")
    errors = np.array([_share(tensor) for tensor in drawn])
    outside = np.array([tensor.status == DIFFERS for tensor in drawn])
    points = [Points("largest error", errors)]
    if outside.any():
        points.append(Points("outside of its tolerance", np.where(outside, errors, np.nan), joined=False))
    odd = np.array([bool(tensor.comparison and tensor.comparison.unlike) for tensor in drawn])
    first = report.first
    place = drawn.index(first) if first is not None and first in drawn else None
    panel = Panel(
        "largest error of each tensor",
        "max |new - golden| / max |golden|",
        [tensor.shown_name for tensor in drawn],
        points,
        odd,
        None if place is None else (place, f"first divergence: {drawn[place].shown_name}"),
        odd_name="NaN or Inf on one side",
    )
    with plain_style():
        return depth([panel], caption.noting(report.summary, *notes)), tuple(notes)


def _share(tensor: TensorDiff) -> float:
    """Return the error as a share; of a golden tensor of zeros, the error itself."""
    found = tensor.comparison
    assert found is not None
    return found.max_error / found.largest if found.largest > 0 else found.max_error
