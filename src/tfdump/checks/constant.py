"""Tensors that have the same values for every example."""

from typing import Any

import numpy as np

from tfdump.checks.evidence import Evidence
from tfdump.checks.records import Finding, Thresholds
from tfdump.dump.parts import Key, Part
from tfdump.tensors import Array


class Constancy:
    """Compares every example with the first one, within a fraction of the largest magnitude of the first.

    The first example is stored if it comes in one piece. Otherwise it is read again piece by piece, as long as the
    examples agree.
    """

    def __init__(self, part: Part, tolerance: float) -> None:
        self.agrees = True
        self._part = part
        self._tolerance = tolerance
        self._first: Array | None = None
        self._largest = 0.0

    def add(self, key: Key, block: Array) -> None:
        """Compare the examples in a block."""
        if not self.agrees:
            return
        whole = all(piece == slice(0, size) for piece, size in zip(key[1:], self._part.shape[1:], strict=True))
        if key[0].start == 0:
            self._largest = max(self._largest, _largest(block[:1]))
        if whole and self._first is None:
            self._first = block[:1].copy()
        first = self._first
        if first is None:
            if key[0].start == 0:
                return
            first = self._part.read((slice(0, 1), *key[1:]))
        self.agrees = self._same(block[-1:], first) and self._same(block, first)

    def _same(self, rows: Array, first: Array) -> bool:
        if rows.dtype.kind not in "fc":
            return bool((rows == first).all())
        with np.errstate(invalid="ignore", over="ignore"):
            bound = self._tolerance * self._largest
            return bool(np.isfinite(bound) and (np.abs(rows - first) <= bound).all())  # a fraction of Inf is no bound

    @property
    def value(self) -> float | None:
        """The one value that all elements have, or None."""
        first: Any = self._first
        if not self.agrees or first is None or first.dtype.kind == "c" or not (first == first.flat[0]).all():
            return None
        return float(first.flat[0])


def _largest(values: Array) -> float:
    return float(np.abs(values).max()) if values.size and values.dtype.kind in "fc" else 0.0


def constant(evidence: Evidence, _: Thresholds) -> Finding | None:
    """Find tensors whose rows are all equal."""
    if not evidence.constant:
        return None
    value = evidence.constant_value
    what = "the same for every example" if value is None else f"{value:.5g} everywhere, for every example"
    return Finding("constant", evidence.name, evidence.rows, evidence.rows, None, None, value, what)
