"""`tfdump show`."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from tfdump.address import Selection
from tfdump.cli.aligned_table import Column
from tfdump.cli.completion import Address
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.options import FileName, json_option, selection_options, slice_option
from tfdump.cli.progress import notes, reading_bar
from tfdump.cli.render import Cell, json_list, shape_cell, table, write
from tfdump.cli.tensor_names import tensor_column, without_group
from tfdump.cli.tensor_text import dtype_text, item_of
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.dump.attributes import STATISTIC_NAMES
from tfdump.dump.examples import StoredExamples, described
from tfdump.dump.reader import Dump, Tensor, open_dump
from tfdump.dump.selection import choose, find
from tfdump.dump.shards.manifest import is_shard_folder
from tfdump.dump.slicing import Slicing
from tfdump.process.stages import Meter

_STATISTICS = STATISTIC_NAMES[1:]
_DROPPED = ("l2", "class", "dtype", "std", "zero", "mean", "shape", "inf", "nan", "min", "max", "norm")
"""The columns that a narrow terminal leaves out, the least important first."""


@dataclass(frozen=True)
class _Row:
    """A tensor and its statistics, stored in the dump or `computed` from its values."""

    tensor: Tensor
    statistics: dict[str, Any] | None
    computed: bool


EXAMPLES = (
    (
        "List the tensors of a dump, and compute their statistics.",
        "tfdump show digits_cnn.activations.h5 --stats",
    ),
    (
        "Print the output of the layer hidden for the first five examples.",
        "tfdump show digits_cnn.activations.h5 hidden --slice 0:5",
    ),
    (
        "Print how the dump was made.",
        "tfdump show digits_cnn.activations.h5 --provenance",
    ),
)

_TABLE = option_under("Table")


@click.command("show", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("dump", type=FileName())
@click.argument("addresses", nargs=-1, type=Address(), metavar="[ADDRESS]...")
@slice_option
@_TABLE("--stats", is_flag=True, help="Compute the statistics that the dump does not hold, from its values.")
@selection_options("tensors of the table")
@_TABLE("--provenance", is_flag=True, help="Print how the dump was made, and no tensors.")
@json_option
@verbosity_options
@click.pass_obj
def command(
    verbosity: Verbosity,
    /,
    dump: Path,
    addresses: tuple[str, ...],
    slicing: Slicing | None,
    stats: bool,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    provenance: bool,
    json: bool,
) -> None:
    """Show the tensors of a dump or a folder of dumps, or their values.

    Without ADDRESS, the command lists the tensors. On a terminal it adds what was not captured and how the dump was
    made; in a pipe it prints TSV.

    With ADDRESS (or a glob, 'conv*'), the command prints values. On a terminal it adds the attributes of the tensor
    and shortens the values; in a pipe it prints every value as TSV: tensor, index, value, and the name of the example
    where the dump has names.

    For a folder, the command lists the dumps in the order of training, or with ADDRESS that tensor in each dump.
    """
    selects = layer or exclude or depth
    if addresses and (selects or stats or provenance):
        raise click.UsageError("-l, -x, --depth, --stats and --provenance belong to the table (leave ADDRESS out)")
    if slicing is not None and not addresses:
        raise click.UsageError("--slice needs the ADDRESS of a tensor")
    if dump.is_dir() and not is_shard_folder(dump):
        if selects or stats or provenance or slicing is not None:
            raise click.UsageError(
                "-l, -x, --depth, --stats, --provenance and --slice need one dump, and this is a folder "
                "(give a file in it)"
            )
        from tfdump.cli.show_series import show_series

        show_series(dump, addresses, json, notes(verbosity))
        return
    selection = Selection(layer, exclude, depth)
    with open_dump(dump) as opened:
        if addresses:
            from tfdump.cli.show_values import show_values

            show_values(opened, find(opened, addresses), slicing, json, notes(verbosity))
        elif provenance and not json:
            write(_provenance_table(opened))
        else:
            tensors = choose(opened, selection) if selects else list(opened.tensors())
            _show_table(opened, _rows(tensors, stats, verbosity), json)


def _rows(tensors: list[Tensor], stats: bool, verbosity: Verbosity) -> list[_Row]:
    rows = []
    with reading_bar(verbosity, "reading") as progress:
        meter = Meter(sum(tensor.about_values for tensor in tensors), progress)
        for tensor in tensors:
            meter.add(0)
            rows.append(_row(tensor, stats))
            meter.add(tensor.about_values)
    return rows


def _show_table(opened: Dump, rows: list[_Row], json: bool) -> None:
    if json:
        write(_json(opened, rows))
        return
    write(_tensor_table(rows))
    if not sys.stdout.isatty():
        return
    if opened.not_captured:
        columns = (Column("not captured", shorten="middle"), Column("reason", shorten="wrap"))
        write("\n" + table(columns, [(missing.address, missing.reason) for missing in opened.not_captured]))
    write("\n" + _provenance_table(opened))
    if any(row.statistics is None and _has_statistics(row.tensor) for row in rows):
        write("\n(statistics: --stats; values: tfdump show DUMP ADDRESS)\n")


def _has_statistics(tensor: Tensor) -> bool:
    """Return whether a tensor has values to compute statistics of."""
    return not tensor.without_values and tensor.dtype != "string"


def _row(tensor: Tensor, stats: bool) -> _Row:
    if not stats or tensor.statistics is not None or not _has_statistics(tensor):
        return _Row(tensor, tensor.statistics, False)
    from tfdump.statistics.statistics import statistics_of

    return _Row(tensor, asdict(statistics_of(tensor.parts())), True)


def _provenance_table(opened: Dump) -> str:
    facts = _provenance(opened) | _loss_text(opened) | described(opened.examples)
    rows = [(name, str(value)) for name, value in facts.items()]
    return table(("attribute", Column("value", shorten="wrap")), rows)


def _provenance(dump: Dump) -> dict[str, Any]:
    return {name: value for name, value in dump.attributes.items() if name != "not_captured"}


def _loss_text(dump: Dump) -> dict[str, str]:
    """Return the row of the loss, where the dump has one."""
    loss = dump.loss
    if loss is None:
        return {}
    values = loss.reshape(-1).tolist()
    if len(values) > 1:
        return {"loss_value": f"{len(values)} values, {values[0]} .. {values[-1]}"}
    return {"loss_value": str(values[0]) if values else "0 values"}


def _tensor_table(tensors: list[_Row]) -> str:
    statistics = [name for name in _STATISTICS if any(name in (row.statistics or {}) for row in tensors)]
    norm = ["norm"] if any(row.tensor.norm is not None for row in tensors) else []
    names = [f"{row.tensor.group}/{row.tensor.address}" for row in tensors]
    if sys.stdout.isatty():
        names = without_group(names)
    rows = [
        (
            name,
            str(row.tensor.attributes.get("class", "")),
            shape_cell(row.tensor.shape) if row.tensor.connected else "not connected",
            dtype_text(row.tensor),
            *(_norm(row.tensor) for _ in norm),
            *((row.statistics or {}).get(name) for name in statistics),
        )
        for name, row in zip(names, tensors, strict=True)
    ]
    others = (Column(name, _DROPPED.index(name)) for name in ("class", "shape", "dtype", *norm, *statistics))
    return table((tensor_column(), *others), rows)


def _norm(tensor: Tensor) -> Cell:
    """Return the norm; of one norm per step, the first and the last, shortened on a terminal only."""
    norm = tensor.norm
    if not isinstance(norm, list):
        return norm
    texts = [f"{value:.5g}" if sys.stdout.isatty() else repr(value) for value in norm]
    return f"{texts[0]} .. {texts[-1]}" if texts else None


def _json(dump: Dump, rows: list[_Row]) -> str:
    items = [
        item_of(row.tensor)
        | {"statistics": row.statistics, **({"statistics_of": "stored values"} if row.computed else {})}
        for row in rows
    ]
    missing = [{"address": item.address, "reason": item.reason} for item in dump.not_captured]
    provenance, loss = _provenance(dump), dump.loss
    if loss is not None:
        provenance["loss_values"] = loss.reshape(-1).tolist()
    named = _examples(dump.examples)
    return json_list("dump", items, file=dump.name, provenance=provenance, **named, not_captured=missing)


def _examples(examples: StoredExamples | None) -> dict[str, Any]:
    """Return who the examples are, for JSON; nothing where they have no names."""
    if examples is None:
        return {}
    ends = {"first": 0, "last": len(examples) - 1} if len(examples) else {}
    classes = [{"label": label, "name": name, "examples": count} for label, name, count in examples.class_counts]
    names = {place: examples.name(row) for place, row in ends.items()}
    return {"examples": {"ids": len(examples), **names, "classes": classes}}
