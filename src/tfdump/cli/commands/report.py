"""`tfdump report`."""

from pathlib import Path

import click

from tfdump.byte_sizes import parse_bytes, show_bytes
from tfdump.cli.options import FileName, parsed
from tfdump.cli.progress import notes, reading_bars
from tfdump.cli.render import write
from tfdump.cli.settings import Settings, verbosity
from tfdump.comparison.diff import DiffOptions
from tfdump.comparison.renaming import read_map
from tfdump.comparison.rule import Criteria
from tfdump.comparison.tolerance import Override, Tolerances, parse_override
from tfdump.dump.reader import open_dump
from tfdump.dump.target import check_target, write_complete_file
from tfdump.errors import DumpError, TfdumpError
from tfdump.files.paths import check_path, refuse_other_ending
from tfdump.report.gather import gather
from tfdump.report.page import page_of
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


@click.command("report")
@click.argument("dump", type=FileName())
@click.argument("other", required=False, type=FileName())
@click.option("-o", "--output", type=FileName(), help="The page. [default: DUMP.report.html]")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output.")
@click.option(
    "--pictures",
    type=parsed("N|none|all", _pictures),
    metavar="N|none|all",
    default=str(PICTURES),
    show_default=True,
    help="How many tensors to draw: those with findings or differences first. They need the extra tfdump[plot].",
)
@click.option(
    "--read",
    type=parsed("SIZE|all", _bytes_or_all),
    metavar="SIZE|all",
    default=show_bytes(READ_BYTES).replace(".0 ", ""),
    show_default=True,
    help="Of a larger dump, about so much is read, as a sample.",
)
@click.option("-l", "--layer", multiple=True, metavar="PATTERN", help="Only these tensors. Repeatable.")
@click.option("-x", "--exclude", multiple=True, metavar="PATTERN", help="Not these. Repeatable.")
@click.option("--rtol", multiple=True, metavar="[GLOB=]VALUE", type=_TOLERANCE, help="Against OTHER, as for diff.")
@click.option("--atol", multiple=True, metavar="[GLOB=]VALUE", type=_TOLERANCE, help="The same.")
@click.option("--scale", multiple=True, metavar="[GLOB=]VALUE", type=_TOLERANCE, help="The same.")
@click.option("--allow-missing", is_flag=True, help="A tensor that only one side has is no difference.")
@click.option("--map", "map_file", type=FileName(), metavar="FILE", help="Renamed tensors in OTHER, as for diff.")
@verbosity
@click.pass_obj
def command(
    settings: Settings,
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
) -> None:
    """Make one HTML page of a dump, or of two compared.

    It holds the tensors, what checks find, and pictures.

    With OTHER (a dump, or plain arrays), the page says what differs, the first divergence on top. The page needs no
    network, and can be read without JavaScript. Prints the path of the file written; the exit status is no verdict.
    """
    if other is None and (rtol or atol or scale or allow_missing or map_file is not None):
        raise click.UsageError("--rtol, --atol, --scale, --allow-missing and --map compare: give OTHER")
    if output == Path("-"):
        raise click.UsageError("a page goes into a file: -o FILE.html")
    target = output or Path(f"{dump.stem}.report.html")
    with open_dump(dump):  # what cannot be read is told before an output that exists
        for path in (other, map_file):
            if path is not None:
                check_path(path, "file", DumpError)
    resolved = check_target(target, force, [path for path in (dump, other, map_file) if path is not None])
    refuse_other_ending(target, (".html", ".htm"), TfdumpError)
    criteria = Criteria(Tolerances(rtol, atol, scale))
    options = DiffOptions(
        criteria, allow_missing=allow_missing, renamed=read_map(map_file) if map_file is not None else {}
    )
    with reading_bars(settings) as watch:
        report = gather(dump, other, ReportOptions(read, pictures, layer, exclude, options), watch)
    note = notes(settings)
    for line in report.notes:
        note(line)
    if report.diff is not None:
        note(report.diff.summary)
    write_complete_file(page_of(report).encode(), resolved, force)
    write(f"{target}\n")
