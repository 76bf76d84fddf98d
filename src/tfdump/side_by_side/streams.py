"""The comparison of one pair of arrays of numbers batch by batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from tfdump.comparison.elementwise import Judge
from tfdump.comparison.plain_arrays import ArrayPart, MemoryReader
from tfdump.comparison.rule import Rule
from tfdump.comparison.tensors import Outcome, outcome_of
from tfdump.comparison.verdict import DIFFERS, VALUES
from tfdump.dump.axis0 import NONE
from tfdump.dump.parts import BLOCK_BYTES, Piecewise
from tfdump.side_by_side.places_in_batches import BatchPlace, ComparedBatches
from tfdump.tensors import Array

Sides = tuple[Sequence[Piecewise], Sequence[Piecewise]]
"""The parts of the golden tensor and of the new tensor in one batch."""

FirstAxes = tuple[str, str]
"""What the first axes of the golden tensor and of the new tensor are: `axis0` of a dump."""


class PairStream(Protocol):
    """Takes both tensors of a pair batch by batch."""

    @property
    def fails(self) -> bool:
        """Whether the batches so far differ."""

    def add(self, sides: Sides, axes: FirstAxes, place: BatchPlace) -> None:
        """Compare one batch."""

    def outcome(self) -> Outcome:
        """Return the outcome for all batches so far."""


def feed(judge: Judge, golden: Piecewise, new: Piecewise, part: str) -> None:
    """Let a judge see all elements of two arrays of one shape, in a part of this name."""
    for key in golden.keys(BLOCK_BYTES):
        old, other = (np.asarray(side.read(key), order="C") for side in (golden, new))
        with np.errstate(all="ignore"):
            judge.add(golden, new, key, old, other, part)


def unlike_axes(axes: FirstAxes, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> str:
    """Return how two tensors differ whose first axes are not of one kind."""
    return f"shape {shapes[1]}, golden has {shapes[0]} (first axis: {axes[1]}, golden {axes[0]})"


class ArrayStream:
    """Compares arrays of numbers.

    The places of elements are those in their batch until the end, because only then it is known whether the batches
    together are rows, a constant, or a stack.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._judge = Judge(rule, rereads=False)
        self._constants: tuple[Array, Array] | None = None
        self._unlike = ""
        self._axes: FirstAxes = ("", "")
        self._batches = ComparedBatches(), ComparedBatches()

    @property
    def fails(self) -> bool:
        """Whether the batches so far differ."""
        return bool(self._unlike) or self._judge.fails

    def add(self, sides: Sides, axes: FirstAxes, place: BatchPlace) -> None:
        """Compare one batch."""
        if self._unlike or (axes == (NONE, NONE) and self._constants is not None):
            return
        if self._constants is not None and axes != self._axes:
            self._stack_constants(axes, place)
        self._axes = axes
        shapes = [[part.shape for part in parts] for parts in sides]
        for batches, axis0, more in zip(self._batches, axes, shapes, strict=True):
            batches.add(place, axis0, more)
        if shapes[0] != shapes[1]:
            self._unlike = f"shape {shapes[1][0]} in batch {place.number + 1}, golden has {shapes[0][0]}"
            return
        batch = len(self._batches[0].places) - 1
        for golden, new in zip(*sides, strict=True):
            feed(self._judge, golden, new, f"{batch}/{golden.name}")
        if axes == (NONE, NONE):
            old, other = (parts[0].read(tuple(slice(0, size) for size in parts[0].shape)) for parts in sides)
            self._constants = np.array(old), np.array(other)

    def _stack_constants(self, axes: FirstAxes, place: BatchPlace) -> None:
        """Begin anew with the values that were constant in all batches before."""
        old, other = self._constants or (np.zeros(0), np.zeros(0))
        self._constants = None
        self._judge, self._batches = Judge(self._rule, rereads=False), (ComparedBatches(), ComparedBatches())
        first = BatchPlace(0, 0, place.start, 0, place.call_size)
        stacks = [np.broadcast_to(value, (place.call, *value.shape)) for value in (old, other)]
        golden, new = (ArrayPart("", MemoryReader(stack)) for stack in stacks)
        self.add(([golden], [new]), axes, first)

    def outcome(self) -> Outcome:
        """Return the outcome for all batches so far."""
        if self._unlike:
            return DIFFERS, self._unlike, VALUES, None
        golden, new = self._batches
        if self._axes[0] != self._axes[1] and len(golden.places) > 1:
            shapes = golden.shape(self._axes[0]), new.shape(self._axes[1])
            return DIFFERS, unlike_axes(self._axes, shapes), "", None
        comparison = self._judge.finish()
        if comparison.index is not None:
            batch, _, part = comparison.part.partition("/")
            part, index = golden.place_of(int(batch), part, comparison.index, self._axes[0])
            comparison = replace(comparison, part=part, index=index)
        return outcome_of(comparison, VALUES, self._rule)
