"""NaN and Inf."""

from dataclasses import replace

from tfdump.checks.evidence import Evidence, share
from tfdump.checks.records import Finding, Thresholds


def nan(seen: Evidence, _: Thresholds) -> Finding | None:
    """Find values that are not a number."""
    found = seen.tally("nan")
    if not found.some:
        return None
    return seen.finding("nan", found, seen.of, f"{share(found.count, seen.of, seen.unit)} are NaN")


def infinite(seen: Evidence, _: Thresholds) -> Finding | None:
    """Find infinite values, but for those that storing the tensor in a narrow dtype made."""
    found = seen.tally("inf")
    count = None if found.count is None else found.count - seen.overflowed
    if count is not None and count <= 0:
        return None
    message = f"{share(count, seen.of, seen.unit)} are infinite"
    if seen.overflowed:
        message += f"; {seen.overflowed} more became so when they were stored as {seen.stored_dtype}"
    return seen.finding("inf", replace(found, count=count), seen.of, message)
