"""Streaming statistics of a tensor over all its examples."""

from collections.abc import Iterable

from tfdump.accumulators.statistics import ExactStatistics, Statistics
from tfdump.dump.parts import Piecewise, holds_values


def statistics_of(parts: Iterable[Piecewise]) -> Statistics:
    """Return the statistics of the values in the parts of one tensor, read in pieces."""
    gathered = ExactStatistics()
    for part in parts:
        if holds_values(part.name):
            for key in part.keys(part.piece_bytes):
                gathered.add(part.read(key))
    return gathered.result()
