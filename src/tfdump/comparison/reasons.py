"""Why a comparison failed, in one line, and where its worst element is."""

from tfdump.comparison.rule import Rule
from tfdump.comparison.verdict import STATISTICS, Comparison, tolerance_text, value_text


def failure_text(comparison: Comparison, compared_by: str, rule: Rule) -> str:
    """Return in one line why a comparison failed."""
    if compared_by == STATISTICS:
        text = f"by its statistics: {comparison.part} {comparison.new!r}, golden {comparison.golden!r}"
        return text + _remedy(comparison, rule)
    part = f"part '{comparison.part}': " if comparison.part else ""
    reasons = []
    if comparison.failed:
        number = f"at least {comparison.failed}" if comparison.at_least else str(comparison.failed)
        reasons.append(f"{number} of {comparison.count} elements")
    if comparison.cosine is not None and rule.min_cosine is not None and comparison.cosine < rule.min_cosine:
        reasons.append(f"cosine {comparison.cosine:.6g} is below {rule.min_cosine:g}")
    if comparison.sqnr is not None and rule.min_sqnr is not None and comparison.sqnr < rule.min_sqnr:
        reasons.append(f"SQNR {comparison.sqnr:.4g} dB is below {rule.min_sqnr:g} dB")
    text = part + ", ".join(reasons)
    if comparison.index is not None:
        golden, new = value_text(comparison.golden), value_text(comparison.new)
        text += f", worst at {list(comparison.index)}: golden {golden}, new {new}"
    if comparison.unlike:
        return text + f"; {comparison.unlike} elements are NaN or infinite on one side only, which no tolerance allows"
    if rule.max_ulp is not None and comparison.ulp is not None and comparison.failed:
        return text + f", {comparison.ulp} ulp apart (--max-ulp {comparison.ulp} would have passed)"
    return text + (_remedy(comparison, rule) if comparison.failed else "")


def _remedy(comparison: Comparison, rule: Rule) -> str:
    if rule.fixed:
        return ""
    if comparison.scale is not None:
        return f" (--scale {tolerance_text(comparison.scale, rule.by_glob)} would have passed)"
    if not comparison.largest and comparison.max_error:
        return f" (golden is all zero: --atol {tolerance_text(comparison.max_error, rule.by_glob)} would have passed)"
    return ""


def index_text(comparison: Comparison) -> str | None:
    """Return where the worst element is: the part of a composite and the index, or the name of a statistic."""
    index = None if comparison.index is None else str(list(comparison.index))
    return f"{comparison.part}{index or ''}" if comparison.part else index
