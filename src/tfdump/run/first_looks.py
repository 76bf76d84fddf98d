"""The examples that a run looks at before it starts: a few of the first batch, at other places and in another order."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.kinds.tensor_kind import rows_of
from tfdump.errors import ModelError
from tfdump.inputs.source import Source
from tfdump.run.example_axis import (
    AxisFinding,
    confirm,
    find_example_axis,
    find_in_fixed_batches,
    order_by_places,
    order_by_sizes,
)
from tfdump.tensors import Batch, Value

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe

FEW = 2
"""Examples of a look; a look has one more where the batches have the same number."""

SMALL = 8
"""A first batch of at most so many examples may be the only one, so its looks must show every dependence by themselves.

Two or four of its examples are looked at, at places that together with those of the first look show every repetition of
rows that cancels out within the batch.
"""


def first_places(examples: int) -> tuple[int, ...]:
    """Return the places of two examples near the beginning, which are enough to choose a batch size.

    They are in reverse order, and not neighbors where there are enough examples, so that a sort or a shift of the
    examples changes what the model gives for them.
    """
    return (2, 0) if examples > 3 else (1, 0) if examples > FEW else (0, 0)


def last_places(many: int, examples: int) -> tuple[int, ...]:
    """Return the places of examples at the end of a first batch of `many`, but never of exactly `many` examples.

    Examples at the beginning agree too often, for instance in a cumulative sum or the number of a row. The places are
    neither a rotation nor a reversal of the batch. There are two or four of them wherever possible, because some models
    take pairs, or groups of four.
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

    Together with a batch of one example alone, this order shows every repetition of rows that cancels out within the
    batch (tried for up to eight examples).
    """
    return (*range(1, fixed, 2), *range(2, fixed, 2), 0)


def alone_place(fixed: int) -> int:
    """Return the place of the example that is looked at alone: the middle, so neither end of a sorted batch."""
    return fixed // 2


def examples_at(source: Source, places: Sequence[int]) -> Batch:
    """Return the examples at these places; the last example stands for places behind it."""
    inside = np.minimum(places, source.examples - 1)
    start = int(inside.min())
    rows = source.read(start, int(inside.max()) + 1)
    return {name: values[inside - start] for name, values in rows.items()}


def last_of_first_batch(source: Source, count: int, many: int) -> Batch:
    """Return the last `count` examples of a first batch of `many` examples, where `count` is at most `many`."""
    return {name: rows[-count:] for name, rows in source.first(many).items()}


class FirstLooks:
    """Runs a probe on a few batches, each time from the initial state, and compares the results.

    `fixed` is the batch size that the model requires, or None. `glance` is what the first look gives, at `few`
    examples: a whole batch where the size is fixed.
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
        """Return what the model gives for the first batch of `many` examples, and the finding on each tensor."""
        if self._fixed is not None:
            return self._compare_fixed(self._fixed)
        places = last_places(many, self._source.examples)
        look = self._at(self._batch(places))
        first = self.first(many)
        if self._probe.turns:
            orders = [
                None if value is None or other is None else order_by_sizes(other, value, len(places), many)
                for value, other in zip(first, look, strict=True)
            ]
            first, look = self._turned(orders, first, look)
        return first, self._confirmed(first, self._findings(first, look, many, places))

    def _compare_fixed(self, fixed: int) -> tuple[list[Value | None], list[AxisFinding]]:
        """Compare the first batch with the same batch in another order, and with a batch of one example alone."""
        self.glance, self._glance_of = [], {}  # memory has to hold three whole batches already
        places = moved_places(fixed)
        moved = self._at(self._batch(places))
        place = alone_place(fixed)
        alone = self._at(self._batch((place,) * fixed))
        first = self.first(fixed)
        if self._probe.turns:
            orders = [
                None if v is None or m is None else order_by_places(v, m, fixed, probed.info.dtype, places)
                for probed, v, m in zip(self._probe.probed, first, moved, strict=True)
            ]
            first, moved, alone = self._turned(orders, first, moved, alone)
        findings = [
            _by_shape(value, fixed)
            if value is None or other is None or single is None
            else find_in_fixed_batches(value, other, single, fixed, probed.info.dtype, places, place)
            for probed, value, other, single in zip(self._probe.probed, first, moved, alone, strict=True)
        ]
        return first, findings

    def _turned(self, orders: list[tuple[int, ...] | None], *looks: list[Value | None]) -> Iterator[list[Value | None]]:
        """Let the probe put the examples first from now on; yield these looks, and keep the glance, likewise."""
        known = {place: order for place, order in enumerate(orders) if order is not None}
        for place, order in known.items():
            probed = self._probe.probed[place]
            key = probed.is_output, probed.info.address
            if key in self._glance_of:
                self._glance_of[key] = _in_order(self._glance_of[key], order)
        self._probe.turn(known)
        for look in looks:
            yield [_in_order(value, known.get(place)) for place, value in enumerate(look)]

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
        """Return the findings after the first look too; a model without a graph may have had other tensors in it."""
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
        """Look at a batch of `rest` examples; None where a model of the `fixed` size does not compute it correctly.

        It is correct where every tensor with a row per example has one row for each of them, with the same values
        unless the tensor mixes examples. It is not where, for instance, the model adds zeros of the fixed size to one
        row, which makes several rows.
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
            mixes = padded_finding.depends_on_batch  # one look may not show what another shows
            if padded_finding.axis0 == EXAMPLE and (finding.axis0 != EXAMPLE or finding.depends_on_batch > mixes):
                return None
            axis0 = BATCH if mixes and finding.axis0 == NONE else finding.axis0
            combined.append(AxisFinding(axis0, mixes or finding.depends_on_batch))
        return combined


def _in_order(value: Value | None, order: tuple[int, ...] | None) -> Value | None:
    """Return a value with its axes in another order."""
    return value.transpose(order) if order is not None and isinstance(value, np.ndarray) else value


def _by_shape(value: Value | None, many: int) -> AxisFinding:
    """Return the finding on a tensor that an eager run gave in one look only: from its shape alone."""
    by_example = value is not None and rows_of(value) == many
    return AxisFinding(EXAMPLE if by_example else BATCH, depends_on_batch=False)
