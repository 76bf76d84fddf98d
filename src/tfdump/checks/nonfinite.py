"""NaN and Inf."""

from dataclasses import replace

from tfdump.checks.evidence import Evidence, share
from tfdump.checks.records import Finding, Thresholds


def nan(evidence: Evidence, _: Thresholds) -> Finding | None:
    """Find values that are not a number."""
    tally = evidence.tally("nan")
    if not tally.some:
        return None
    return evidence.finding("nan", tally, evidence.of, f"{share(tally.count, evidence.of, evidence.unit)} are NaN")


def infinite(evidence: Evidence, _: Thresholds) -> Finding | None:
    """Find infinite values, except those that were made by storing the tensor in a narrow dtype."""
    tally = evidence.tally("inf")
    count = None if tally.count is None else tally.count - evidence.overflowed
    if count is not None and count <= 0:
        return None
    message = f"{share(count, evidence.of, evidence.unit)} are infinite"
    if evidence.overflowed:
        message += f"; {evidence.overflowed} more became infinite when they were stored as {evidence.stored_dtype}"
    return evidence.finding("inf", replace(tally, count=count), evidence.of, message)
