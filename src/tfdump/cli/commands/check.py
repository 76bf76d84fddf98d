"""`tfdump check`."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from tfdump.checks import CHECKS, FAIL_ON, CheckReport, Finding, Thresholds, check
from tfdump.checks.records import parse_checks
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.junit import Case, junit
from tfdump.cli.options import OUTPUT, FileName, parsed, selection_options, verdict_format, verdict_options
from tfdump.cli.progress import notes, reading_bar
from tfdump.cli.render import json_list, say, table, without_missing_id, write
from tfdump.cli.tables.check_table import check_table
from tfdump.cli.tensor_names import some_names
from tfdump.cli.terminal import BOLD, GREEN, RED
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.cli.verify import print_verification

_HELP = {
    "dead_examples": "Report dead units only where a dump has at least this many examples.",
    "saturation_margin": "Count a sigmoid, tanh or softmax as saturated within this distance of its limit.",
    "saturation_share": "Report a tensor when at least this share of its values is saturated.",
    "constant_tolerance": "Let examples differ by this share of the largest value of the first.",
    "underflow_share": "Report a tensor when at least this share of its nonzero values would become zero.",
    "vanish_ratio": "Report gradients below this share of the largest norm nearer to the loss.",
    "vanish_norm": "Report gradients below this norm as vanishing.",
    "explode_ratio": "Report gradients above this multiple of the norm nearest to the loss.",
    "explode_norm": "Report gradients above this norm as exploding.",
}
_COLUMNS = ("check", "tensor", "count", "of", "first example", "index", "value", "message")

_FAILED = 1


def _thresholds(command: Any) -> Any:
    """Add one option per threshold."""
    for field in reversed(fields(Thresholds)):
        option = option_under("Thresholds")(
            f"--{field.name.replace('_', '-')}",
            type=click.IntRange(min=1) if field.name == "dead_examples" else float,
            metavar="N" if field.name == "dead_examples" else "F",
            default=field.default,
            show_default=True,
            help=_HELP[field.name],
        )
        command = option(command)
    return command


EXAMPLES = (
    (
        "Look for NaN, Inf, dead units and saturation.",
        "tfdump check digits_cnn.activations.h5",
    ),
    (
        "Report only gradients that vanish or explode, and fail on them.",
        "tfdump check digits_cnn.gradients.h5 --fail-on vanishing,exploding",
    ),
    (
        "Print the verdict as JUnit XML, which CI servers read.",
        "tfdump check digits_cnn.activations.h5 --format junit",
    ),
)

_CHECKS = option_under("Checks")


@click.command("check", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("dump", type=FileName())
@_CHECKS(
    "--fail-on",
    type=parsed("LIST", parse_checks),
    default=",".join(FAIL_ON),
    show_default=True,
    help=f"Fail on these checks: all, none, or some of {', '.join(CHECKS)}.",
)
@_CHECKS("--verify", is_flag=True, help="Only verify the checksums of a dump made with --checksums.")
@selection_options("tensors")
@_thresholds
@OUTPUT(
    "-a",
    "--all",
    "every",
    is_flag=True,
    help="Also list, on a terminal, the tensors after those where NaN and Inf start.",
)
@verdict_options
@verbosity_options
@click.pass_obj
def command(
    verbosity: Verbosity,
    /,
    dump: Path,
    fail_on: tuple[str, ...],
    verify: bool,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    every: bool,
    layout: str | None,
    json: bool,
    **thresholds: float,
) -> int:
    """Look for NaN, Inf, dead units, saturation, and vanishing gradients.

    The command prints one row per finding. On a terminal, the verdict and the tensors where NaN and Inf start come
    first, and the tensors after them share one line.

    Exit status: 0 no finding of --fail-on, 1 such a finding, 2 an error.
    """
    verdict_layout = verdict_format(layout, json)
    if verify:
        if layer or exclude or depth is not None:
            raise click.UsageError("--verify reads the whole file (leave -l, -x and --depth out)")
        return 0 if print_verification(dump, verdict_layout, verbosity) else _FAILED
    with reading_bar(verbosity, "checking") as progress:
        report = check(
            dump, layers=layer, exclude=exclude, depth=depth, fail_on=fail_on, progress=progress, **thresholds
        )
    note = notes(verbosity)
    on_terminal = verdict_layout == "table" and sys.stdout.isatty()
    if on_terminal:
        if not verbosity.quiet:
            say(_verdict(report), *((BOLD, RED) if report.failed else (GREEN,)))
            _say_origins(report)
        write(check_table(report, every))
    else:
        write(_RENDERED[verdict_layout](report))
    for line in _skipped(report):
        note(line)
    if not on_terminal:
        note(_summary(report))
        if not verbosity.quiet:
            _say_origins(report)
    return _FAILED if report.failed else 0


def _say_origins(report: CheckReport) -> None:
    for origin in report.origins:
        if origin.check in report.fail_on:
            say(origin.message, BOLD)


def _verdict(report: CheckReport) -> str:
    return f"{report.dump} {'fails' if report.failed else 'passes'}: {_counted(report)} in {_looked_at(report)}"


def _summary(report: CheckReport) -> str:
    return f"checked {_looked_at(report)}: {_counted(report)}"


def _looked_at(report: CheckReport) -> str:
    return f"{sum(tensor.reason is None for tensor in report.tensors)} of {len(report.tensors)} tensors"


def _counted(report: CheckReport) -> str:
    findings = f"{len(report.findings)} finding{'' if len(report.findings) == 1 else 's'}"
    failing = f", {len(report.failures) or 'none'} of --fail-on {','.join(report.fail_on) or 'none'}"
    return f"{findings}{failing if report.findings else ''}"


def _skipped(report: CheckReport) -> Iterator[str]:
    """Yield one line per reason for which checks were skipped."""
    by_reason: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for skipped in report.skipped:
        checks, tensors = by_reason.setdefault(skipped.reason, ({}, {}))
        checks[skipped.check] = None
        tensors[skipped.tensor] = None
    named_before: set[str] = set()
    for reason, (checks, tensors) in by_reason.items():
        names = [name for name in CHECKS if name in checks]
        is_same = len(tensors) > 1 and named_before >= set(tensors)
        named_before = named_before if is_same else set(tensors)
        named = f"{len(tensors)} of these tensors" if is_same else some_names(list(tensors))
        yield f"not checked, because {reason}: {', '.join(names)} of {named}"
    unread: dict[str, list[str]] = {}
    for tensor in report.tensors:
        if tensor.reason is not None:
            unread.setdefault(tensor.reason, []).append(tensor.tensor)
    for reason, names in unread.items():
        yield f"not checked, because {reason}: {some_names(names)}"


def _rows(report: CheckReport, aligned: bool) -> str:
    """Return one line per finding; the names of examples come last, so that the other columns keep their places."""
    rows = [
        (f.check, f.tensor, f.count, f.of, f.example, _index(f), f.value, f.message, f.example_id)
        for f in report.findings
    ]
    if any(finding.example_id is not None for finding in report.findings):
        return table((*_COLUMNS, "example id"), rows, aligned)
    return table(_COLUMNS, [row[:-1] for row in rows], aligned)


def _index(finding: Finding) -> str | None:
    return None if finding.index is None else ",".join(map(str, finding.index))


def _json(report: CheckReport) -> str:
    return json_list(
        "check",
        [without_missing_id(asdict(finding)) for finding in report.findings],
        file=report.dump,
        failed=report.failed,
        fail_on=report.fail_on,
        thresholds=asdict(report.thresholds),
        origins=[without_missing_id(asdict(origin)) for origin in report.origins],
        tensors=[asdict(tensor) for tensor in report.tensors],
        skipped=[asdict(skipped) for skipped in report.skipped],
    )


def _junit(report: CheckReport) -> str:
    """Return one test case per tensor, which fails with those of its findings that --fail-on names."""
    failures: dict[str, list[Finding]] = {}
    for finding in report.failures:
        failures.setdefault(finding.tensor, []).append(finding)
    classes = {tensor.tensor: tensor.class_name for tensor in report.tensors}
    reasons = {tensor.tensor: tensor.reason for tensor in report.tensors}
    origins: dict[str, list[str]] = {}
    for origin in report.origins:
        origins.setdefault(origin.tensor, []).append(origin.message)
    cases = []
    for name in dict.fromkeys([*classes, *failures]):
        findings = failures.get(name, [])
        if findings:
            message = "; ".join(f"{finding.check}: {finding.message}" for finding in findings)
            cases.append(Case(name, classes.get(name, ""), "failure", message, "\n".join(origins.get(name, []))))
        elif reasons[name] is not None:
            cases.append(Case(name, classes[name], "skipped", reasons[name] or ""))
        else:
            cases.append(Case(name, classes[name]))
    return junit(report.dump, cases)


_RENDERED = {
    "table": lambda report: _rows(report, aligned=True),
    "tsv": lambda report: _rows(report, aligned=False),
    "json": _json,
    "junit": _junit,
}
