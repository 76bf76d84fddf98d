"""Compares two dumps tensor by tensor: what differs, and which layer is the first to differ."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfdump.address import Pattern, Selection
from tfdump.argument_kinds import file_path, flag, real_number, texts, whole_number
from tfdump.comparison.execution_order import in_execution_order
from tfdump.comparison.pairing import Pair, pair_sides
from tfdump.comparison.plain_arrays import parse_transpose
from tfdump.comparison.preconditions import check_comparable, check_reductions, comparison_notes
from tfdump.comparison.renaming import read_map
from tfdump.comparison.rule import Criteria
from tfdump.comparison.sides import open_side
from tfdump.comparison.tensors import compare_pair
from tfdump.comparison.tolerance import Tolerances, overrides_of
from tfdump.comparison.transposing import Transposing
from tfdump.comparison.verdict import (
    DIFFERS,
    EXTRA,
    IGNORED,
    MISSING,
    NORMS,
    SAME,
    SKIPPED,
    STATISTICS,
    DiffReport,
    TensorDiff,
)
from tfdump.dump.attributes import full_name
from tfdump.dump.reader import Dump
from tfdump.dump.selection import candidate_for
from tfdump.errors import DumpError, SelectionError, near
from tfdump.process.stages import Meter, Progress, silent_progress
from tfdump.tensors import listed

Comparable = str | Path | Dump | Mapping[str, Any]
"""One side of a comparison: a dump, a path to a dump or to a `.npy`, `.npz` or HDF5 file, or arrays by name."""


@dataclass(frozen=True)
class DiffOptions:
    """What is compared, and what counts as a difference; the fields are the arguments of `diff`."""

    criteria: Criteria = field(default_factory=Criteria)
    check_attrs: bool = False
    allow_missing: bool = False
    ignore: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    transpose: tuple[tuple[str, tuple[int, ...]], ...] = ()


def diff(
    golden: Comparable,
    new: Comparable,
    *,
    rtol: float | Mapping[str, float] | None = None,
    atol: float | Mapping[str, float] | None = None,
    scale: float | Mapping[str, float] | None = None,
    exact: bool = False,
    max_ulp: int | None = None,
    min_cosine: float | None = None,
    nan_equal: bool = True,
    check_attrs: bool = False,
    allow_missing: bool = False,
    ignore: str | Iterable[str] = (),
    layers: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    renamed: Mapping[str, str] | str | Path | None = None,
    transpose: str | Iterable[str] = (),
) -> DiffReport:
    """Compare two dumps, or a dump with plain arrays, and return a verdict on every tensor.

    An element passes when `|new - golden| <= atol + rtol*|golden| + scale*max|golden|`, where the maximum is over the
    finite values of the tensor. The defaults of `rtol` and `scale` depend on the dtype; see docs/diff.md.

    Parameters
    ----------
    golden, new : str, Path, Dump, or mapping of str to array
        The two sides: an open dump, a path to a dump or to a `.npy`, `.npz` or HDF5 file, or arrays by name, as
        `tfdump.activations` returns them.
    rtol, atol, scale : float or mapping of str to float, optional
        The terms of the bound. A number holds for all tensors of floats. A mapping gives numbers by glob, such as
        `{"conv*": 1e-3}`; the last glob that matches a tensor counts.
    exact : bool, default False
        Whether all values must be equal bit for bit. Cannot be combined with tolerances or `max_ulp`.
    max_ulp : int, optional
        How many steps between neighboring floats an element may differ by. Cannot be combined with tolerances or
        `exact`.
    min_cosine : float, optional
        The smallest cosine, from -1 to 1, between the two tensors as vectors. Without tolerances, only the cosine of
        floats counts.
    nan_equal : bool, default True
        Whether NaN equals NaN.
    check_attrs : bool, default False
        Whether the attributes of the tensors must be equal too.
    allow_missing : bool, default False
        Whether a tensor may be on one side only.
    ignore : str or iterable of str, optional
        Globs of tensors that are not compared.
    layers, exclude : str or iterable of str, optional
        Patterns of the tensors to compare, and of those to leave out, as for `-l` and `-x` on the command line.
    renamed : mapping of str to str, str or Path, optional
        Golden names with the new names that belong to them: addresses, or the beginnings of addresses. A path names a
        file with such a map, as JSON or as two columns with a tab between them.
    transpose : str or iterable of str, optional
        `GLOB=AXES`, such as `"conv*=0,2,3,1"`: the order of axes in which plain arrays, or else new tensors, are
        compared.

    Returns
    -------
    DiffReport
        The verdict on both sides and on every tensor. `report.same` tells whether the sides agree, `report.first` is
        the first tensor that differs.

    Raises
    ------
    TfdumpError
        If there is nothing to compare, if the dumps hold different things or different examples, if a pattern matches
        nothing, or if a file cannot be read.

    Examples
    --------
    >>> report = tfdump.diff("golden.h5", "new.h5", rtol=1e-3)
    >>> if not report.same:
    ...     print(report.summary)
    """
    if renamed is None or isinstance(renamed, Mapping):
        names = dict(renamed or {})
    else:
        names = read_map(file_path("renamed", renamed, "a dict of names does it too"))
    if min_cosine is not None:
        real_number("min_cosine", min_cosine, 0.99)
    tolerances = Tolerances(overrides_of(rtol), overrides_of(atol), overrides_of(scale))
    options = DiffOptions(
        Criteria(
            tolerances,
            flag("exact", exact),
            whole_number("max_ulp", max_ulp, 0),
            min_cosine,
            flag("nan_equal", nan_equal),
        ),
        check_attrs=flag("check_attrs", check_attrs),
        allow_missing=flag("allow_missing", allow_missing),
        ignore=texts("ignore", ignore, "dropout*"),
        layers=texts("layers", layers, "conv*"),
        exclude=texts("exclude", exclude, "conv*"),
        renamed=names,
        transpose=tuple(parse_transpose(text) for text in texts("transpose", transpose, "*=0,2,3,1")),
    )
    return compare(golden, new, options)


def compare(
    golden: Comparable, new: Comparable, options: DiffOptions, progress: Progress = silent_progress
) -> DiffReport:
    """Compare two sides and return the report; see `diff`.

    `progress` is called with the number of values compared so far and the number of all values.
    """
    options.criteria.check()
    with open_side(golden) as old, open_side(new) as other:
        check_comparable(old, other)
        pairs = _selected(in_execution_order(pair_sides(old, other, options.renamed), old, other), options)
        ignored = _matching(pairs, options.ignore, "--ignore")
        _matching(pairs, options.criteria.tolerances.globs, "a tolerance")
        check_reductions([pair for pair in pairs if id(pair) not in ignored])
        turning = Transposing(options.transpose, turns_golden=old.is_plain and not other.is_plain)
        turned = [pair if id(pair) in ignored else turning.turn(pair) for pair in pairs]
        turning.check_used()
        tensors = tuple(_verdicts(turned, options, ignored, progress))
        for side in (old, other):
            side.check_unchanged()
        notes = (*comparison_notes(old, other, pairs), *_notes_on_values(tensors))
        report = DiffReport(old.name, other.name, tensors, notes)
    if not report.count(SAME, DIFFERS):
        raise DumpError(_nothing_compared(report))
    return report


def _selected(pairs: list[Pair], options: DiffOptions) -> list[Pair]:
    selection = Selection(options.layers, options.exclude)
    if not (options.layers or options.exclude):
        return pairs
    candidates = [candidate_for(*pair.items) for pair in pairs]
    return [pairs[position] for position in selection.choose(candidates, remedy="list them: tfdump show DUMP")]


def _matching(pairs: list[Pair], globs: Iterable[str], what: str) -> set[int]:
    """Return the identities of the pairs that globs match; raises SelectionError for a glob that matches none.

    `what` is the option, for the message.
    """
    identities = set()
    for glob in globs:
        pattern = Pattern(glob)
        matched = {id(pair) for pair in pairs if pattern.selects(pair.candidate)}
        if not matched:
            known = [name for pair in pairs for name in pair.names]
            raise SelectionError(f"{what} names '{glob}', which no tensor matches{near(glob, known)}")
        identities |= matched
    return identities


def _verdicts(
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
    )


def _notes_on_values(tensors: tuple[TensorDiff, ...]) -> list[str]:
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


def _nothing_compared(report: DiffReport) -> str:
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
