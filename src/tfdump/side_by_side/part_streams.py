"""The comparison of one pair of ragged or sparse tensors, or of text, or by statistics, batch by batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tfdump.accumulators.statistics import ExactStatistics
from tfdump.comparison.arrays import compare_arrays
from tfdump.comparison.elementwise import Judge
from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.rule import Criteria, Rule
from tfdump.comparison.tensors import Outcome, compare_pair, outcome_of
from tfdump.comparison.verdict import DIFFERS, SAME, VALUES, Comparison
from tfdump.dump.axis0 import EXAMPLE, NONE
from tfdump.dump.parts import Piecewise, holds_values
from tfdump.dump.quantization import QuantizationParameters, parameters_from
from tfdump.side_by_side.places_in_batches import BatchPlace
from tfdump.side_by_side.streams import FirstAxes, Sides, feed

_PLACED = Criteria(exact=True).rule_for([], [], ["int64"])
"""The rule for the numbers that tell where values are."""


class CompositeStream:
    """Compares ragged or sparse tensors: in each batch, first the places of the values, which have to be equal."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._judge = Judge(rule, rereads=False)
        self._unlike: Outcome | None = None
        self._starts: list[int] = [0]

    @property
    def fails(self) -> bool:
        """Whether the batches so far differ."""
        return self._unlike is not None or self._judge.fails

    def add(self, sides: Sides, axes: FirstAxes, place: BatchPlace) -> None:
        """Compare one batch."""
        if self._unlike is not None or (axes == (NONE, NONE) and len(self._starts) > 1):
            return
        golden, new = ({part.name: part for part in parts} for parts in sides)
        where = f"in batch {place.number + 1}"
        if golden.keys() != new.keys():
            self._unlike = DIFFERS, f"{len(new)} parts {where}, golden has {len(golden)}", VALUES, None
            return
        for name, part in golden.items():
            if part.shape != new[name].shape:
                reason = f"part '{name}' has the shape {new[name].shape} {where}, golden {part.shape}"
                self._unlike = DIFFERS, reason, VALUES, None
                return
        for name in golden:
            if not holds_values(name):
                outcome = outcome_of(compare_arrays([(golden[name], new[name])], _PLACED), VALUES, _PLACED)
                if outcome[0] != SAME:
                    self._unlike = (outcome[0], f"{where}: {outcome[1]}", *outcome[2:])
                    return
        for name in filter(holds_values, golden):
            feed(self._judge, golden[name], new[name], f"{len(self._starts) - 1}/{name}")
        lengths = [part.shape[0] for name, part in golden.items() if holds_values(name) and part.shape]
        self._starts.append(self._starts[-1] + max(lengths, default=0))

    def outcome(self) -> Outcome:
        """Return the outcome for all batches so far."""
        if self._unlike is not None:
            return self._unlike
        comparison = self._judge.finish()
        if comparison.index is not None:
            batch, _, part = comparison.part.partition("/")
            first, *rest = comparison.index
            comparison = replace(comparison, part=part, index=(first + self._starts[int(batch)], *rest))
        return outcome_of(comparison, VALUES, self._rule)


class TextStream:
    """Compares text: the elements that differ are counted, and the first one is shown."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._sum: Comparison | None = None

    @property
    def fails(self) -> bool:
        """Whether the batches so far differ."""
        return self._sum is not None and not self._sum.passed

    def add(self, sides: Sides, axes: FirstAxes, place: BatchPlace) -> None:
        """Compare one batch."""
        if axes == (NONE, NONE) and self._sum is not None:
            return
        more = compare_arrays(list(zip(*sides, strict=True)), self._rule)
        if more.index and axes[0] != NONE:
            first, *rest = more.index
            more = replace(more, index=(first + (place.start if axes[0] == EXAMPLE else place.call), *rest))
        so_far = self._sum
        if so_far is None:
            self._sum = more
            return
        shown = more if so_far.passed else so_far
        count, failed = so_far.count + more.count, so_far.failed + more.failed
        self._sum = replace(shown, passed=not failed, count=count, failed=failed)

    def outcome(self) -> Outcome:
        """Return the outcome for all batches so far."""
        return outcome_of(self._sum or Comparison(passed=True, count=0), VALUES, self._rule)


class MeasuredItem:
    """A tensor of which only the statistics are known, as an Item."""

    has_values = False
    connected = True
    norm = None

    def __init__(self, item: Item, statistics: dict[str, int | float]) -> None:
        self.group, self.address = item.group, item.address
        self.attributes: dict[str, Any] = item.attributes
        self.shape, self.dtype, self.stored_dtype = item.shape, item.dtype, item.stored_dtype
        self.encoding = item.encoding
        self._statistics = statistics

    @property
    def statistics(self) -> dict[str, int | float] | None:
        """The statistics."""
        return self._statistics

    @property
    def quantization(self) -> QuantizationParameters | None:
        """How integers stand for real numbers, as the attributes tell."""
        return parameters_from(self.attributes)

    def parts(self) -> Sequence[Piecewise]:
        """Return nothing, because there are no values."""
        return ()


class StatisticsStream:
    """Takes the statistics of the tensor of a model, and compares them with those of a dump without values."""

    fails = False

    def __init__(self, golden: Item, new: Item, pair: Pair, criteria: Criteria) -> None:
        self._items = golden, new
        self._pair = pair
        self._criteria = criteria
        self._measured = ExactStatistics()
        self._batches = 0

    def add(self, sides: Sides, axes: FirstAxes, place: BatchPlace) -> None:
        """Take the values of one batch."""
        side = 0 if self._items[0].has_values else 1
        self._batches += 1
        if axes[side] == NONE and self._batches > 1:
            return
        for part in sides[side]:
            if holds_values(part.name):
                self._measured.add(part.read(tuple(slice(0, size) for size in part.shape)))

    def outcome(self) -> Outcome:
        """Return the outcome for all batches."""
        measured = vars(self._measured.result())
        items: list[Item] = [MeasuredItem(item, measured) if item.has_values else item for item in self._items]
        return compare_pair(items[0], items[1], self._pair, self._criteria, check_attrs=False)
