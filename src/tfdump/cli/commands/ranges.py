"""`tfdump ranges`."""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tfdump.byte_sizes import parse_bytes, show_bytes
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.options import FileName, json_option, parsed, selection_options
from tfdump.cli.progress import notes, reading_bar
from tfdump.cli.render import json_list, write
from tfdump.cli.tables.ranges_table import ranges_in_full, ranges_on_terminal
from tfdump.cli.tensor_names import some_names
from tfdump.cli.verbosity import Verbosity, verbosity_options
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
        "List the percentiles of every channel of one layer.",
        "tfdump ranges digits_cnn.activations.h5 -l conv1 --per-channel --show range",
    ),
)

_RANGES = option_under("Ranges")


@click.command("ranges", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("dump", type=FileName())
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
@json_option
@verbosity_options
@click.pass_obj
def command(
    verbosity: Verbosity,
    /,
    dump: Path,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    per_channel: bool,
    show: tuple[str, ...] | None,
    bits: int,
    percentile: float,
    memory: int,
    json: bool,
) -> None:
    """Tell the ranges of tensors, and what int8 or fewer bits would cost.

    Percentiles, fixed-point types, scales and zero points of int8 and int16, and the signal-to-quantization-noise
    ratio in dB that they and narrower floats would leave. int8 and int16 are symmetric or asymmetric, and their range
    is all values (max), the range of --percentile, or that of the least mean squared error (mse).

    Exit status: 0 success, 2 an error.
    """
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
