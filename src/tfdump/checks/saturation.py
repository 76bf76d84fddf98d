"""Sigmoid, tanh and softmax in their flat parts, where gradients vanish."""

import math
from typing import Any

import numpy as np

from tfdump.checks.evidence import Evidence, share
from tfdump.checks.magnitudes import Count
from tfdump.checks.records import Finding, Thresholds
from tfdump.tensors import Array

SATURATING = ("sigmoid", "tanh", "softmax")
"""The activations that can be saturated."""

_BLOCK = 1 << 15


class Saturation:
    """Counts the saturated elements; for a softmax, the saturated rows along the axes that it sums over.

    Exact zeros of a `gate` are time steps that a mask left out, and are not counted at all.
    """

    def __init__(self, activation: str, margin: float, gate: bool = False, sums: tuple[int, ...] = (-1,)) -> None:
        self.count = Count()
        self.of = 0
        self._activation = activation
        self._margin = margin
        self._gate = gate
        self._sums = sums

    def add(self, block: Array, start: int) -> None:
        """Count in a block, whose first element has the position `start`; for a softmax, the block has whole rows."""
        if self._activation == "softmax":
            self._add_softmax(block, start)
            return
        flat = block.reshape(-1)
        for offset in range(0, flat.size, _BLOCK):
            some = flat[offset : offset + _BLOCK]
            mask = self._saturated(some)
            self.of += some.size
            if self._gate:
                present = some != 0
                mask &= present
                self.of -= some.size - int(np.count_nonzero(present))
            self.count.add(mask, some, start + offset)

    def _saturated(self, values: Array) -> Array:
        if self._activation == "tanh":
            return np.abs(values) >= 1 - self._margin
        mask: Any = (values <= self._margin) | (values >= 1 - self._margin)
        return np.asarray(mask)

    def _add_softmax(self, block: Array, start: int) -> None:
        """Count the rows of a block whose largest probability is near 1."""
        rank = block.ndim
        sums = [axis % rank for axis in self._sums]
        order = [axis for axis in range(rank) if axis not in sums] + sums
        turned = block.transpose(order)
        rows = turned.reshape(-1, math.prod(block.shape[axis] for axis in sums))
        was = self.count.first
        for first in range(0, len(rows), step := max(1, _BLOCK // rows.shape[1])):
            some = rows[first : first + step]
            largest = some.max(axis=1)
            mask = largest >= 1 - self._margin
            self.of += len(some)
            self.count.add(mask, largest, first)
        if was is None and self.count.first is not None:
            row = self.count.first
            place = np.unravel_index(row * rows.shape[1] + int(rows[row].argmax()), turned.shape)
            index = tuple(int(place[order.index(axis)]) for axis in range(rank))
            self.count.first = start + int(np.ravel_multi_index(index, block.shape))


def saturated(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Find activations of which more than a given share is saturated."""
    tally, of = evidence.tally("saturated"), evidence.totals.get("saturated", 0)
    if not tally.count or tally.count < limits.saturation_share * of:
        return None
    noun = "rows" if evidence.activation == "softmax" else "values"
    message = f"{share(tally.count, of, noun)} of the {evidence.activation} are saturated"
    return evidence.finding("saturated", tally, of, message)
