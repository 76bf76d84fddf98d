"""The table of `tfdump check` on a terminal: where NaN and Inf start, and one line for the tensors after them."""

from collections import Counter
from collections.abc import Sequence

from tfdump.checks import CheckReport, Finding
from tfdump.cli.aligned_table import Column, Styled
from tfdump.cli.render import Cell, one_cell, table
from tfdump.cli.tensor_names import PREFIX, common_group, tensor_column
from tfdump.cli.terminal import DIM, RED, YELLOW, stdout_terminal
from tfdump.cli.text_width import text_within, width

_COLUMNS = (
    Column("check"), tensor_column(), Column("count"), Column("of", 3), Column("example", 2),
    Column("example id", 4, shorten="middle"), Column("index", 1), Column("value", 0),
    Column("message", shorten="end"),
)  # fmt: skip
_WORDS = {"nan": "NaN", "inf": "Inf"}
_MOST_UNITS = 20


def check_table(report: CheckReport, every: bool) -> str:
    """Return the findings as a table, and below it one line for the tensors after the origins.

    With `every`, those tensors have rows in the table. Without findings the text is empty.
    """
    group = common_group(finding.tensor for finding in report.findings)
    later_names: dict[str, list[str]] = {}
    for finding in report.later:
        later_names.setdefault(finding.check, []).append(finding.tensor.removeprefix(group).removeprefix(PREFIX))
    if every:
        later_names = {}
    hidden = {check for check, names in later_names.items() if len(names) > 1}
    later = set(map(id, report.later))
    listed = [finding for finding in report.findings if not (finding.check in hidden and id(finding) in later)]
    if not listed:
        return ""
    rows = [_row(finding, group, finding.check in report.fail_on) for finding in listed]
    filled = [i for i in range(len(_COLUMNS)) if any(row[i] not in (None, "") for row in rows)]
    text = table([_COLUMNS[i] for i in filled], [[row[i] for i in filled] for row in rows], aligned=True)
    starts = Counter(origin.check for origin in report.origins)
    lines = (_line(check, later_names[check], starts[check]) for check in later_names if check in hidden)
    return text + "".join(lines)


def _row(finding: Finding, group: str, fails: bool) -> tuple[Cell, ...]:
    """Return the cells of a finding; the value is empty where the name of the check implies it."""
    return (
        Styled(finding.check, RED if fails else YELLOW),
        finding.tensor.removeprefix(group),
        finding.count,
        finding.of,
        finding.example,
        finding.example_id,
        None if finding.index is None else ",".join(map(str, finding.index)),
        None if finding.check in ("nan", "dead") else finding.value,
        _message(finding),
    )


def _message(finding: Finding) -> str:
    """Return the part of the message that no other column shows."""
    if finding.check == "dead":
        if len(finding.units) == finding.of:
            return "all units"
        more = ", ..." if len(finding.units) > _MOST_UNITS else ""
        return f"unit{'s'[: len(finding.units) != 1]} {', '.join(map(str, finding.units[:_MOST_UNITS]))}{more}"
    text = finding.message.removeprefix(f"{finding.count} of {finding.of} ")
    return "" if text in ("values are NaN", "values are infinite") else text


def _line(check: str, names: Sequence[str], origins: int) -> str:
    """Return the line that names the tensors after the origins of a check."""
    terminal = stdout_terminal()
    after = "it" if origins == 1 else "them"
    text, remedy = f"{len(names)} more have {_WORDS[check]} after {after}: ", " (--all lists them)"
    room = (terminal.columns or 80) - width(text + remedy)
    listed = text_within(one_cell(", ".join(names)), max(1, room), terminal.ellipsis, middle=False)
    return terminal.styled(f"{text}{listed}{remedy}", DIM) + "\n"
