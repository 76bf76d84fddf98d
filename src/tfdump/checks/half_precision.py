"""Values that float16 or bfloat16 cannot represent."""

from tfdump.checks.evidence import Evidence, Tally, share
from tfdump.checks.records import Finding, Thresholds

OVERFLOWS = {"float16": 65520.0, "bfloat16": (2 - 2.0**-8) * 2.0**127}
"""The smallest magnitude that rounds to infinity (half a step above the largest number; ties go to even)."""

UNDERFLOWS = {"float16": 2.0**-25, "bfloat16": 2.0**-134}
"""The largest magnitude that rounds to zero (half of the smallest subnormal number; ties go to even)."""


def float16_overflow(evidence: Evidence, _: Thresholds) -> Finding | None:
    """Find values that would be infinite in float16."""
    return _overflow("float16", evidence)


def bfloat16_overflow(evidence: Evidence, _: Thresholds) -> Finding | None:
    """Find values that would be infinite in bfloat16."""
    return _overflow("bfloat16", evidence)


def float16_underflow(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Find tensors in which more than a given share of the values would be zero in float16."""
    return _underflow("float16", evidence, limits)


def bfloat16_underflow(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Find tensors in which more than a given share of the values would be zero in bfloat16."""
    return _underflow("bfloat16", evidence, limits)


def _overflow(dtype: str, evidence: Evidence) -> Finding | None:
    check = f"{dtype}-overflow"
    tally = evidence.tally(check)
    if evidence.overflowed and (dtype == "float16" or evidence.stored_dtype != "float16"):
        became = Tally((tally.count or 0) + evidence.overflowed, tally.first)
        message = f"{share(became.count, evidence.of, evidence.unit)} would be infinite in {dtype}"
        message += f"; {evidence.overflowed} of them became so when they were stored as {evidence.stored_dtype}"
        return evidence.finding(check, became, evidence.of, message)
    if not tally.some:
        return None
    message = f"{share(tally.count, evidence.of, evidence.unit)} would be infinite in {dtype}"
    return evidence.finding(check, tally, evidence.of, message)


def _underflow(dtype: str, evidence: Evidence, limits: Thresholds) -> Finding | None:
    check = f"{dtype}-underflow"
    tally, nonzero = evidence.tally(check), evidence.totals.get("nonzero", evidence.of)
    if not tally.count or tally.count < limits.underflow_share * nonzero:
        return None
    message = f"{share(tally.count, nonzero, 'values that are not zero')} would be zero in {dtype}"
    return evidence.finding(check, tally, nonzero, message)
