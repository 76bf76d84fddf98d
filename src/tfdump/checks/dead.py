"""Units that are zero for every example, at every position."""

import numpy as np

from tfdump.checks.evidence import Evidence
from tfdump.checks.records import Finding, Thresholds
from tfdump.dump.parts import Key
from tfdump.tensors import Array

MOST_UNITS = 1 << 24
"""Longer axes are not taken for units, because they would need too much memory."""

_ROWS_ELEMENTS = 1 << 16
_SHOWN = 10


class LivingUnits:
    """The units along `axis` that were nonzero at least once."""

    def __init__(self, shape: tuple[int, ...], axis: int) -> None:
        self._axis = axis
        self._alive = np.zeros(shape[axis], bool)
        self._waiting = shape[axis]

    def add(self, key: Key, block: Array) -> None:
        """Look at a block, as long as there are units that were always zero."""
        if not self._waiting:
            return
        alive = self._alive[key[self._axis]]
        rows = np.moveaxis(block, self._axis, -1).reshape(-1, alive.size)
        step = max(1, _ROWS_ELEMENTS // alive.size)
        for start in range(0, len(rows), step):
            waiting = np.flatnonzero(~alive)
            if not waiting.size:
                break
            some = rows[start : start + step]
            if 4 * waiting.size > alive.size:
                alive |= (some != 0).any(axis=0)
            else:
                alive[waiting] = (some[:, waiting] != 0).any(axis=0)
        self._waiting = self._alive.size - int(np.count_nonzero(self._alive))

    @property
    def dead(self) -> tuple[int, ...]:
        """The units that were always zero."""
        return tuple(np.flatnonzero(~self._alive).tolist()) if self._waiting else ()


def dead(evidence: Evidence, _: Thresholds) -> Finding | None:
    """Find units that are always zero."""
    if not evidence.dead or evidence.units is None:
        return None
    shown = ", ".join(map(str, evidence.dead[:_SHOWN])) + (", ..." if len(evidence.dead) > _SHOWN else "")
    which = "" if len(evidence.dead) == evidence.units else f": {shown}"
    message = f"{len(evidence.dead)} of {evidence.units} units are zero for every example, at every position{which}"
    return Finding("dead", evidence.name, len(evidence.dead), evidence.units, None, None, 0.0, message, evidence.dead)


def few_examples(examples: int) -> str:
    """Return the reason why units that are zero for so few examples do not count as dead."""
    few = "1 example is" if examples == 1 else f"{examples} examples are"
    return f"{few} too few to call a unit dead (--dead-examples)"
