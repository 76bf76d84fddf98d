"""The verdicts on all pairs, what to know about them, and why there may be none."""

import math
from collections.abc import Iterator, Sequence, Set

from tfdump.comparison.options import DiffOptions
from tfdump.comparison.pairing import Pair
from tfdump.comparison.tensors import compare_pair
from tfdump.comparison.values.layouts import layout_text
from tfdump.comparison.verdict import (
    DIFFERS,
    EXTRA,
    IGNORED,
    MISSING,
    NORMS,
    SKIPPED,
    STATISTICS,
    DiffReport,
    TensorDiff,
)
from tfdump.dump.attributes import full_name
from tfdump.process.stages import Meter, Progress
from tfdump.tensors import listed


def verdicts_on(
    pairs: Sequence[Pair], options: DiffOptions, ignored: Set[int], progress: Progress
) -> Iterator[TensorDiff]:
    """Yield the verdict on each pair; `progress` is called with the number of values compared."""
    sizes = [math.prod(max(1, abs(size)) for size in pair.items[0].shape) for pair in pairs]
    meter = Meter(sum(sizes), progress)
    for pair, size in zip(pairs, sizes, strict=True):
        meter.add(0)
        yield _verdict(pair, options, id(pair) in ignored)
        meter.add(size)


def _verdict(pair: Pair, options: DiffOptions, ignored: bool) -> TensorDiff:
    compared_by, comparison = "", None
    if ignored:
        status, reason = IGNORED, ""
    elif pair.golden is None or pair.new is None:
        status, side = (MISSING, "golden") if pair.new is None else (EXTRA, "new")
        reason = f"only the {side} side has it"
    else:
        status, reason, compared_by, comparison = compare_pair(
            pair.golden, pair.new, pair, options.criteria, options.check_attrs
        )
    old, other = pair.golden, pair.new
    return TensorDiff(
        name=full_name(old) if old is not None else None,
        new_name=full_name(other) if other is not None else None,
        class_name=pair.classes[0] if pair.classes else "",
        status=status,
        fails=status == DIFFERS or (status in (MISSING, EXTRA) and not options.allow_missing),
        reason=reason,
        shape=old.shape if old is not None else None,
        new_shape=other.shape if other is not None else None,
        dtype=old.dtype if old is not None else None,
        new_dtype=other.dtype if other is not None else None,
        compared_by=compared_by,
        comparison=comparison,
        paired_by=pair.by,
        layout=layout_text(pair.axes) if pair.axes is not None else "",
    )


def notes_on_values(tensors: Sequence[TensorDiff]) -> list[str]:
    """Return notes on the tensors that were not compared by their values."""
    notes = []
    for by, why in ((STATISTICS, "one side has no values"), (NORMS, "one side has nothing else")):
        count = sum(tensor.compared_by == by for tensor in tensors)
        if count:
            notes.append(f"compared by their {by}, because {why}: {count} of {len(tensors)} tensors")
    skipped = [tensor.shown_name for tensor in tensors if tensor.status == SKIPPED]
    if skipped:
        notes.append(f"not compared, because one side has neither values nor statistics: {listed(skipped)}")
    return notes


def nothing_compared(report: DiffReport) -> str:
    """Return why there is no verdict, and what to do about it."""
    if report.count(MISSING) and report.count(EXTRA):
        golden = next(tensor.name for tensor in report.tensors if tensor.status == MISSING)
        new = next(tensor.new_name for tensor in report.tensors if tensor.status == EXTRA)
        return (
            f"nothing to compare: no name of {report.golden} ('{golden}', ...) is one of {report.new} ('{new}', ...); "
            "--map FILE tells which belong together"
        )
    return (
        f"nothing to compare: of the {len(report.tensors)} tensors chosen, none is left that both sides have values of"
    )
