"""`tfdump check`."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from tfdump.checks import CHECKS, FAIL_ON, CheckReport, Finding, Thresholds, check
from tfdump.checks.records import parse_checks
from tfdump.cli.check_table import check_table
from tfdump.cli.junit import Case, junit
from tfdump.cli.options import FileName, chosen_format, parsed, selection_options, verdict_options
from tfdump.cli.progress import notes, reading_bar
from tfdump.cli.render import json_list, say, table, write
from tfdump.cli.settings import Settings, verbosity
from tfdump.cli.terminal import BOLD, GREEN, RED
from tfdump.cli.verify import verify as verify_dump

_HELP = {
    "dead_examples": "Call no unit dead that was tried on fewer examples.",
    "saturation_margin": "How near to its limit a sigmoid, tanh or softmax counts as saturated.",
    "saturation_share": "Share of saturated values from which on a tensor is reported.",
    "constant_tolerance": "How far examples may differ, as a share of the largest value of the first.",
    "underflow_share": "Share of the nonzero values that would be zero, from which on a tensor is reported.",
    "vanish_ratio": "A gradient vanishes below this share of the largest norm nearer to the loss.",
    "vanish_norm": "A gradient vanishes below this norm.",
    "explode_ratio": "A gradient explodes above so many times the norm nearest to the loss.",
    "explode_norm": "A gradient explodes above this norm.",
}
_COLUMNS = ("check", "tensor", "count", "of", "first example", "index", "value", "message")
_MOST_NAMED = 3

_FAILED = 1


def _thresholds(command: Any) -> Any:
    """Add an option for every threshold."""
    for field in reversed(fields(Thresholds)):
        option = click.option(
            f"--{field.name.replace('_', '-')}",
            type=click.IntRange(min=1) if field.name == "dead_examples" else float,
            metavar="N" if field.name == "dead_examples" else "F",
            default=field.default,
            show_default=True,
            help=_HELP[field.name],
        )
        command = option(command)
    return command


@click.command("check")
@click.argument("dump", type=FileName())
@click.option(
    "--fail-on",
    type=parsed("LIST", parse_checks),
    default=",".join(FAIL_ON),
    show_default=True,
    help=f"Checks that make the command fail: all, none, or some of {', '.join(CHECKS)}.",
)
@click.option("--verify", is_flag=True, help="Only compare the checksums of a dump that was made with --checksums.")
@selection_options("tensors")
@_thresholds
@click.option("-a", "--all", "every", is_flag=True, help="On a terminal: list what comes after the first NaN too.")
@verdict_options
@verbosity
@click.pass_obj
def command(
    settings: Settings,
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
    """Look for NaN, Inf, dead units, saturation, and gradients that vanish.

    Prints a row for each finding; on a terminal, the verdict and where NaN and Inf begin come first, and the tensors
    behind that are one line. Exit status: 1 when a check of --fail-on found something, else 0; 2 is trouble.
    """
    chosen = chosen_format(layout, json)
    if verify:
        if layer or exclude or depth is not None:
            raise click.UsageError("--verify reads the whole file (leave -l, -x and --depth out)")
        return 0 if verify_dump(dump, chosen, settings) else _FAILED
    with reading_bar(settings, "checking") as progress:
        report = check(
            dump, layers=layer, exclude=exclude, depth=depth, fail_on=fail_on, progress=progress, **thresholds
        )
    note = notes(settings)
    on_terminal = chosen == "table" and sys.stdout.isatty()
    if on_terminal:
        if not settings.quiet:
            say(_verdict(report), *((BOLD, RED) if report.failed else (GREEN,)))
            _say_origins(report)
        write(check_table(report, every))
    else:
        write(_RENDERED[chosen](report))
    for line in _skipped(report):
        note(line)
    if not on_terminal:
        note(_summary(report))
        if not settings.quiet:
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
    found = f"{len(report.findings)} finding{'' if len(report.findings) == 1 else 's'}"
    failing = f", {len(report.failures) or 'none'} of --fail-on {','.join(report.fail_on) or 'none'}"
    return f"{found}{failing if report.findings else ''}"


def _skipped(report: CheckReport) -> Iterator[str]:
    """Yield a line for each reason for which checks could not be made."""
    by_reason: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for skipped in report.skipped:
        checks, tensors = by_reason.setdefault(skipped.reason, ({}, {}))
        checks[skipped.check] = None
        tensors[skipped.tensor] = None
    told: set[str] = set()
    for reason, (checks, tensors) in by_reason.items():
        names = [name for name in CHECKS if name in checks]
        again = len(tensors) > 1 and told >= set(tensors)
        told = told if again else set(tensors)
        named = f"{len(tensors)} of these tensors" if again else _named(list(tensors))
        yield f"not checked, because {reason}: {', '.join(names)} of {named}"
    unread: dict[str, list[str]] = {}
    for tensor in report.tensors:
        if tensor.reason is not None:
            unread.setdefault(tensor.reason, []).append(tensor.tensor)
    for reason, names in unread.items():
        yield f"not checked, because {reason}: {_named(names)}"


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{len(names)} tensors ({shown}, ...)"


def _rows(report: CheckReport, aligned: bool) -> str:
    rows = [(f.check, f.tensor, f.count, f.of, f.example, _index(f), f.value, f.message) for f in report.findings]
    return table(_COLUMNS, rows, aligned)


def _index(finding: Finding) -> str | None:
    return None if finding.index is None else ",".join(map(str, finding.index))


def _json(report: CheckReport) -> str:
    return json_list(
        "check",
        [asdict(finding) for finding in report.findings],
        file=report.dump,
        failed=report.failed,
        fail_on=report.fail_on,
        thresholds=asdict(report.thresholds),
        origins=[asdict(origin) for origin in report.origins],
        tensors=[asdict(tensor) for tensor in report.tensors],
        skipped=[asdict(skipped) for skipped in report.skipped],
    )


def _junit(report: CheckReport) -> str:
    """Return a case for each tensor, which fails with its findings of the kinds that do."""
    failures: dict[str, list[Finding]] = {}
    for finding in report.failures:
        failures.setdefault(finding.tensor, []).append(finding)
    classes = {tensor.tensor: tensor.class_name for tensor in report.tensors}
    reasons = {tensor.tensor: tensor.reason for tensor in report.tensors}
    origins = {origin.tensor: origin.message for origin in reversed(report.origins)}
    cases = []
    for name in dict.fromkeys([*classes, *failures]):
        found = failures.get(name, [])
        if found:
            message = "; ".join(f"{finding.check}: {finding.message}" for finding in found)
            cases.append(Case(name, classes.get(name, ""), "failure", message, origins.get(name, "")))
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
