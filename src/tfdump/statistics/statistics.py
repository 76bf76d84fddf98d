"""Streaming statistics of a tensor over all its examples."""

from collections.abc import Iterable
from typing import Any

from tfdump.dump.parts import Piecewise, holds_values
from tfdump.exact_statistics import ExactStatistics, Statistics
from tfdump.tensors import Array


class StatisticsAccumulator:
    """Gathers the statistics of a numeric tensor that arrives batch by batch, in any shapes."""

    def __init__(self) -> None:
        self._exact = ExactStatistics()

    def add(self, values: Array) -> None:
        """Add the values of one batch; text is ignored."""
        self._exact.add(values)

    def merge(self, other: "StatisticsAccumulator", times: int = 1) -> None:
        """Add everything that was added to another, so many times."""
        self._exact.merge(other._exact, times)

    def state(self) -> list[Any]:
        """Return the state so far as JSON that preserves every bit; the order of the batches does not change it."""
        return self._exact.state()

    def restore(self, state: list[Any]) -> None:
        """Continue from what `state` returned."""
        self._exact = ExactStatistics.of_state(state)

    def result(self) -> Statistics:
        """Return the statistics of everything added so far."""
        return self._exact.result()


def statistics_of(parts: Iterable[Piecewise]) -> Statistics:
    """Return the statistics of the values in the parts of one tensor, read in pieces."""
    gathered = StatisticsAccumulator()
    for part in parts:
        if holds_values(part.name):
            for key in part.keys(part.piece_bytes):
                gathered.add(part.read(key))
    return gathered.result()
