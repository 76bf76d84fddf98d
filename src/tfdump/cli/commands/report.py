"""`tfdump report`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tfdump.byte_sizes import parse_bytes, show_bytes
from tfdump.cli.comparing.report_page import check_page, write_page
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.options import FORCE, OUTPUT, SELECTION, FileName, parsed
from tfdump.cli.progress import notes, reading_bars
from tfdump.cli.render import write
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.comparison.options import BY_VALUE, PAIRINGS, DiffOptions
from tfdump.comparison.renaming import read_map
from tfdump.comparison.rule import Criteria
from tfdump.comparison.tolerance import Override, Tolerances, parse_override
from tfdump.dump.reader import open_dump
from tfdump.errors import DumpError, TfdumpError
from tfdump.files.paths import check_path
from tfdump.report.gather import gather
from tfdump.report.records import PICTURES, READ_BYTES, ReportOptions


def _bytes_or_all(text: str) -> int | None:
    return None if text == "all" else parse_bytes(text)


def _pictures(text: str) -> int | None:
    if text in ("none", "all"):
        return 0 if text == "none" else None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise TfdumpError(f"--pictures '{text}' is neither a number, 'none' nor 'all'")
    return int(text)


_TOLERANCE = parsed("[GLOB=]VALUE", parse_override)


EXAMPLES = (
    (
        "Write one page about a dump to digits_cnn.activations.report.html.",
        "tfdump report digits_cnn.activations.h5",
    ),
    (
        "Compare two dumps on one page, without pictures.",
        "tfdump report golden.h5 new.h5 --pictures none -o compared.html",
    ),
)

_PAGE = option_under("Page")
_COMPARISON = option_under("Comparison with OTHER")


def _tolerance_option(name: str, difference: str) -> Callable[[Any], Any]:
    return _COMPARISON(name, multiple=True, metavar="[GLOB=]VALUE", type=_TOLERANCE, help=f"Allow this {difference}.")


@click.command("report", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("dump", type=FileName())
@click.argument("other", required=False, type=FileName())
@OUTPUT("-o", "--output", type=FileName(), help="Write the page to this file. [default: DUMP.report.html]")
@FORCE
@_PAGE(
    "--pictures",
    type=parsed("N|none|all", _pictures),
    metavar="N|none|all",
    default=str(PICTURES),
    show_default=True,
    help="Draw this many tensors, those with findings or differences first; needs the extra tfdump[plot].",
)
@_PAGE(
    "--read",
    type=parsed("SIZE|all", _bytes_or_all),
    metavar="SIZE|all",
    default=show_bytes(READ_BYTES).replace(".0 ", ""),
    show_default=True,
    help="Read about this much of a larger dump, as a sample.",
)
@SELECTION("-l", "--layer", multiple=True, metavar="PATTERN", help="Show only these tensors. Repeatable.")
@SELECTION("-x", "--exclude", multiple=True, metavar="PATTERN", help="Leave these out. Repeatable.")
@_tolerance_option("--rtol", "relative difference, as tfdump diff does")
@_tolerance_option("--atol", "absolute difference")
@_tolerance_option("--scale", "difference relative to the tensor's largest value")
@_COMPARISON("--allow-missing", is_flag=True, help="Allow tensors that only one side has.")
@_COMPARISON(
    "--map",
    "map_file",
    type=FileName(),
    metavar="FILE",
    help="Pair renamed tensors by this file, as tfdump diff does.",
)
@_COMPARISON(
    "--pair",
    type=click.Choice(PAIRINGS),
    help=f"Pair tensors by names alone, or by their values too. [default: {BY_VALUE}]",
)
@_COMPARISON("--ignore-ids", is_flag=True, help="Compare examples of different names, row by row.")
@verbosity_options
@click.pass_obj
def command(
    verbosity: Verbosity,
    dump: Path,
    other: Path | None,
    output: Path | None,
    force: bool,
    pictures: int | None,
    read: int | None,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    rtol: tuple[Override, ...],
    atol: tuple[Override, ...],
    scale: tuple[Override, ...],
    allow_missing: bool,
    map_file: Path | None,
    pair: str | None,
    ignore_ids: bool,
) -> None:
    """Write one HTML page about a dump, or about two dumps compared.

    The page shows the tensors, the findings of the checks, and pictures. With OTHER (a dump, or plain arrays), it
    shows the differences, the first divergence on top. The page needs no network, and is readable without JavaScript.

    The command prints the path of the page. The exit status says nothing about findings or differences.
    """
    if other is None and (rtol or atol or scale or allow_missing or map_file is not None or pair or ignore_ids):
        raise click.UsageError(
            "--rtol, --atol, --scale, --allow-missing, --map, --pair and --ignore-ids need OTHER (give a second dump)"
        )
    if output == Path("-"):
        raise click.UsageError("the page is written to a file (use -o FILE.html)")
    target = output or Path(f"{dump.stem}.report.html")
    with open_dump(dump):  # problems of the inputs are reported before problems of the output
        for path in (other, map_file):
            if path is not None:
                check_path(path, "file", DumpError)
    resolved = check_page(target, force, [path for path in (dump, other, map_file) if path is not None])
    criteria = Criteria(Tolerances(rtol, atol, scale))
    options = DiffOptions(
        criteria,
        allow_missing=allow_missing,
        renamed=read_map(map_file) if map_file is not None else {},
        pair=pair or BY_VALUE,
        ignore_ids=ignore_ids,
    )
    with reading_bars(verbosity) as watch:
        report = gather(dump, other, ReportOptions(read, pictures, layer, exclude, options), watch)
    note = notes(verbosity)
    for line in report.notes:
        note(line)
    if report.diff is not None:
        note(report.diff.summary)
    write_page(report, resolved, force)
    write(f"{target}\n")
