"""Which examples are looked at before the run: a few of the first batch, at other places and in another order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.errors import ModelError
from tfdump.inputs.source import Source
from tfdump.run.example_axis import AxisFinding, confirm, find_example_axis, find_in_fixed_batches, rows_of
from tfdump.tensors import Batch, Value

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe

FEW = 2
"""Examples of a look; one more is taken where the batches have just as many."""

SMALL = 8
"""Up to so many examples of the first batch, two or four of them are looked at, at places that together with those of
the first look show every repeat of rows that cancels out: no further batch may follow that would show it."""


def first_places(examples: int) -> tuple[int, ...]:
    """Return the places of two examples near the beginning, which tell what is needed to choose a batch size.

    They are no neighbors where there are enough, and in reverse order, in which a sort or a shift does not hide.
    """
    return (2, 0) if examples > 3 else (1, 0) if examples > FEW else (0, 0)


def last_places(many: int, examples: int) -> tuple[int, ...]:
    """Return the places of other examples, those in a first batch of `many` last, but never just as many.

    The first ones would agree on too much (a cumulative sum, the number of a row). The places are those of no rotation
    and no reversal. They are two or four wherever they can be, as some models take pairs, or groups of at most four.
    """
    if many == 1:
        return (min(1, examples - 1), 0)
    if many == FEW:
        return (1, 2, 0) if examples > FEW else (1, 0, 1)
    if many > SMALL:
        return (many - 1, many - 3)
    if many > 6:
        return (1, many - 3, many - 1, many // 2)
    places = [place for place in range(1, many) if many % 2 or place != many // 2]
    return tuple(places[1::2] + places[::2])


def moved_places(fixed: int) -> tuple[int, ...]:
    """Return the places of all examples of a batch of `fixed` size in another order, neither rotated nor reversed.

    Beside one example alone it shows every repeat that cancels out in the batch (tried up to eight examples).
    """
    return (*range(1, fixed, 2), *range(2, fixed, 2), 0)


def alone_place(fixed: int) -> int:
    """Return the place of the example that is looked at alone: in a sorted batch, neither the least nor the largest."""
    return fixed // 2


def examples_at(source: Source, places: Sequence[int]) -> Batch:
    """Return the examples at these places; the last one stands for those behind it."""
    inside = np.minimum(places, source.examples - 1)
    start = int(inside.min())
    rows = source.read(start, int(inside.max()) + 1)
    return {name: values[inside - start] for name, values in rows.items()}


def last_of_first_batch(source: Source, count: int, many: int) -> Batch:
    """Return the last `count` examples of a first batch of `many`, at least as many."""
    return {name: rows[-count:] for name, rows in source.first(many).items()}


class Looks:
    """Runs a probe on a few batches, each time from the beginning, and compares what they give.

    `fixed` is the batch size that the model insists on, or None. The first look, `glance`, is there at once: at `few`
    examples, or at a whole batch of such a model.
    """

    def __init__(self, probe: "RunnableProbe", source: Source, fixed: int | None) -> None:
        self._probe = probe
        self._source = source
        self._fixed = fixed
        self._first_places = first_places(source.examples)
        self.few = fixed or len(self._first_places)
        self.glance = self._at(source.first(fixed) if fixed else self._batch(self._first_places))
        self._glance_of = {(p.is_output, p.info.address): v for p, v in zip(probe.probed, self.glance, strict=True)}

    def _batch(self, places: Sequence[int]) -> Batch:
        return examples_at(self._source, places)

    def _at(self, batch: Batch) -> list[Value | None]:
        """Return what the model gives for a batch."""
        self._probe.start()
        return self._probe.run(batch)

    def first(self, many: int) -> list[Value | None]:
        """Return what the model gives for the first batch."""
        return self._at(self._source.first(many))

    def compare(self, many: int) -> tuple[list[Value | None], list[AxisFinding]]:
        """Return what the model gives for the first batch of `many` examples, and what the looks tell of it."""
        if self._fixed is not None:
            return self._compare_fixed(self._fixed)
        places = last_places(many, self._source.examples)
        look = self._at(self._batch(places))
        first = self.first(many)
        return first, self._confirmed(first, self._findings(first, look, many, places))

    def _compare_fixed(self, fixed: int) -> tuple[list[Value | None], list[AxisFinding]]:
        """Compare the first batch with it in another order, and with one of an example alone."""
        self.glance, self._glance_of = [], {}  # three whole batches are enough in memory
        places = moved_places(fixed)
        moved = self._at(self._batch(places))
        place = alone_place(fixed)
        alone = self._at(self._batch((place,) * fixed))
        first = self.first(fixed)
        findings = [
            _by_shape(value, fixed)
            if value is None or other is None or single is None
            else find_in_fixed_batches(value, other, single, fixed, probed.info.dtype, places, place)
            for probed, value, other, single in zip(self._probe.probed, first, moved, alone, strict=True)
        ]
        return first, findings

    def _findings(
        self, first: list[Value | None], look: list[Value | None], many: int, places: Sequence[int]
    ) -> list[AxisFinding]:
        """Compare the first batch of `many` with a look at its examples at these places."""
        return [
            _by_shape(value, many)
            if value is None or other is None
            else find_example_axis(other, value, len(places), many, probed.info.dtype, places)
            for probed, value, other in zip(self._probe.probed, first, look, strict=True)
        ]

    def _confirmed(self, first: list[Value | None], findings: list[AxisFinding]) -> list[AxisFinding]:
        """Return the findings after the first look too, in which a model without a graph may have had other tensors."""
        glances = [self._glance_of.get((probed.is_output, probed.info.address)) for probed in self._probe.probed]
        return [
            finding
            if value is None or other is None
            else confirm(finding, value, other, self._first_places, probed.info.dtype)
            for probed, finding, value, other in zip(self._probe.probed, findings, first, glances, strict=True)
        ]

    def findings_unpadded(
        self, first: list[Value | None], findings: list[AxisFinding], rest: int, fixed: int
    ) -> list[AxisFinding] | None:
        """Look at a batch of `rest` examples; None where a model of the `fixed` size refuses it, or takes it wrongly.

        It is taken rightly where every tensor with a row per example has one for each of them too, with the same
        values, unless it mixes examples: zeros of the fixed size that are added to one row make several.
        """
        if not self._probe.takes(rest):
            return None
        places = range(fixed - rest, fixed)
        try:
            look = self._at(last_of_first_batch(self._source, rest, fixed))
        except ModelError:
            return None
        combined = []
        for padded_finding, finding in zip(findings, self._findings(first, look, fixed, places), strict=True):
            mixes = padded_finding.depends_on_batch  # one look may hide what another shows
            if padded_finding.axis0 == EXAMPLE and (finding.axis0 != EXAMPLE or finding.depends_on_batch > mixes):
                return None
            axis0 = BATCH if mixes and finding.axis0 == NONE else finding.axis0
            combined.append(AxisFinding(axis0, mixes or finding.depends_on_batch))
        return combined


def _by_shape(value: Value | None, many: int) -> AxisFinding:
    """Return the finding on what an eager run gave for one look alone: the shape has to do."""
    by_example = value is not None and rows_of(value) == many
    return AxisFinding(EXAMPLE if by_example else BATCH, depends_on_batch=False)
