"""What would become of a tensor in float16 or bfloat16."""

from tfdump.checks.evidence import Evidence, Tally, share
from tfdump.checks.records import Finding, Thresholds

OVERFLOWS = {"float16": 65520.0, "bfloat16": (2 - 2.0**-8) * 2.0**127}
"""From which magnitude on a number rounds to infinity (half way behind the largest number, ties to even)."""

UNDERFLOWS = {"float16": 2.0**-25, "bfloat16": 2.0**-134}
"""Up to which magnitude a number rounds to zero (half of the smallest subnormal number, ties to even)."""


def float16_overflow(seen: Evidence, _: Thresholds) -> Finding | None:
    """Find values that would be infinite in float16."""
    return _overflow("float16", seen)


def bfloat16_overflow(seen: Evidence, _: Thresholds) -> Finding | None:
    """Find values that would be infinite in bfloat16."""
    return _overflow("bfloat16", seen)


def float16_underflow(seen: Evidence, limits: Thresholds) -> Finding | None:
    """Find tensors of which more than a share of the values would be zero in float16."""
    return _underflow("float16", seen, limits)


def bfloat16_underflow(seen: Evidence, limits: Thresholds) -> Finding | None:
    """Find tensors of which more than a share of the values would be zero in bfloat16."""
    return _underflow("bfloat16", seen, limits)


def _overflow(dtype: str, seen: Evidence) -> Finding | None:
    check = f"{dtype}-overflow"
    found = seen.tally(check)
    if seen.overflowed and (dtype == "float16" or seen.stored_dtype != "float16"):
        became = Tally((found.count or 0) + seen.overflowed, found.first)
        message = f"{share(became.count, seen.of, seen.unit)} would be infinite in {dtype}"
        message += f"; {seen.overflowed} of them became so when they were stored as {seen.stored_dtype}"
        return seen.finding(check, became, seen.of, message)
    if not found.some:
        return None
    message = f"{share(found.count, seen.of, seen.unit)} would be infinite in {dtype}"
    return seen.finding(check, found, seen.of, message)


def _underflow(dtype: str, seen: Evidence, limits: Thresholds) -> Finding | None:
    check = f"{dtype}-underflow"
    found, nonzero = seen.tally(check), seen.totals.get("nonzero", seen.of)
    if not found.count or found.count < limits.underflow_share * nonzero:
        return None
    message = f"{share(found.count, nonzero, 'values that are not zero')} would be zero in {dtype}"
    return seen.finding(check, found, nonzero, message)
