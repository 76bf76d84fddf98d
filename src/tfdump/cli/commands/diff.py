"""`tfdump diff`."""

from pathlib import Path

import click

from tfdump.address import Pattern
from tfdump.cli.diff_rendering import diff_json, diff_junit, diff_table
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.options import OUTPUT, SELECTION, FileName, parsed, verdict_format, verdict_options
from tfdump.cli.progress import reading_bar
from tfdump.cli.render import say, write
from tfdump.cli.terminal import stderr_terminal
from tfdump.cli.text_width import lines_of, width
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.comparison.diff import compare
from tfdump.comparison.options import BY_VALUE, PAIRINGS, DiffOptions
from tfdump.comparison.plain_arrays import parse_transpose
from tfdump.comparison.renaming import read_map
from tfdump.comparison.rule import Criteria
from tfdump.comparison.tolerance import Override, Tolerances, parse_override
from tfdump.comparison.verdict import DiffReport

DIFFERENT = 1
"""The exit status when the two differ."""

_INDENT, _NARROW = "  ", 24
"""The indentation of the clauses of a verdict of several lines, and the least columns of a clause."""


def _glob(text: str) -> str:
    return Pattern(text).text


_TOLERANCE = parsed("[GLOB=]VALUE", parse_override)
_GLOB = parsed("GLOB", _glob)


EXAMPLES = (
    (
        "Compare two dumps; the exit status is 1 where they differ.",
        "tfdump diff golden.h5 new.h5",
    ),
    (
        "Allow larger differences in one layer, and list the tensors that agree.",
        "tfdump diff golden.h5 new.h5 --rtol 1e-3 --rtol 'predictions=1e-2' --all",
    ),
    (
        "Require equal bits, and print JSON.",
        "tfdump diff golden.h5 new.h5 --exact --json",
    ),
)

_TOLERANCES = option_under("Tolerances")
_PAIRING = option_under("Pairing")


@click.command("diff", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("golden", type=FileName())
@click.argument("new", type=FileName())
@_TOLERANCES(
    "--rtol",
    multiple=True,
    metavar="[GLOB=]VALUE",
    type=_TOLERANCE,
    help="Allow this difference relative to the golden value. Repeatable.",
)
@_TOLERANCES(
    "--atol",
    multiple=True,
    metavar="[GLOB=]VALUE",
    type=_TOLERANCE,
    help="Allow this absolute difference. Repeatable. [default: 0]",
)
@_TOLERANCES(
    "--scale",
    multiple=True,
    metavar="[GLOB=]VALUE",
    type=_TOLERANCE,
    help="Allow this difference relative to the tensor's largest value. Repeatable.",
)
@_TOLERANCES("--exact", is_flag=True, help="Require equal bits and equal dtypes.")
@_TOLERANCES(
    "--max-ulp",
    type=click.IntRange(min=0),
    metavar="N",
    help="Allow values to be N representable numbers apart.",
)
@_TOLERANCES(
    "--min-cosine",
    type=click.FloatRange(-1, 1),
    metavar="F",
    help="Require this cosine of the two tensors as vectors.",
)
@_TOLERANCES("--nan-equal/--no-nan-equal", default=True, show_default=True, help="Let NaN equal NaN.")
@SELECTION(
    "-l",
    "--layer",
    multiple=True,
    metavar="PATTERN",
    type=_GLOB,
    help="Compare only these tensors. Repeatable.",
)
@SELECTION("-x", "--exclude", multiple=True, metavar="PATTERN", type=_GLOB, help="Leave these out. Repeatable.")
@SELECTION(
    "--ignore",
    multiple=True,
    metavar="GLOB",
    type=_GLOB,
    help="List these tensors, but do not compare them. Repeatable.",
)
@_PAIRING("--allow-missing", is_flag=True, help="Allow tensors that only one side has.")
@_TOLERANCES("--check-attrs", is_flag=True, help="Require equal attributes (class, structure, shape, scale, ...).")
@_PAIRING(
    "--map",
    "map_file",
    type=FileName(),
    metavar="FILE",
    help="Pair renamed tensors by this TSV or JSON file: golden name, new name.",
)
@_PAIRING(
    "--transpose",
    multiple=True,
    metavar="[GLOB=]AXES",
    type=parsed("[GLOB=]AXES", parse_transpose),
    help="Transpose the plain arrays, or else NEW: 0,2,3,1 for channels first. Repeatable.",
)
@_PAIRING(
    "--pair",
    type=click.Choice(PAIRINGS),
    default=BY_VALUE,
    show_default=True,
    help="Pair tensors by names alone, or by their values too.",
)
@OUTPUT("-a", "--all", "every", is_flag=True, help="Also list the tensors that agree.")
@verdict_options
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    golden: Path,
    new: Path,
    rtol: tuple[Override, ...],
    atol: tuple[Override, ...],
    scale: tuple[Override, ...],
    exact: bool,
    max_ulp: int | None,
    min_cosine: float | None,
    nan_equal: bool,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    ignore: tuple[str, ...],
    allow_missing: bool,
    check_attrs: bool,
    map_file: Path | None,
    transpose: tuple[tuple[str, tuple[int, ...]], ...],
    pair: str,
    every: bool,
    layout: str | None,
    json: bool,
) -> int:
    """Compare two dumps, and name the first layer that diverges.

    An element passes when |new - golden| <= atol + rtol*|golden| + scale*max|golden|. The defaults of rtol and scale
    are 1e-4 and 1e-5 for float32, 1e-9 and 1e-11 for float64, 1e-2 and 5e-3 for float16, 5e-2 and 3e-2 for bfloat16.
    Integers, bools and text are compared exactly. GOLDEN or NEW may also be plain arrays: .npy, .npz or HDF5.

    The table lists the tensors that differ; the verdict is on stderr. Exit status: 0 no difference, 1 differences,
    2 an error.
    """
    verdict_layout = verdict_format(layout, json)
    options = DiffOptions(
        Criteria(Tolerances(rtol, atol, scale), exact, max_ulp, min_cosine, nan_equal),
        check_attrs,
        allow_missing,
        ignore,
        layer,
        exclude,
        read_map(map_file) if map_file is not None else {},
        transpose,
        pair,
    )
    verbosity: Verbosity = ctx.obj
    with reading_bar(verbosity, "comparing") as progress:
        report = compare(golden, new, options, progress)
    if not verbosity.quiet:
        for note in report.notes:
            say(f"Note: {note}")
    if verdict_layout == "json":
        write(diff_json(report))
    elif verdict_layout == "junit":
        write(diff_junit(report))
    else:
        tensors = [tensor for tensor in report.tensors if every or tensor.fails]
        if tensors or verdict_layout == "tsv":
            write(diff_table(tensors, verdict_layout == "table", min_cosine is not None))
        if not (report.same and verbosity.quiet):
            _say_verdict(report)
    return 0 if report.same else DIFFERENT


def _say_verdict(report: DiffReport) -> None:
    """Write the verdict to stderr: on one line, or one line per clause where the terminal is narrower."""
    columns = stderr_terminal().columns
    if columns is None or width(report.summary) <= columns:
        say(report.summary)
        return
    head, *clauses = report.clauses
    for line in lines_of(head, columns):
        say(line)
    for clause in clauses:
        for line in lines_of(clause, max(_NARROW, columns - len(_INDENT))):
            say(f"{_INDENT}{line}")
