"""`--flow`: gradient norms, or the scale of activations, of every layer along the depth."""

import numpy as np
from matplotlib.figure import Figure

from tfdump.dump import layout
from tfdump.plots.figure import Caption, plain_style
from tfdump.plots.pictures.depth import Panel, Points, depth_figure
from tfdump.statistics.depth import Depth, LayerSize

_TITLES = {
    layout.WEIGHT_GRADIENTS: "gradients of weights",
    layout.ACTIVATION_GRADIENTS: "gradients of activations",
    layout.INPUT_GRADIENTS: "gradients of inputs",
}
_MOST_STEPS = 5
_NAMED = 8


def flow_figure(groups: list[Depth], caption: Caption) -> tuple[Figure, tuple[str, ...]]:
    """Return one panel per group, and notes on the tensors that it leaves out.

    Gradients are drawn by their L2 norm (of several steps: the first, the last and some between), activations by
    their root mean square and standard deviation.
    """
    notes = tuple(note for group in groups for note in _omission_notes(group))
    steps = max(len(layer.norms) for group in groups for layer in group.layers)
    if steps > _MOST_STEPS:
        numbers = ", ".join(str(step) for step in _steps(steps))
        notes = (
            *notes,
            f"the picture shows steps {numbers} of {steps:,} (tfdump plot DUMP ADDRESS shows one tensor at all)",
        )
    panels = [_panel(group) for group in groups]
    with plain_style():
        return depth_figure(panels, caption.noting(*notes)), notes


def _panel(group: Depth) -> Panel:
    layers = group.layers
    names = [layer.address for layer in layers]
    odd = np.array([layer.nan + layer.inf > 0 or not np.isfinite(layer.norms).all() for layer in layers])
    if not group.is_gradient:
        points = [
            Points("root mean square", np.array([layer.rms for layer in layers])),
            Points("standard deviation", np.array([layer.std for layer in layers])),
        ]
        return Panel(f"scale of {group.group}", "scale", names, points, odd)
    steps = max(len(layer.norms) for layer in layers)
    if steps > 1:
        points = [Points(f"step {step}", np.array([_norm(layer, step) for layer in layers])) for step in _steps(steps)]
    elif group.group == layout.WEIGHT_GRADIENTS and len({layer.rank > 1 for layer in layers}) == 2:
        points = [
            Points("kernels (2 axes and more)", _norms(layers, True), belongs=_matrices(layers)),
            Points("vectors and scalars (bias, gamma)", _norms(layers, False), joined=False),
        ]
    else:
        points = [Points("L2 norm", np.array([layer.norm for layer in layers]))]
    return Panel(_TITLES[group.group], "L2 norm of gradient", names, points, odd)


def _norms(layers: tuple[LayerSize, ...], matrices: bool) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.where(_matrices(layers) == matrices, [layer.norm for layer in layers], np.nan)


def _matrices(layers: tuple[LayerSize, ...]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([layer.rank > 1 for layer in layers])


def _norm(layer: LayerSize, step: int) -> float:
    return layer.norms[step] if step < len(layer.norms) else float("nan")


def _steps(count: int) -> list[int]:
    """Return the steps that are drawn: the first, the last, and some between."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, _MOST_STEPS))})


def _omission_notes(group: Depth) -> list[str]:
    """Return one note per reason for which tensors have no size."""
    reasons: dict[str, list[str]] = {}
    for address, reason in group.left_out:
        reasons.setdefault(reason, []).append(address)
    lines = []
    for reason, addresses in reasons.items():
        named = ", ".join(addresses[:_NAMED]) + (", ..." if len(addresses) > _NAMED else "")
        lines.append(f"not in the picture of {group.group}, {reason}: {len(addresses):,} ({named})")
    return lines
