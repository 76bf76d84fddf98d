"""What the first looks at gradients tell: how the gradients of the batches are put together, and notes on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.inputs.source import Source
from tfdump.run.dependence import tell_dependence
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
from tfdump.run.not_captured import tell_not_captured
from tfdump.run.options import RunOptions
from tfdump.tensors import Array, Note, listed

if TYPE_CHECKING:
    from tfdump.model.gradients.probe import GradientBatch, GradientProbe, GradientProbeBase
    from tfdump.model.gradients.wrt import Target

ROWS_AT_ONCE = 1 << 16
"""Targets that are checked at once."""


@dataclass(frozen=True)
class GradientLook:
    """The gradients of a small batch; `places` are the places of its examples in the first batch."""

    places: Sequence[int]
    batch: "GradientBatch"


def check_classes(probe: "GradientProbeBase", source: Source) -> None:
    """Raise InputError, with the row, where a target is not a class of its output."""
    for column, check in probe.indexed_columns():
        for start in range(0, source.examples, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, source.examples)
            check(source.read_column(column, start, stop), source.first_example + start)


def coupling(
    probe: "GradientProbe",
    source: Source,
    fixed: int | None,
    divisors: npt.NDArray[np.float64],
    looks: Sequence[GradientLook],
    first: "GradientBatch",
    many: int,
) -> str | None:
    """Return why the loss of an example depends on the other examples of its batch, or None where it does not.

    `first` is the first batch, of `many` examples. A model with a `fixed` batch size is run on one more batch beside
    the `looks`, which repeats a single example.
    """
    if fixed is not None:
        places = (alone_place(fixed),) * fixed
        probe.start()
        looks = [*looks, GradientLook(places, probe.run(examples_at(source, places), divisors, fixed))]
        probe.start()
    for number, term in enumerate(probe.terms):
        one = first.elements[number]
        others = [look.batch.elements[number] for look in looks]
        if one.ndim and any(one.shape[1:] != other.shape[1:] for other in others):
            return f"the loss '{term.name}' does not have one value per example"
        if one.ndim and not _follow(one, others, [look.places for look in looks], many, term.dtype):
            return f"the output '{term.output}' of an example, or its loss, depends on the other examples"
    return None


def _follow(one: Array, others: Sequence[Array], places: Sequence[Sequence[int]], many: int, dtype: str) -> bool:
    """Tell whether every example has the same elements of the loss in the first batch and in the looks.

    `one` are the elements in the first batch, of `many` examples, each with the same number of elements. Where the
    elements cannot be divided among the examples, the answer is True, for nothing can be told.
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
    target: "Target", number: int, first: "GradientBatch", looks: Sequence[GradientLook], many: int, fixed: int | None
) -> AxisFinding:
    """Tell how the gradients of the batches are put together: as rows, as a sum, or batch by batch.

    `number` is the position of the target among the values of `first`, the first batch of `many` examples, and of the
    `looks`. `fixed` is the batch size that the model requires, or None.
    """
    from tfdump.model.gradients.wrt import GROUPS, WEIGHTS

    if target.group == GROUPS[WEIGHTS]:
        return AxisFinding(NONE, depends_on_batch=False)
    value, forward, dtype = first.values[number], first.forward[number], target.info.dtype
    result = AxisFinding(BATCH, depends_on_batch=True)
    for look in looks:
        other = look.batch.values[number]
        if value is None or other is None:  # an eager run whose batches differ: only the shape can tell
            by_example = value is not None and value.shape[:1] == (many,)
            return AxisFinding(EXAMPLE if by_example else BATCH, depends_on_batch=False)
        if fixed is not None:
            return find_by_rolling(value, other, fixed, dtype, look.places)
        if look is not looks[0]:
            result = confirm(result, value, other, look.places, dtype) if result.axis0 == EXAMPLE else result
        else:
            result = find_example_axis(other, value, len(look.places), many, dtype, look.places)
    if result.axis0 == EXAMPLE:
        return result
    others = [look.batch.forward[number] for look in looks]
    if forward is None or any(other is None or not _same(forward, other) for other in others):
        return AxisFinding(BATCH, depends_on_batch=True)
    return AxisFinding(
        NONE if forward.size else BATCH, depends_on_batch=not forward.size
    )  # a later batch may have rows


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and identical(a, b)


def tell_ranges(probe: "GradientProbe", first: "GradientBatch", note: Note) -> None:
    """Tell which outputs the loss takes for probabilities although their values are not between 0 and 1."""
    for term, limits in zip(probe.terms, first.ranges, strict=True):
        if limits.size and not (limits[0] >= -1e-3 and limits[1] <= 1 + 1e-3):
            note(
                f"the loss '{term.name}' takes the output '{term.output}' for probabilities, but its values go from "
                f"{limits[0]:.4g} to {limits[1]:.4g} (for logits: --loss NAME --from-logits)"
            )


def tell_mixing(probe: "GradientProbeBase", findings: list[AxisFinding], run: RunOptions, note: Note) -> list[str]:
    """Tell which gradients depend on the batch size; return the addresses of those that do."""
    pairs = list(zip((target.info.address for target in probe.targets), findings, strict=True))
    stacked = [address for address, finding in pairs if finding.axis0 == BATCH]
    mixing = [address for address, finding in pairs if finding.axis0 == EXAMPLE and finding.depends_on_batch]
    return tell_dependence("gradients", stacked, mixing, probe.assigned, run.training, 0, note)


def tell_unconnected(probe: "GradientProbeBase", note: Note) -> None:
    """Tell which targets have no gradient, and why."""
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
