"""`--influence`: how much of the error of the final outputs goes away if one layer alone is right."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfdump.comparison.tolerance import default_tolerance
from tfdump.dtypes import kind_of
from tfdump.side_by_side.error_sums import ErrorSum
from tfdump.side_by_side.patched_pairs import CallRows, PatchedPair
from tfdump.tensors import Array, Batch, Value

if TYPE_CHECKING:
    from tfdump.model.patches import PatchedRuns, State


class Influence:
    """Runs a model with the errors that the layers of the other side add, each time without the error of one layer.

    The error of a layer is what the other side has minus what the layer makes of the inputs of the other side. If all
    errors are added, the model computes the values of the other side. `is_output` tells which patches are final
    outputs.
    """

    def __init__(self, runs: "PatchedRuns", is_output: Sequence[bool]) -> None:
        self._runs = runs
        self._outputs = [slot for slot, flag in enumerate(is_output) if flag]
        self._before = [ErrorSum() for _ in self._outputs]
        self._after = [[ErrorSum() for _ in self._outputs] for _ in is_output]
        self._rounding = 0.0

    def add(
        self,
        inputs: Batch,
        state: "State",
        others: Sequence[Array],
        computed: Sequence[Value | None],
        outputs: Sequence[tuple[PatchedPair, Array]],
        rows: CallRows,
    ) -> None:
        """Add one call: the values of the other side, what the layers make of its inputs, and the right outputs."""
        if not outputs:
            return
        changes = [_change(other, value) for other, value in zip(others, computed, strict=True)]
        active = np.asarray([is_active for _, is_active in changes], bool)
        ends = [pair.unpadded(others[slot], rows) for slot, (pair, _) in zip(self._outputs, outputs, strict=True)]
        for sums in (self._before, *(self._after[slot] for slot in np.flatnonzero(~active))):
            _add(sums, outputs, ends)
        slots = np.flatnonzero(active)
        runs = self._runs.changed(inputs, [change for change, _ in changes], _without_one(active), state)
        for slot, results in zip(slots, runs, strict=True):
            values = [pair.unpadded(value, rows) for (pair, _), value in zip(outputs, results, strict=True)]
            _add(self._after[slot], outputs, values)
        self._rounding = max(_rounding_of(pair) for pair, _ in outputs)

    def of(self, slot: int) -> float | None:
        """Return which part of the error of the outputs goes away without the error of a layer.

        It is negative where the error becomes larger, and None where the outputs have no error beyond rounding.
        """
        before, after = _norm(self._before), _norm(self._after[slot])
        if not (self._rounding < before < math.inf) or not math.isfinite(after):
            return None
        return 1 - after / before

    def notes(self) -> list[str]:
        """Return why no layer has an influence, if that is so."""
        if not self._outputs:
            return ["no influence, because the final outputs are not on both sides"]
        before = _norm(self._before)
        if before <= self._rounding:
            return ["no influence, because the final outputs agree but for rounding"]
        return [] if before < math.inf else ["no influence, because the final outputs have NaN or Inf on one side only"]


def _change(other: Array, computed: Value | None) -> tuple[Array, bool]:
    """Return what a layer of the other side adds to a float, or has in the place of another value; and whether it does.

    Values that are NaN or infinite on both sides do not change.
    """
    assert isinstance(computed, np.ndarray)
    before = computed.astype(other.dtype, copy=False)
    if other.dtype.kind not in "fc":
        return other, not np.array_equal(other, before)
    with np.errstate(invalid="ignore", over="ignore"):
        change = other - before
    change[(other == before) | (np.isnan(other) & np.isnan(before))] = 0
    return change, bool(change.any())


def _without_one(active: Array) -> Iterator[Array]:
    """Yield the flags of the active changes, each time without one of them."""
    for slot in np.flatnonzero(active):
        flags = active.copy()
        flags[slot] = False
        yield flags


def _add(sums: Sequence[ErrorSum], outputs: Sequence[tuple[PatchedPair, Array]], values: Sequence[Array]) -> None:
    for error, (_, right), value in zip(sums, outputs, values, strict=True):
        error.add(right, value)


def _norm(sums: Sequence[ErrorSum]) -> float:
    """Return the norm of the relative errors of all outputs."""
    return math.hypot(*(error.relative for error in sums))


def _rounding_of(pair: PatchedPair) -> float:
    dtypes = [pair.keras.dtype, pair.other.dtype]
    return default_tolerance(dtypes).scale if all(kind_of(dtype) in "fc" for dtype in dtypes) else 0.0
