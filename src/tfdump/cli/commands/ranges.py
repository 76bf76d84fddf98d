"""`tfdump ranges`."""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from tfdump.byte_sizes import parse_bytes, show_bytes
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.options import FileName, json_option, parsed, selection_options
from tfdump.cli.progress import notes, reading_bar
from tfdump.cli.render import json_list, say, write
from tfdump.cli.tables.losses_table import losses_json, losses_table, losses_verdict
from tfdump.cli.tables.ranges_table import ranges_in_full, ranges_on_terminal
from tfdump.cli.tensor_names import some_names
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.quantization.losses import DEFAULT_LIMIT, LossReport, quantization_losses
from tfdump.quantization.measuring import SHOWN
from tfdump.quantization.ranges import ALL, DEFAULT_MEMORY_OF_TENSOR, parse_show, ranges
from tfdump.quantization.records import RangesReport, TensorRange

EXAMPLES = (
    (
        "Tell what int8, float16 and other types would make of every layer.",
        "tfdump ranges digits_cnn.activations.h5",
    ),
    (
        "List scales and zero points of int8 for the convolutions.",
        "tfdump ranges digits_cnn.activations.h5 -l type:Conv2D --show int8",
    ),
    (
        "List what each layer of a quantized model loses against the float model.",
        "tfdump ranges golden.h5 new.h5",
    ),
)

_RANGES = option_under("Ranges")
_LOSSES = option_under("Losses of QUANTIZED")
_ONLY_OF_ONE = ("per_channel", "show", "bits", "percentile", "memory")
"""The parameters that tell about one dump."""


@click.command("ranges", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("dump", type=FileName())
@click.argument("quantized", required=False, type=FileName())
@selection_options("tensors")
@_RANGES("--per-channel", is_flag=True, help="Print one row per channel instead of one per tensor.")
@_RANGES(
    "--show",
    type=parsed("LIST", parse_show),
    help=f"Show only these: some of {', '.join(SHOWN)}, or all. [default: a summary on a terminal, else all]",
)
@_RANGES(
    "--bits",
    type=click.IntRange(1, 128),
    metavar="W",
    default=16,
    show_default=True,
    help="The width of fixed-point numbers, ap_fixed<W,I>.",
)
@_RANGES(
    "--percentile",
    type=float,
    metavar="P",
    default=99.99,
    show_default=True,
    help="Let integers by percentile reach from the percentile 100-P to P.",
)
@_RANGES(
    "--memory",
    type=parsed("SIZE", parse_bytes),
    default=show_bytes(DEFAULT_MEMORY_OF_TENSOR).replace(".0 ", ""),
    show_default=True,
    help="Read tensors of more bytes several times instead of holding them.",
)
@_LOSSES(
    "--min-sqnr",
    type=float,
    metavar="DB",
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Name layers below this ratio of signal to noise as those to keep in float.",
)
@json_option
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    dump: Path,
    quantized: Path | None,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    per_channel: bool,
    show: tuple[str, ...] | None,
    bits: int,
    percentile: float,
    memory: int,
    min_sqnr: float,
    json: bool,
) -> None:
    """Tell the ranges of tensors, and what int8 or fewer bits would cost.

    The table has percentiles, fixed-point types, scales and zero points of int8 and int16, and the
    signal-to-quantization-noise ratio in dB that these and narrower floats would leave. int8 and int16 are symmetric
    or asymmetric, and their range is all values (max), the range of --percentile, or that of the least mean squared
    error (mse).

    With QUANTIZED, a dump of the quantized model over the same inputs, list instead what each of its tensors has lost
    against DUMP, the greatest loss first, and name the layers that should stay in float.

    Exit status: 0 success, 2 an error.
    """
    verbosity: Verbosity = ctx.obj
    _check_options(ctx, quantized)
    if quantized is not None:
        with reading_bar(verbosity, "comparing") as progress:
            losses = quantization_losses(
                dump, quantized, min_sqnr=min_sqnr, layers=layer, exclude=exclude, depth=depth, progress=progress
            )
        _write_losses(losses, json, verbosity)
        return
    with reading_bar(verbosity, "reading") as progress:
        report = ranges(
            dump,
            layers=layer,
            exclude=exclude,
            depth=depth,
            per_channel=per_channel,
            show=show or ALL,
            bits=bits,
            percentile=percentile,
            memory=memory,
            progress=progress,
        )
    if json:
        write(_json(report))
    elif sys.stdout.isatty():
        write(ranges_on_terminal(report, show))
    else:
        write(ranges_in_full(report, show or SHOWN))
    note = notes(verbosity)
    for reason, names in _by_text(report.skipped):
        note(f"not measured, because {reason}: {some_names(names)}")
    for text, names in _by_text(report.notes):
        note(f"{some_names(names)}: {text}")


def _check_options(ctx: click.Context, quantized: Path | None) -> None:
    """Raise UsageError for an option that does not go with the number of dumps."""
    names = _ONLY_OF_ONE if quantized is not None else ("min_sqnr",)
    used = [name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if used:
        how = (
            "tells about one dump (leave QUANTIZED out" if quantized is not None else "needs QUANTIZED (give two dumps"
        )
        raise click.UsageError(f"--{used[0].replace('_', '-')} {how})")


def _write_losses(report: LossReport, json: bool, verbosity: Verbosity) -> None:
    write(losses_json(report) if json else losses_table(report, sys.stdout.isatty()))
    note = notes(verbosity)
    for text in report.notes:
        note(text)
    for reason, names in _by_text(report.skipped):
        note(f"not compared, because {reason}: {some_names(names)}")
    if not json and not verbosity.quiet:
        say(losses_verdict(report))


def _by_text(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, list[str]]]:
    """Return each text with the names of the tensors about which it is."""
    names: dict[str, list[str]] = {}
    for name, text in pairs:
        names.setdefault(text, []).append(name)
    return names.items()


def _json(report: RangesReport) -> str:
    return json_list(
        "ranges",
        [_record(one) for one in report.ranges],
        file=report.dump,
        bits=report.bits,
        percentile=report.percentile,
        skipped=[{"tensor": name, "reason": reason} for name, reason in report.skipped],
        notes=[{"tensor": name, "note": note} for name, note in report.notes],
    )


def _record(one: TensorRange) -> dict[str, Any]:
    record = asdict(one)
    if one.fixed_point is not None:
        record["fixed_point"]["type"] = one.fixed_point.type_name
    return record
