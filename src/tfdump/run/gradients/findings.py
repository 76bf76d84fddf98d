"""What two looks at gradients tell: which belong together how, and what the user should know of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.inputs.source import Source
from tfdump.run.example_axis import (
    AxisFinding,
    agrees,
    confirm,
    find_by_rolling,
    find_example_axis,
    identical,
    pairs_inside,
)
from tfdump.run.first_looks import alone_place, examples_at
from tfdump.run.options import RunOptions
from tfdump.run.output import tell_not_captured
from tfdump.tensors import Array, Note, listed

if TYPE_CHECKING:
    from tfdump.model.gradients.probe import GradientBatch, GradientProbe, GradientProbeBase
    from tfdump.model.gradients.wrt import Target

ROWS_AT_ONCE = 1 << 16
"""Targets that are checked together."""


@dataclass(frozen=True)
class Look:
    """What a small batch gave; `places` are those of its examples in the first batch."""

    places: Sequence[int]
    batch: "GradientBatch"


def check_classes(probe: "GradientProbeBase", source: Source) -> None:
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
    looks: Sequence[Look],
    first: "GradientBatch",
    many: int,
) -> str | None:
    """Tell why the loss of an example depends on the others in its batch, of `many`, or None.

    A model of fixed batch size gets one made of a single example, beside the `looks`.
    """
    if fixed is not None:
        places = (alone_place(fixed),) * fixed
        probe.start()
        looks = [*looks, Look(places, probe.run(examples_at(source, places), divisors, fixed))]
        probe.start()
    for number, term in enumerate(probe.terms):
        one = first.elements[number]
        others = [look.batch.elements[number] for look in looks]
        if one.ndim and any(one.shape[1:] != other.shape[1:] for other in others):
            return f"the loss '{term.name}' has no value for each of them"
        if one.ndim and not _follow(one, others, [look.places for look in looks], many, term.dtype):
            return f"the output '{term.output}' of an example, or its loss, depends on the others in its batch"
    return None


def _follow(one: Array, others: Sequence[Array], places: Sequence[Sequence[int]], many: int, dtype: str) -> bool:
    """Tell whether the elements of a loss are those of their examples in any batch.

    Each example has one of them, or as many as the others have. Where that is not so, none can be told to be its own.
    """
    share, rest = divmod(len(one), many)
    if rest or any(len(other) != share * len(these) for other, these in zip(others, places, strict=True)):
        return True
    rows = one.reshape(many, share, *one.shape[1:])
    for other, these in zip(others, places, strict=True):
        inside, second = pairs_inside(these, many)
        own = other.reshape(len(these), share, *other.shape[1:])[list(inside)]
        if not agrees(rows[list(second)], own, dtype):
            return False
    return True


def finding(
    target: "Target", number: int, first: "GradientBatch", looks: Sequence[Look], many: int, fixed: int | None
) -> AxisFinding:
    """Tell how the gradients of batches belong together: as rows, as a sum, or not at all.

    `number` is that of the target among the values of the first batch, of `many` examples, and of the `looks`.
    """
    from tfdump.model.gradients.wrt import GROUPS, WEIGHTS

    if target.group == GROUPS[WEIGHTS]:
        return AxisFinding(NONE, depends_on_batch=False)
    value, forward, dtype = first.values[number], first.forward[number], target.info.dtype
    told = AxisFinding(BATCH, depends_on_batch=True)
    for look in looks:
        other = look.batch.values[number]
        if value is None or other is None:  # an eager run whose batches differ: the shape has to do
            by_example = value is not None and value.shape[:1] == (many,)
            return AxisFinding(EXAMPLE if by_example else BATCH, depends_on_batch=False)
        if fixed is not None:
            return find_by_rolling(value, other, fixed, dtype, look.places)
        if look is not looks[0]:
            told = confirm(told, value, other, look.places, dtype) if told.axis0 == EXAMPLE else told
        else:
            told = find_example_axis(other, value, len(look.places), many, dtype, look.places)
    if told.axis0 == EXAMPLE:
        return told
    others = [look.batch.forward[number] for look in looks]
    if forward is None or any(other is None or not _same(forward, other) for other in others):
        return AxisFinding(BATCH, depends_on_batch=True)
    return AxisFinding(NONE if forward.size else BATCH, depends_on_batch=not forward.size)  # rows may come yet


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and identical(a, b)


def tell_ranges(probe: "GradientProbe", first: "GradientBatch", note: Note) -> None:
    """Say where an output that is taken for probabilities holds none."""
    for term, found in zip(probe.terms, first.ranges, strict=True):
        if found.size and not (found[0] >= -1e-3 and found[1] <= 1 + 1e-3):
            note(
                f"the loss '{term.name}' takes the output '{term.output}' for probabilities, and it goes from "
                f"{found[0]:.4g} to {found[1]:.4g} (are these logits? --loss NAME --from-logits)"
            )


def tell_dependence(probe: "GradientProbeBase", findings: list[AxisFinding], run: RunOptions, note: Note) -> list[str]:
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


def tell_unconnected(probe: "GradientProbeBase", note: Note) -> None:
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
