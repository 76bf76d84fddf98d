"""What the stored statistics of a tensor reveal, if the dump has no values of it."""

import math
from dataclasses import dataclass, replace
from typing import Any

from tfdump.checks.evidence import Tally
from tfdump.checks.half_precision import OVERFLOWS, UNDERFLOWS
from tfdump.checks.records import Thresholds
from tfdump.checks.saturation import SATURATING
from tfdump.checks.sweep import Swept, Wanted

NO_VALUES = "only its statistics are in the dump"
REDUCED = "it was reduced before it was stored"


@dataclass(frozen=True)
class _Stored:
    """The statistics of a dump as numbers."""

    count: int
    min: float
    max: float
    nan: int
    inf: int
    zero: int


def from_statistics(
    statistics: dict[str, Any], wanted: Wanted, units: int | None, limits: Thresholds, reason: str
) -> Swept:
    """Return what stored statistics decide; `skipped` has the checks that they leave open, with `reason`."""
    stored = _Stored(**{name: statistics[name] for name in ("count", "min", "max", "nan", "inf", "zero")})
    if stored.count == stored.nan + stored.inf:  # infinities are counted, and are not a range of numbers
        stored = replace(stored, min=math.nan, max=math.nan)
    tallies = {"nan": Tally(stored.nan), "inf": Tally(stored.inf)}
    totals: dict[str, int] = {}
    skipped: dict[str, str] = {}
    for name in wanted.narrow:
        if max(-stored.min, stored.max) >= OVERFLOWS[name]:
            tallies[f"{name}-overflow"] = Tally(None)
        if not (stored.zero == 0 and (stored.min > UNDERFLOWS[name] or stored.max < -UNDERFLOWS[name])):
            skipped[f"{name}-underflow"] = reason
    same = stored.count > 1 and stored.min == stored.max and not stored.nan and not stored.inf
    if wanted.constant and not same:
        skipped["constant"] = reason
    dead: tuple[int, ...] | None = ()
    if wanted.dead and units is not None and stored.zero:
        if stored.zero == stored.count:
            dead = tuple(range(units))
        else:
            dead, skipped["dead"] = None, reason
    function, margin = wanted.function.name, limits.saturation_margin
    if wanted.saturated and function == "sigmoid" and (stored.min >= 1 - margin or stored.max <= margin):
        totals["saturated"] = stored.count
        tallies["saturated"] = Tally(stored.count)
    elif wanted.saturated and function in SATURATING and not _never_flat(function, stored, margin):
        skipped["saturated"] = reason
    return Swept(
        stored.count,
        tallies,
        totals,
        same if wanted.constant and same else None,
        stored.min if same else None,
        dead,
        units,
        (),
        skipped,
    )


def _never_flat(function: str | None, stored: _Stored, margin: float) -> bool:
    """Tell whether no element can be saturated."""
    if function == "sigmoid":
        return stored.min > margin and stored.max < 1 - margin
    if function == "tanh":
        return max(-stored.min, stored.max) < 1 - margin
    return stored.max < 1 - margin
