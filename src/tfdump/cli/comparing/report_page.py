"""The file of a report page: what may be its name, and writing it."""

from collections.abc import Sequence
from pathlib import Path

from tfdump.dump.target import check_target, write_complete_file
from tfdump.errors import TfdumpError
from tfdump.files.paths import refuse_other_ending
from tfdump.report.page import page_of
from tfdump.report.records import Report

_ENDINGS = (".html", ".htm")


def check_page(target: Path, force: bool, sources: Sequence[Path]) -> Path:
    """Return the file of a page, with links resolved; raises TfdumpError where it cannot be written."""
    resolved = check_target(target, force, sources)
    refuse_other_ending(target, _ENDINGS, TfdumpError)
    if target.suffix and target.suffix.lower() not in _ENDINGS:
        raise TfdumpError(f"'{target.name}' is not the name of a web page (end it in {', '.join(_ENDINGS)})")
    return resolved


def write_page(report: Report, resolved: Path, force: bool) -> None:
    """Write the page of a report."""
    write_complete_file(page_of(report).encode(), resolved, force)
