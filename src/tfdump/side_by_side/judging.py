"""Judges all pairs of two sides batch by batch, as `diff` judges those of two dumps."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from typing import Protocol

from tfdump.comparison.options import DiffOptions
from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.tensors import Outcome, rule_of, unlike_attributes
from tfdump.comparison.values.layouts import LaidOutItem
from tfdump.comparison.values.sharing import wrongly_shared
from tfdump.comparison.verdict import DIFFERS, SAME, STATISTICS, VALUES, TensorDiff
from tfdump.comparison.verdicts import verdicts_on
from tfdump.process.stages import Progress, silent_progress
from tfdump.side_by_side.isolation import Isolation
from tfdump.side_by_side.live_tensors import LiveTensor
from tfdump.side_by_side.part_streams import CompositeStream, StatisticsStream, TextStream
from tfdump.side_by_side.places_in_batches import BatchPlace
from tfdump.side_by_side.streams import ArrayStream, PairStream


class Batchwise(Protocol):
    """Two sides whose tensors go through the batches together."""

    examples: int

    def places(self) -> Iterator[BatchPlace]:
        """Yield the place of each batch, while the tensors of both sides hold its values."""

    def tensor(self, item: Item) -> LiveTensor:
        """Return the tensor behind an item of a pair."""


class BatchJudge:
    """Judges pairs; `examples` counts those that were compared, and `stopped` tells whether there are more.

    With `first`, it stops at the first batch in which a pair differs by its values. `isolation` takes every batch too.
    """

    def __init__(
        self,
        sides: Batchwise,
        first: bool = False,
        progress: Progress = silent_progress,
        isolation: Isolation | None = None,
    ) -> None:
        self.examples = 0
        self.stopped = False
        self._sides = sides
        self._first = first
        self._progress = progress
        self._isolation = isolation

    def __call__(self, pairs: Sequence[Pair], options: DiffOptions, ignored: Set[int]) -> list[TensorDiff]:
        """Run through the batches, and return the verdict on each pair."""
        by_first_batch = list(verdicts_on(pairs, options, ignored, silent_progress))
        streams = [_stream(pair, verdict, options) for pair, verdict in zip(pairs, by_first_batch, strict=True)]
        if self._isolation is not None:
            self._isolation.begin(pairs)
        self._run(pairs, streams, any(_differs_at_once(verdict) for verdict in by_first_batch))
        verdicts = [
            self._verdict(pair, verdict, stream, options)
            for pair, verdict, stream in zip(pairs, by_first_batch, streams, strict=True)
        ]
        return [self._with_errors(place, verdict) for place, verdict in enumerate(verdicts)]

    def _run(self, pairs: Sequence[Pair], streams: Sequence[PairStream | None], differs: bool) -> None:
        for place in self._sides.places():
            if self._isolation is not None:
                self._isolation.start(place)
            for pair, stream in zip(pairs, streams, strict=True):
                if stream is not None and not self._trouble(pair):
                    self._add(pair, stream, place)
            if self._isolation is not None:
                self._isolation.finish()
            self.examples = min(self._sides.examples, place.start + place.examples)
            self._progress(self.examples, self._sides.examples)
            if self._first and (differs or _any_fails(pairs, streams)):
                self.stopped = self.examples < self._sides.examples
                return

    def _add(self, pair: Pair, stream: PairStream, place: BatchPlace) -> None:
        assert pair.golden is not None
        assert pair.new is not None
        golden, new = self._sides.tensor(pair.golden), self._sides.tensor(pair.new)
        parts = [item.parts() if live.has_values else () for item, live in ((pair.golden, golden), (pair.new, new))]
        stream.add((parts[0], parts[1]), (golden.axis0, new.axis0), place)

    def _trouble(self, pair: Pair) -> str:
        """Return why one of the two tensors cannot be compared any longer, or an empty text."""
        return next((text for item in pair.items if (text := self._sides.tensor(item).trouble)), "")

    def _verdict(self, pair: Pair, verdict: TensorDiff, stream: PairStream | None, options: DiffOptions) -> TensorDiff:
        shaped = self._shaped(pair, verdict)
        if stream is None:
            return shaped
        outcome = self._outcome(pair, stream)
        if outcome[0] == SAME and options.check_attrs and pair.golden is not None and pair.new is not None:
            unlike = unlike_attributes(pair.golden, pair.new)
            outcome = (DIFFERS, f"attributes differ: {'; '.join(unlike)}", *outcome[2:]) if unlike else outcome
        status, reason, compared_by, comparison = outcome
        return replace(
            shaped,
            status=status,
            fails=status == DIFFERS,
            reason=reason,
            compared_by=compared_by,
            comparison=comparison,
        )

    def _with_errors(self, place: int, verdict: TensorDiff) -> TensorDiff:
        """Return the verdict on the pair at a place with the errors of its layer, where they were isolated."""
        errors = None if self._isolation is None else self._isolation.errors(place)
        if errors is None:
            return verdict
        return replace(
            verdict,
            total_error=errors.total,
            own_error=errors.own,
            influence=errors.influence,
            through=errors.through,
        )

    def _outcome(self, pair: Pair, stream: PairStream) -> Outcome:
        trouble = self._trouble(pair)
        return (DIFFERS, trouble, "", None) if trouble else stream.outcome()

    def _shaped(self, pair: Pair, verdict: TensorDiff) -> TensorDiff:
        """Return a verdict on the first batch with the shapes of all examples that were compared."""
        first = [verdict.shape, verdict.new_shape]
        items = (pair.golden, pair.new)
        whole = [None if item is None else self._whole_shape(item) for item in items]
        reason = verdict.reason
        for before, after in zip(first, whole, strict=True):
            reason = reason.replace(str(before), str(after))
        return replace(verdict, shape=whole[0], new_shape=whole[1], reason=reason)

    def _whole_shape(self, item: Item) -> tuple[int, ...]:
        """Return the shape of an item over all batches; one in another layout has its examples first."""
        whole = self._sides.tensor(item).whole_shape(self.examples)
        return (whole[0], *item.shape[1:]) if isinstance(item, LaidOutItem) else whole


def _stream(pair: Pair, verdict: TensorDiff, options: DiffOptions) -> PairStream | None:
    """Return what compares a pair in all batches; None where the first batch says all."""
    if pair.golden is None or pair.new is None:
        return None
    if verdict.compared_by == STATISTICS:
        return StatisticsStream(pair.golden, pair.new, pair, options.criteria)
    if verdict.compared_by != VALUES:
        return None
    rule = rule_of(pair.golden, pair.new, pair, options.criteria)
    if any(part.is_text for part in pair.golden.parts()):
        return TextStream(rule)
    composite = pair.golden.encoding in ("ragged", "sparse")
    return CompositeStream(rule) if composite else ArrayStream(rule)


def _any_fails(pairs: Sequence[Pair], streams: Sequence[PairStream | None]) -> bool:
    """Tell whether a pair differs by its values, other than one that shares the new tensor with one that agrees."""
    failing = [stream is not None and stream.fails for stream in streams]
    shared = wrongly_shared(pairs, failing, [stream is not None for stream in streams])
    return any(fails and place not in shared for place, fails in enumerate(failing))


def _differs_at_once(verdict: TensorDiff) -> bool:
    """Tell whether a pair differs in its form."""
    return verdict.status == DIFFERS and not verdict.compared_by
