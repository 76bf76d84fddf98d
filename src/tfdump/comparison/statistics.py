"""Compares the statistics of two tensors, if one of the two was dumped without its values.

The bound of each statistic is the farthest that it can move while every element stays within its own bound. So whatever
passes by its values passes by its statistics too.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfdump.comparison.rule import Rule
from tfdump.comparison.tolerance import Tolerance
from tfdump.comparison.verdict import Comparison
from tfdump.dump.attributes import COUNTS

_ROUNDING = 1e-12
"""Mean, deviation and norm depend on the order of summation by about this fraction of the largest value."""


def compare_statistics(golden: Mapping[str, Any], new: Mapping[str, Any], rule: Rule) -> Comparison:
    """Compare statistics; `part` of the result names the first that differs, or else the one with the largest distance.

    The number of zeros counts only if the rule is exact, because a tolerance lets a zero become a small number.
    """
    tolerance = rule.tolerance or Tolerance()
    golden, new = _settled(golden, new), _settled(new, golden)
    largest = max(abs(golden["min"]), abs(golden["max"]))
    largest = largest if math.isfinite(largest) else 0.0
    finite = golden["count"] - golden["nan"] - golden["inf"]
    typical = golden["l2"] / math.sqrt(finite) if finite else 0.0
    terms = {  # the factors of rtol, atol and rounding
        "min": (abs(golden["min"]) if tolerance.rtol <= 1 else largest, 1.0, 0.0),
        "max": (abs(golden["max"]) if tolerance.rtol <= 1 else largest, 1.0, 0.0),
        "mean": (typical, 1.0, largest),
        "std": (typical, 1.0, largest),
        "l2": (golden["l2"], math.sqrt(finite), golden["l2"]),
    }
    verdicts = {}
    for name in COUNTS:
        if name != "zero" or rule.is_strict:
            may_be_equal = name != "nan" or rule.nan_equal or not golden[name]
            verdicts[name] = _StatisticVerdict(golden[name] == new[name] and may_be_equal)
    for name, (relative, absolute, rounding) in terms.items():
        verdicts[name] = _judge(
            golden[name], new[name], tolerance, largest, relative, absolute, rounding * _ROUNDING * (1 + tolerance.rtol)
        )
    failed = [name for name, item in verdicts.items() if not item.passed]
    shown = failed[0] if failed else max(terms, key=lambda name: verdicts[name].error)
    hopeless = any(verdicts[name].scale is None for name in failed) or rule.exact
    return Comparison(
        passed=not failed,
        count=len(verdicts),
        failed=len(failed),
        golden=golden[shown],
        new=new[shown],
        max_error=verdicts[shown].error,
        largest=largest,
        scale=None if hopeless else max((verdicts[name].scale or 0.0 for name in verdicts), default=0.0),
        part=shown,
    )


def _settled(statistics: Mapping[str, Any], others: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the statistics; for a tensor without finite values, in the form that all versions share.

    Earlier versions wrote `l2` as 0, and `min` and `max` as NaN. The range of infinities counts only if both sides have
    it.
    """
    if statistics["count"] == 0 or statistics["count"] > statistics["nan"] + statistics["inf"]:
        return statistics
    unknown = ["mean", "std", "l2"]
    if math.isnan(statistics["min"]) or math.isnan(others["min"]):
        unknown += ["min", "max"]
    return {**statistics, **dict.fromkeys(unknown, math.nan)}


class _StatisticVerdict:
    """The verdict on one statistic: the distance, and the scale with which it passes."""

    def __init__(self, passed: bool, error: float = 0.0, scale: float | None = None) -> None:
        self.passed = passed
        self.error = error
        self.scale = scale


def _judge(
    golden: float,
    new: float,
    tolerance: Tolerance,
    largest: float,
    relative: float,
    absolute: float,
    rounding: float,
) -> _StatisticVerdict:
    if math.isnan(golden) or math.isnan(new):
        alike = math.isnan(golden) and math.isnan(new)
        return _StatisticVerdict(alike, scale=0.0 if alike else None)
    if golden == new:
        return _StatisticVerdict(True, scale=0.0)
    if not (math.isfinite(golden) and math.isfinite(new)):
        return _StatisticVerdict(False)
    error = abs(np.longdouble(new) - np.longdouble(golden))
    need = error - rounding - np.longdouble(tolerance.rtol) * relative - np.longdouble(tolerance.atol) * absolute
    unit = np.longdouble(largest) * absolute
    passed = bool(need <= np.longdouble(tolerance.scale) * unit)
    if need <= 0:
        return _StatisticVerdict(passed, float(error), 0.0)
    if not unit:
        return _StatisticVerdict(passed, float(error))
    scale = float(need / unit)
    while np.longdouble(scale) * unit < need and math.isfinite(scale):
        scale = math.nextafter(scale, math.inf)
    return _StatisticVerdict(passed, float(error), scale if math.isfinite(scale) else None)
