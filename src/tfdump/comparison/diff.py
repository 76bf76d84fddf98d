"""Compares two dumps tensor by tensor: what differs, and which layer is the first to differ."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

from tfdump.address import Pattern, Selection
from tfdump.argument_kinds import file_path, flag, real_number, texts, whole_number
from tfdump.comparison.examples.same_examples import with_example_ids
from tfdump.comparison.execution_order import in_execution_order
from tfdump.comparison.fidelity.real_numbers import compare_as_real
from tfdump.comparison.options import BY_VALUE, NAMES_ONLY, DiffOptions
from tfdump.comparison.pairing import Pair, pair_sides
from tfdump.comparison.plain_arrays import parse_transpose
from tfdump.comparison.preconditions import check_comparable, check_reductions, comparison_notes
from tfdump.comparison.renaming import read_map
from tfdump.comparison.rule import Criteria
from tfdump.comparison.sides import Side, open_side
from tfdump.comparison.tolerance import Tolerances, overrides_of, sqnr_limits_of
from tfdump.comparison.transposing import Transposing
from tfdump.comparison.values.fusing import with_fused
from tfdump.comparison.values.notes import pairs_by_value
from tfdump.comparison.values.sharing import without_wrongly_shared
from tfdump.comparison.verdict import DIFFERS, SAME, DiffReport, TensorDiff
from tfdump.comparison.verdicts import notes_on_values, nothing_compared, verdicts_on
from tfdump.comparison.weights.notes import weight_notes
from tfdump.dump.reader import Dump
from tfdump.dump.selection import candidate_for
from tfdump.errors import DumpError, SelectionError, near
from tfdump.process.stages import Progress, silent_progress

JudgePairs = Callable[[Sequence[Pair], DiffOptions, Set[int]], Iterable[TensorDiff]]
"""Compares pairs, of which those with some identities are ignored, and yields the verdict on each."""

Comparable = str | Path | Dump | Mapping[str, Any]
"""One side of a comparison: a dump, a path to a dump or to a `.npy`, `.npz` or HDF5 file, or arrays by name."""


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
    min_sqnr: float | Mapping[str, float] | None = None,
    nan_equal: bool = True,
    check_attrs: bool = False,
    allow_missing: bool = False,
    ignore: str | Iterable[str] = (),
    layers: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    renamed: Mapping[str, str] | str | Path | None = None,
    transpose: str | Iterable[str] = (),
    pair: str = BY_VALUE,
    ignore_ids: bool = False,
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
    min_sqnr : float or mapping of str to float, optional
        The smallest signal-to-quantization-noise ratio in dB, of floats and of quantized integers, or ratios by glob.
        Without tolerances, only it counts for the tensors that it names.
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
    pair : {"values", "names"}, default "values"
        Whether tensors that names do not pair are paired by their values, and names are corrected by them.
    ignore_ids : bool, default False
        Whether examples of different names are compared, row by row.

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
    options = diff_options(
        rtol=rtol,
        atol=atol,
        scale=scale,
        exact=exact,
        max_ulp=max_ulp,
        min_cosine=min_cosine,
        min_sqnr=min_sqnr,
        nan_equal=nan_equal,
        check_attrs=check_attrs,
        allow_missing=allow_missing,
        ignore=ignore,
        layers=layers,
        exclude=exclude,
        renamed=renamed,
        transpose=transpose,
        pair=pair,
        ignore_ids=ignore_ids,
    )
    return compare(golden, new, options)


def diff_options(
    *,
    rtol: float | Mapping[str, float] | None = None,
    atol: float | Mapping[str, float] | None = None,
    scale: float | Mapping[str, float] | None = None,
    exact: bool = False,
    max_ulp: int | None = None,
    min_cosine: float | None = None,
    min_sqnr: float | Mapping[str, float] | None = None,
    nan_equal: bool = True,
    check_attrs: bool = False,
    allow_missing: bool = False,
    ignore: str | Iterable[str] = (),
    layers: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    renamed: Mapping[str, str] | str | Path | None = None,
    transpose: str | Iterable[str] = (),
    pair: str = BY_VALUE,
    ignore_ids: bool = False,
) -> DiffOptions:
    """Return the options of these keyword arguments of `diff`; raises TfdumpError for one that is not valid."""
    if renamed is None or isinstance(renamed, Mapping):
        names = dict(renamed or {})
    else:
        names = read_map(file_path("renamed", renamed, "a dict of names does it too"))
    if min_cosine is not None:
        real_number("min_cosine", min_cosine, 0.99)
    tolerances = Tolerances(overrides_of(rtol), overrides_of(atol), overrides_of(scale))
    return DiffOptions(
        Criteria(
            tolerances,
            flag("exact", exact),
            whole_number("max_ulp", max_ulp, 0),
            min_cosine,
            flag("nan_equal", nan_equal),
            sqnr_limits_of(min_sqnr),
        ),
        check_attrs=flag("check_attrs", check_attrs),
        allow_missing=flag("allow_missing", allow_missing),
        ignore=texts("ignore", ignore, "dropout*"),
        layers=texts("layers", layers, "conv*"),
        exclude=texts("exclude", exclude, "conv*"),
        renamed=names,
        transpose=tuple(parse_transpose(text) for text in texts("transpose", transpose, "*=0,2,3,1")),
        pair=pair,
        ignore_ids=flag("ignore_ids", ignore_ids),
    )


def compare(
    golden: Comparable, new: Comparable, options: DiffOptions, progress: Progress = silent_progress
) -> DiffReport:
    """Compare two sides and return the report; see `diff`.

    `progress` is called with the number of values compared so far and the number of all values.
    """
    options.check()
    with open_side(golden) as old, open_side(new) as other:
        return compare_sides(old, other, options, partial(verdicts_on, progress=progress))


def compare_sides(old: Side, other: Side, options: DiffOptions, judge: JudgePairs) -> DiffReport:
    """Pair the tensors of two open sides, let `judge` compare them, and return the report."""
    if options.ignore_ids:
        other.examples = None
    check_comparable(old, other)
    real_notes = [] if options.criteria.exact else compare_as_real(old, other)
    by_names = pair_sides(old, other, options.renamed)
    every, pairing_notes = (by_names, []) if options.pair == NAMES_ONLY else pairs_by_value(by_names, old, other)
    pairs = _selected(in_execution_order(every, old, other), options)
    ignored = _matching(pairs, options.ignore, "--ignore")
    _matching(pairs, options.criteria.globs, "a tolerance")
    check_reductions([pair for pair in pairs if id(pair) not in ignored])
    turning = Transposing(options.transpose, turns_golden=old.is_plain and not other.is_plain)
    turned = [pair if id(pair) in ignored else turning.turn(pair) for pair in pairs]
    turning.check_used()
    tensors = with_example_ids(list(judge(turned, options, ignored)), turned, old, other)
    if options.pair != NAMES_ONLY:
        tensors, pairs, every = without_wrongly_shared(tensors, pairs, every, options.allow_missing)
        tensors = with_fused(tensors, pairs, every, old, other)
    for side in (old, other):
        side.check_unchanged()
    notes = (
        *comparison_notes(old, other, pairs),
        *pairing_notes,
        *notes_on_values(tensors),
        *real_notes,
        *weight_notes(tensors, pairs),
    )
    report = DiffReport(old.name, other.name, tuple(tensors), notes)
    if not report.count(SAME, DIFFERS):
        raise DumpError(nothing_compared(report))
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
