"""`tfdump diff`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfdump.address import Pattern
from tfdump.cli.fitting import Column, Styled
from tfdump.cli.options import FileName, chosen_format, parsed, verdict_options
from tfdump.cli.progress import reading_bar
from tfdump.cli.render import Cell, json_list, say, shape_text, table, write
from tfdump.cli.settings import Settings, verbosity
from tfdump.cli.tensor_names import common_group, tensor_column
from tfdump.cli.terminal import GREEN, RED, YELLOW, stderr_terminal
from tfdump.cli.text_width import lines_of, width
from tfdump.comparison.diff import DiffOptions, compare
from tfdump.comparison.pairing import ADDRESS
from tfdump.comparison.plain_arrays import parse_transpose
from tfdump.comparison.renaming import read_map
from tfdump.comparison.rule import Criteria
from tfdump.comparison.tolerance import Override, Tolerances, parse_override
from tfdump.comparison.verdict import IGNORED, SAME, SKIPPED, DiffReport, TensorDiff, index_text, value_text

if TYPE_CHECKING:
    from tfdump.cli.junit import Case

DIFFERENT = 1
"""The exit status when the two differ."""

_INDENT, _NARROW = "  ", 24
"""What stands before each clause of a verdict that takes several lines, and the columns that it gets at least."""

_COLUMNS = ("tensor", "new", "class", "verdict", "shape", "failed", "worst at", "golden value", "new value",
            "max error", "scale needed", "paired by", "reason")  # fmt: skip

_ALIGNED = (
    tensor_column(), tensor_column("new"), Column("class", 0), Column("verdict"), Column("shape", 1),
    Column("failed", 6), Column("worst at", 4), Column("golden value", 3), Column("new value", 2), Column("max error"),
    Column("scale needed", 5), Column("cosine"), Column("reason", shorten="end"),
)  # fmt: skip


def _glob(text: str) -> str:
    return Pattern(text).text


_TOLERANCE = parsed("[GLOB=]VALUE", parse_override)
_GLOB = parsed("GLOB", _glob)


@click.command("diff")
@click.argument("golden", type=FileName())
@click.argument("new", type=FileName())
@click.option("--rtol", multiple=True, metavar="[GLOB=]VALUE", type=_TOLERANCE, help="Relative to the golden value.")
@click.option("--atol", multiple=True, metavar="[GLOB=]VALUE", type=_TOLERANCE, help="Absolute. [default: 0]")
@click.option(
    "--scale", multiple=True, metavar="[GLOB=]VALUE", type=_TOLERANCE, help="Relative to the tensor's largest value."
)
@click.option("--exact", is_flag=True, help="Equal bits, and equal dtypes.")
@click.option("--max-ulp", type=click.IntRange(min=0), metavar="N", help="At most N representable numbers apart.")
@click.option("--min-cosine", type=click.FloatRange(-1, 1), metavar="F", help="Each tensor as a vector; alone or more.")
@click.option("--nan-equal/--no-nan-equal", default=True, show_default=True, help="Whether NaN equals NaN.")
@click.option("-l", "--layer", multiple=True, metavar="PATTERN", type=_GLOB, help="Only these tensors. Repeatable.")
@click.option("-x", "--exclude", multiple=True, metavar="PATTERN", type=_GLOB, help="Not these. Repeatable.")
@click.option("--ignore", multiple=True, metavar="GLOB", type=_GLOB, help="List these, and do not compare them.")
@click.option("--allow-missing", is_flag=True, help="A tensor that only one side has is no difference.")
@click.option("--check-attrs", is_flag=True, help="Attributes must agree too (class, structure, shape, scale, ...).")
@click.option("--map", "map_file", type=FileName(), metavar="FILE", help="Renamed tensors: TSV or JSON, golden to new.")
@click.option(
    "--transpose",
    multiple=True,
    metavar="[GLOB=]AXES",
    type=parsed("[GLOB=]AXES", parse_transpose),
    help="Turn the axes of the plain (or else the new) side, for example 0,2,3,1 for channels first.",
)
@click.option("-a", "--all", "every", is_flag=True, help="List the tensors that agree, too.")
@verdict_options
@verbosity
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
    every: bool,
    layout: str | None,
    json: bool,
) -> int:
    """Compare two dumps, and name the first layer that diverges.

    An element passes when |new - golden| <= atol + rtol*|golden| + scale*max|golden|. The defaults of rtol and scale
    are 1e-4 and 1e-5 for float32, 1e-9 and 1e-11 for float64, 1e-2 and 5e-3 for float16, 5e-2 and 3e-2 for bfloat16;
    integers, bools and text are exact. GOLDEN or NEW may be plain arrays too: .npy, .npz or HDF5.

    Exit status: 0 no difference, 1 differences, 2 trouble. The table lists what differs; the verdict is on stderr.
    """
    chosen = chosen_format(layout, json)
    options = DiffOptions(
        Criteria(Tolerances(rtol, atol, scale), exact, max_ulp, min_cosine, nan_equal),
        check_attrs,
        allow_missing,
        ignore,
        layer,
        exclude,
        read_map(map_file) if map_file is not None else {},
        transpose,
    )
    settings: Settings = ctx.obj
    with reading_bar(settings, "comparing") as progress:
        report = compare(golden, new, options, progress)
    if not settings.quiet:
        for note in report.notes:
            say(f"Note: {note}")
    if chosen == "json":
        write(_json(report))
    elif chosen == "junit":
        write(_junit(report))
    else:
        listed = [tensor for tensor in report.tensors if every or tensor.fails]
        if listed or chosen == "tsv":
            write(_table(listed, chosen == "table", min_cosine is not None))
        if not (report.same and settings.quiet):
            _say_verdict(report)
    return 0 if report.same else DIFFERENT


def _say_verdict(report: DiffReport) -> None:
    """Write the verdict to stderr: in one line, or clause by clause on a terminal with shorter ones."""
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


def _row(tensor: TensorDiff) -> tuple[Cell, ...]:
    found = tensor.comparison
    numbers: tuple[Cell, ...] = (None,) * 6
    if found is not None:
        numbers = (
            found.failed,
            index_text(found),
            None if found.golden is None else value_text(found.golden),
            None if found.new is None else value_text(found.new),
            found.max_error,
            found.scale,
        )
    shape = tensor.shape if tensor.shape is not None else tensor.new_shape
    renamed = tensor.new_name if tensor.new_name != tensor.name else None
    name = (tensor.name, renamed, tensor.class_name, tensor.status, shape_text(shape))
    paired_by = tensor.paired_by if tensor.paired_by != ADDRESS else ""
    return (*name, *numbers, paired_by, tensor.reason)


def _table(tensors: Sequence[TensorDiff], aligned: bool, with_cosine: bool) -> str:
    """Return the table; aligned, the reason stands only where the other columns do not say it already.

    The cosine, where it was asked for, comes last in TSV, whose other columns so keep their places.
    """
    rows = [(*_row(tensor), _cosine(tensor)) for tensor in tensors]
    if not aligned:
        columns = (*_COLUMNS, "cosine")
        return table(columns, rows) if with_cosine else table(columns[:-1], [row[:-1] for row in rows])
    group = common_group(name for one in tensors for name in (one.name, one.new_name)) if sys.stdout.isatty() else ""
    told = [
        {
            **dict(zip(_COLUMNS, row, strict=False)),
            "tensor": tensor.name and tensor.name.removeprefix(group),
            "new": row[1] and str(row[1]).removeprefix(group),
            "verdict": Styled(tensor.status, _style(tensor)),
            "cosine": None if row[-1] is None else f"{row[-1]:.9g}",
            "reason": tensor.reason if tensor.comparison is None or _fails_by_cosine(tensor) else None,
        }
        for tensor, row in zip(tensors, rows, strict=True)
    ]
    kept = [column for column in _ALIGNED if any(row[column.name] not in (None, "") for row in told)]
    return table(kept, [[row[column.name] for column in kept] for row in told], aligned=True)


def _cosine(tensor: TensorDiff) -> float | None:
    return tensor.comparison.cosine if tensor.comparison is not None else None


def _fails_by_cosine(tensor: TensorDiff) -> bool:
    return tensor.comparison is not None and not tensor.comparison.failed and tensor.fails


def _style(tensor: TensorDiff) -> str:
    return RED if tensor.fails else GREEN if tensor.status == SAME else YELLOW


def _json(report: DiffReport) -> str:
    first = report.first
    return json_list(
        "diff",
        [_item(tensor) for tensor in report.tensors],
        golden=report.golden,
        new=report.new,
        same=report.same,
        summary=report.summary,
        first=None if first is None else first.name or first.new_name,
        notes=list(report.notes),
    )


def _item(tensor: TensorDiff) -> dict[str, Any]:
    found: Mapping[str, Any] = asdict(tensor)
    return {**found, "comparison": None if tensor.comparison is None else asdict(tensor.comparison)}


def _junit(report: DiffReport) -> str:
    from tfdump.cli.junit import junit

    cases = [_case(tensor) for tensor in report.tensors]
    return junit(f"tfdump diff {report.golden} {report.new}", cases)


def _case(tensor: TensorDiff) -> "Case":
    from tfdump.cli.junit import Case

    group, _, name = (tensor.name or tensor.new_name or "").rpartition("/")
    class_name = group.replace("/", ".") or "tfdump"
    how = f"paired by {tensor.paired_by} with {tensor.new_name}" if tensor.paired_by not in ("", ADDRESS) else ""
    if tensor.fails:
        return Case(name, class_name, "failure", tensor.reason, _details(tensor), how)
    if tensor.status in (IGNORED, SKIPPED) or (tensor.comparison is None and tensor.reason):
        return Case(name, class_name, "skipped", tensor.reason or tensor.status, output=how)
    return Case(name, class_name, output=how)


def _details(tensor: TensorDiff) -> str:
    """Return what the server shows below the failure: a line a fact."""
    return "\n".join(
        f"{name}: {value}" for name, value in zip(_COLUMNS, _row(tensor), strict=True) if value not in (None, "")
    )
