"""Tensors whose values depend on the batch: how a run tells the user about them."""

from collections.abc import Sequence

from tfdump.dump.kinds.kind_notes import listed_layers
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
