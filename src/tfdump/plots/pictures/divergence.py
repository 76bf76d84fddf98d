"""`--diff`: the error of every tensor along the depth, and the first tensor that diverges."""

import numpy as np
from matplotlib.figure import Figure

from tfdump.comparison.verdict import DIFFERS, VALUES, DiffReport, TensorDiff
from tfdump.errors import DumpError
from tfdump.plots.figure import Caption, plain_style
from tfdump.plots.pictures.depth import Panel, Points, depth_figure

_NAMED = 8


def divergence_figure(report: DiffReport, caption: Caption) -> tuple[Figure, tuple[str, ...]]:
    """Return the largest error of every tensor as a share of its largest golden magnitude, and notes.

    The picture shows the tensors that `diff` compares by their values. Those outside their tolerance stand out, and a
    line marks the first of them. Raises DumpError where no tensor was compared by its values.
    """
    tensors = [tensor for tensor in report.tensors if tensor.compared_by == VALUES and tensor.comparison is not None]
    if not tensors:
        raise DumpError(f"{report.golden} and {report.new} share no tensor whose values can be compared")
    others = [tensor for tensor in report.tensors if tensor not in tensors]
    notes = [*report.notes]
    if others:
        names = ", ".join(f"{tensor.shown_name} ({tensor.reason or tensor.status})" for tensor in others[:_NAMED])
        notes.append(f"not in the picture: {len(others):,} ({names}{', ...' if len(others) > _NAMED else ''})")
    errors = np.array([_share(tensor) for tensor in tensors])
    outside = np.array([tensor.status == DIFFERS for tensor in tensors])
    points = [Points("largest error", errors)]
    if outside.any():
        points.append(Points("outside its tolerance", np.where(outside, errors, np.nan), joined=False))
    odd = np.array([bool(tensor.comparison and tensor.comparison.unlike) for tensor in tensors])
    first = report.first
    place = tensors.index(first) if first is not None and first in tensors else None
    panel = Panel(
        "largest error of each tensor",
        "max |new - golden| / max |golden|",
        [tensor.shown_name for tensor in tensors],
        points,
        odd,
        None if place is None else (place, f"first divergence: {tensors[place].shown_name}"),
        odd_name="NaN or Inf on one side",
    )
    with plain_style():
        return depth_figure([panel], caption.noting(report.summary, *notes)), tuple(notes)


def _share(tensor: TensorDiff) -> float:
    """Return the error as a share of the largest golden magnitude; for a golden tensor of zeros, the error itself."""
    comparison = tensor.comparison
    assert comparison is not None
    return comparison.max_error / comparison.largest if comparison.largest > 0 else comparison.max_error
