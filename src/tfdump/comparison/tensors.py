"""Compares one tensor with its counterpart: by values, or by statistics or norms where values are missing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfdump.comparison.arrays import compare_arrays
from tfdump.comparison.fidelity.scales import scales_of_both
from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import ArrayPart, Item, MemoryReader
from tfdump.comparison.reasons import failure_text
from tfdump.comparison.rule import Criteria, Rule
from tfdump.comparison.statistics import compare_statistics
from tfdump.comparison.verdict import DIFFERS, NORMS, SAME, SKIPPED, STATISTICS, VALUES, Comparison
from tfdump.dtypes import kind_of
from tfdump.dump.attributes import STATISTIC_NAMES, STATISTIC_PREFIX, full_name
from tfdump.dump.parts import Piecewise, holds_values
from tfdump.errors import DumpError
from tfdump.statistics.statistics import statistics_of

_KINDS = {"f": "floats", "i": "integers", "u": "integers", "b": "bools", "c": "complex numbers", "S": "text"}

_RESULTS = (
    STATISTIC_PREFIX,
    "norm",
    "float16_zeros",
    "overflowed",
    "computed_shape",
    "dense_shape",
    "values",
    "stored_as",
)
_NAMES = ("address", "layer", "order", "inputs", "operands", "executed_as")
"""Attributes that --check-attrs ignores: results, which are compared as such, and what follows from a name."""

Outcome = tuple[str, str, str, Comparison | None]
"""Status, reason, what was compared, and the numbers."""


def compare_pair(golden: Item, new: Item, pair: Pair, criteria: Criteria, check_attrs: bool) -> Outcome:
    """Compare two tensors.

    Raises DumpError if statistics alone cannot answer what was asked, and if a file cannot be read.
    """
    outcome = _compare(golden, new, pair, criteria)
    if check_attrs and outcome[0] == SAME:
        unlike = unlike_attributes(golden, new)
        if unlike:
            return (DIFFERS, f"attributes differ: {'; '.join(unlike)}", *outcome[2:])
    return outcome


def rule_of(golden: Item, new: Item, pair: Pair, criteria: Criteria) -> Rule:
    """Return the rule by which the elements of a pair are judged."""
    return criteria.rule_for(pair.names, pair.classes, _dtypes(golden, new), scales_of_both(golden, new))


def _compare(golden: Item, new: Item, pair: Pair, criteria: Criteria) -> Outcome:
    if golden.connected != new.connected:
        side = "new" if golden.connected else "golden"
        return DIFFERS, f"no gradient in the {side} side: the loss does not depend on it there", "", None
    unlike = _unlike_form(golden, new, criteria.exact)
    if unlike:
        return DIFFERS, unlike, "", None
    if not golden.connected:
        return SAME, "", "", None
    rule = rule_of(golden, new, pair, criteria)
    if _is_norm(golden) != _is_norm(new):
        return _by_norms(golden, new, rule)
    if not (golden.has_values and new.has_values):
        return _by_statistics(golden, new, rule)
    return _by_values(golden.parts(), new.parts(), rule)


def _unlike_form(golden: Item, new: Item, exact: bool) -> str:
    """Return how two tensors differ before any value is read, or an empty string."""
    old, other = (_KINDS.get(kind_of(item.dtype), item.dtype) for item in (golden, new))
    if old != other:
        return f"{other} ({new.dtype}), golden has {old} ({golden.dtype})"
    if exact and (golden.dtype, golden.stored_dtype) != (new.dtype, new.stored_dtype):
        return f"dtype {_dtype(new)}, golden has {_dtype(golden)}"
    if not golden.connected or _is_norm(golden) != _is_norm(new):
        return ""
    if golden.encoding != new.encoding and golden.has_values and new.has_values:
        return f"stored as {new.encoding or 'an array'}, golden as {golden.encoding or 'an array'}"
    if golden.shape != new.shape and (golden.encoding is None or golden.encoding == "sparse"):
        axes = [item.attributes.get("axis0") for item in (golden, new)]
        detail = f" (first axis: {axes[1]}, golden {axes[0]})" if None not in axes and axes[0] != axes[1] else ""
        return f"shape {new.shape}, golden has {golden.shape}{detail}"
    return ""


def _is_norm(item: Item) -> bool:
    return bool(item.attributes.get("reduce") == "norm")


def _dtypes(golden: Item, new: Item) -> list[str]:
    """Return the dtypes that limit the precision of both tensors: as computed and as stored."""
    return [dtype for item in (golden, new) for dtype in (item.dtype, item.stored_dtype)]


def _dtype(item: Item) -> str:
    return item.dtype if item.dtype == item.stored_dtype else f"{item.dtype} as {item.stored_dtype}"


def _by_values(golden: Sequence[Piecewise], new: Sequence[Piecewise], rule: Rule) -> Outcome:
    """Compare the arrays of both tensors; in composites, first those that say where the values are."""
    names = [part.name for part in golden]
    if sorted(names) != sorted(part.name for part in new):
        return DIFFERS, f"{len(new)} parts, golden has {len(golden)}", VALUES, None
    others = {part.name: part for part in new}
    pairs = [(part, others[part.name]) for part in golden]
    for old, other in pairs:
        if old.shape != other.shape:
            return DIFFERS, f"part '{old.name}' has the shape {other.shape}, golden {old.shape}", VALUES, None
    placing = [pair for pair in pairs if not holds_values(pair[0].name)]
    placed = Criteria(exact=True).rule_for([], [], ["int64"])
    for pair in placing:
        comparison = compare_arrays([pair], placed)
        if not comparison.passed:
            return DIFFERS, failure_text(comparison, VALUES, placed), VALUES, comparison
    return outcome_of(compare_arrays([pair for pair in pairs if pair not in placing], rule), VALUES, rule)


def _by_statistics(golden: Item, new: Item, rule: Rule) -> Outcome:
    limit = rule.min_sqnr if rule.min_sqnr != -math.inf else None
    needs = {"ulps": rule.max_ulp, "a cosine": rule.min_cosine, "an SQNR": limit}
    asked = [what for what, value in needs.items() if value is not None]
    if asked:
        raise DumpError(f"'{full_name(golden)}' has statistics and no values, so {asked[0]} cannot be compared")
    both: list[Mapping[str, Any]] = []
    for item in (golden, new):
        known = item.statistics
        if known is not None and not known.keys() >= set(STATISTIC_NAMES):
            known = None  # incomplete statistics cannot be judged
        if known is None and (not item.has_values or kind_of(item.dtype) == "S"):
            return SKIPPED, "one side has neither values nor complete statistics", "", None
        if known is None and item.attributes.get("reduce"):
            raise DumpError(
                f"'{full_name(item)}' was reduced, and its counterpart has statistics of the whole tensor "
                "(dump it with --stats too)"
            )
        both.append(known if known is not None else vars(statistics_of(item.parts())))
    return outcome_of(compare_statistics(both[0], both[1], rule), STATISTICS, rule)


def _by_norms(golden: Item, new: Item, rule: Rule) -> Outcome:
    """Compare the stored norms of gradients, if one side has nothing else."""
    if golden.norm is None or new.norm is None:
        return SKIPPED, "one side has only norms, and the other side has none", "", None
    norms = [ArrayPart("", MemoryReader(np.atleast_1d(np.asarray(item.norm, np.float64)))) for item in (golden, new)]
    if norms[0].shape != norms[1].shape:
        return DIFFERS, f"{norms[1].shape[0]} norms, golden has {norms[0].shape[0]}", NORMS, None
    return outcome_of(compare_arrays([(norms[0], norms[1])], rule), NORMS, rule)


def outcome_of(comparison: Comparison, compared_by: str, rule: Rule) -> Outcome:
    """Return the outcome of a comparison that was made."""
    if comparison.passed:
        return SAME, "", compared_by, comparison
    return DIFFERS, failure_text(comparison, compared_by, rule), compared_by, comparison


def unlike_attributes(golden: Item, new: Item) -> list[str]:
    """Return the attributes that differ, each with both values; plain arrays have none."""
    if not (golden.group and new.group):
        return []
    names = dict.fromkeys([*golden.attributes, *new.attributes])
    return [
        f"{name} {new.attributes.get(name)!r}, golden {golden.attributes.get(name)!r}"
        for name in names
        if name not in _NAMES
        and not name.startswith(_RESULTS)
        and golden.attributes.get(name) != new.attributes.get(name)
    ]
