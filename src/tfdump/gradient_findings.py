"""What two looks at gradients tell: which belong together how, and what the user should know of them."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfdump.example_axis import BATCH, EXAMPLE, NONE, AxisFinding, agrees, find_by_rolling, find_example_axis, identical
from tfdump.inputs.source import Source
from tfdump.planning import RunOptions
from tfdump.tensors import Array, Note, Value, listed
from tfdump.writing import tell_not_captured

if TYPE_CHECKING:
    from tfdump.model.gradient import GradientBatch, GradientProbe, Gradients
    from tfdump.model.gradient_sources import Target

ROWS_AT_ONCE = 1 << 16
"""Targets that are checked together."""


def check_classes(probe: "Gradients", source: Source) -> None:
    """Raise InputError where a target is no class of its output: before anything is computed, with its row."""
    for column, check in probe.indexed_columns():
        for start in range(0, source.examples, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, source.examples)
            check(source.read_column(column, start, stop), source.first_example + start)


def coupling(
    probe: "GradientProbe",
    source: Source,
    fixed: int | None,
    divisors: npt.NDArray[np.float64],
    look: "GradientBatch",
    first: "GradientBatch",
) -> str | None:
    """Tell why the loss of an example depends on the others in its batch, or None.

    The last example of both batches is the same. A model of fixed batch size gets one made of that example alone.
    """
    others = look.elements
    if fixed is not None:
        alone = {name: np.repeat(rows[-1:], fixed, axis=0) for name, rows in source.first(fixed).items()}
        probe.start()
        others = probe.run(alone, divisors, fixed).elements
        probe.start()
    for term, one, other in zip(probe.terms, first.elements, others, strict=True):
        if one.ndim and one.shape[1:] != other.shape[1:]:
            return f"the loss '{term.name}' has no value for each of them"
        if one.ndim and not agrees(one[-1:], other[-1:], term.dtype):
            return f"the output '{term.output}' of an example, or its loss, depends on the others in its batch"
    return None


def finding(
    target: "Target",
    value: Value | None,
    other: Value | None,
    forward: Array | None,
    forward_other: Array | None,
    few: int,
    many: int,
    fixed: int | None,
) -> AxisFinding:
    """Tell how the gradients of batches belong together: as rows, as a sum, or not at all."""
    from tfdump.model.gradient_sources import GROUPS, WEIGHTS

    if target.group == GROUPS[WEIGHTS]:
        return AxisFinding(NONE, depends_on_batch=False)
    if value is None or other is None:  # an eager run whose batches differ: the shape has to do
        by_example = value is not None and value.shape[:1] == (many,)
        return AxisFinding(EXAMPLE if by_example else BATCH, depends_on_batch=False)
    dtype = target.info.dtype
    if fixed is not None:
        return find_by_rolling(value, other, fixed, dtype)
    finding = find_example_axis(other, value, few, many, dtype)
    if finding.axis0 == EXAMPLE:
        return finding
    constant = forward is not None and forward_other is not None and forward.shape == forward_other.shape
    if constant and identical(forward, forward_other):  # type: ignore[arg-type]  # both are there
        empty = forward is not None and not forward.size  # rows may come yet, of which there is no sum
        return AxisFinding(BATCH if empty else NONE, depends_on_batch=empty)
    return AxisFinding(BATCH, depends_on_batch=True)


def tell_ranges(probe: "GradientProbe", first: "GradientBatch", note: Note) -> None:
    """Say where an output that is taken for probabilities holds none."""
    for term, found in zip(probe.terms, first.ranges, strict=True):
        if found.size and not (found[0] >= -1e-3 and found[1] <= 1 + 1e-3):
            note(
                f"the loss '{term.name}' takes the output '{term.output}' for probabilities, and it goes from "
                f"{found[0]:.4g} to {found[1]:.4g} (are these logits? --loss NAME --from-logits)"
            )


def tell_dependence(probe: "Gradients", findings: list[AxisFinding], run: RunOptions, note: Note) -> list[str]:
    """Name the gradients that depend on the batch size (promise 2 does not hold for them)."""
    named = list(zip((target.info.address for target in probe.targets), findings, strict=True))
    stacked = [address for address, finding in named if finding.axis0 == BATCH]
    if stacked:
        note(f"stored batch by batch, because they have no row per example: {listed(stacked)}")
    if run.training:
        note("--training: the gradients may depend on the batch size (batch statistics, random numbers)")
        return stacked
    if probe.assigned:
        note(
            f"the model changes variables while it runs, so gradients may depend on the batch size: "
            f"{listed(probe.assigned)}"
        )
    mixing = [address for address, finding in named if finding.axis0 == EXAMPLE and finding.depends_on_batch]
    if mixing:
        note(f"the gradients depend on the other examples of the batch: {listed(mixing)}")
    return stacked + mixing


def tell_unconnected(probe: "Gradients", note: Note) -> None:
    """Say what has no gradient, and why."""
    tell_not_captured(probe.not_captured, note)
    behind = probe.behind_logits
    keys = {target.key for target in behind}
    other = [target for target in probe.unconnected if target.selected and target.key not in keys]
    for unconnected, why in (
        (other, ""),
        (behind, " (Keras computes the crossentropy from the logits behind this softmax or sigmoid)"),
    ):
        if unconnected:
            addresses = listed(target.info.address for target in unconnected)
            note(f"not connected with the loss, so without a gradient: {addresses}{why}")
