"""Writes the report of a comparison: the table or document on stdout, the notes and the verdict on stderr."""

from dataclasses import dataclass
from typing import Any

from tfdump.cli.diff_rendering import diff_json, diff_junit, diff_table, further_columns
from tfdump.cli.options import verdict_format
from tfdump.cli.render import say, write
from tfdump.cli.terminal import stderr_terminal
from tfdump.cli.text_width import lines_of, width
from tfdump.cli.verbosity import Verbosity
from tfdump.comparison.verdict import DiffReport

_AGREE, _DIFFERENT = 0, 1
"""The exit statuses."""

_INDENT, _NARROW = "  ", 24
"""The indentation of the clauses of a verdict of several lines, and the least columns of a clause."""


@dataclass(frozen=True)
class ComparisonOutput:
    """How the report of a command is written; `every` lists the tensors that agree too."""

    command: str
    layout: str
    every: bool
    with_cosine: bool


def comparison_output_from(parameters: dict[str, Any], command: str) -> ComparisonOutput:
    """Return the parameters of the output, and remove them; raises UsageError for formats that exclude each other."""
    take = parameters.pop
    layout = verdict_format(take("layout"), take("json"))
    return ComparisonOutput(command, layout, take("every"), parameters["min_cosine"] is not None)


def write_comparison(report: DiffReport, output: ComparisonOutput, verbosity: Verbosity) -> int:
    """Write the report, and return the exit status."""
    if not verbosity.quiet:
        for note in report.notes:
            say(f"Note: {note}")
    if output.layout == "json":
        write(diff_json(report, output.command))
    elif output.layout == "junit":
        write(diff_junit(report, output.command))
    else:
        tensors = [tensor for tensor in report.tensors if output.every or tensor.fails]
        if tensors or output.layout == "tsv":
            write(diff_table(tensors, output.layout == "table", further_columns(report, output.with_cosine)))
        if not (report.same and verbosity.quiet):
            _say_verdict(report)
            if report.blame:
                say(report.blame)
    return _AGREE if report.same else _DIFFERENT


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
