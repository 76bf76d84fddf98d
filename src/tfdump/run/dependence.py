"""Tensors whose values depend on the batch: how a run tells the user about them, and by which names."""

from collections.abc import Sequence

from tfdump.dump import layout
from tfdump.tensors import Note, listed


def tell_dependence(
    what: str,
    stacked: list[str],
    mixing: list[str],
    assigned: Sequence[str],
    training: bool,
    padding: int,
    note: Note,
) -> list[str]:
    """Tell which tensors depend on the batch size; return the names of those that do.

    `what` the tensors are is for the notes ("values", "gradients"). `stacked` are the names of the tensors without a
    row per example, `mixing` of those with rows that depend on other examples, and `assigned` of the variables that
    the model changes. In training mode every tensor may depend on the batch size, so `mixing` is returned only where
    the last batch has `padding`, which goes into these tensors too.
    """
    if stacked:
        note(f"stored batch by batch, because they have no row per example: {listed_layers(stacked)}")
    if training:
        note(f"--training: the {what} may depend on the batch size (batch statistics, random numbers)")
        return stacked + mixing if padding else stacked
    if assigned:
        note(f"the model changes variables while it runs, so {what} may depend on the batch size: {listed(assigned)}")
    if mixing:
        note(f"the {what} depend on the other examples of the batch: {listed_layers(mixing)}")
    return stacked + mixing


def names_of_tensors(tensors: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of tensors, given as pairs of group and address, each tensor once.

    An activation is named by its address. An output is named `outputs/NAME`, and is left out where an activation has
    the same address.
    """
    activations = [address for group, address in tensors if group == layout.ACTIVATIONS]
    others = [f"{group}/{address}" for group, address in tensors if group != layout.ACTIVATIONS]
    known = {f"{layout.OUTPUTS}/{address}" for address in activations}
    return activations + [name for name in others if name not in known]


def listed_layers(names: Sequence[str]) -> str:
    """Return names as a note lists them: the layers, or the outputs where there are no layers among the names."""
    layers = [name for name in names if not name.startswith(f"{layout.OUTPUTS}/")]
    return listed(layers or names)
