"""`tfdump show`."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from tfdump.cli.options import FileName, json_option
from tfdump.cli.progress import notes
from tfdump.cli.render import Cell, json_list, shape_text, table, write
from tfdump.cli.settings import Settings, verbosity
from tfdump.cli.show_series import show_series
from tfdump.dump.reader import Dump, Tensor, open_dump

_STATISTICS = ("min", "max", "mean", "std", "l2", "nan", "inf", "zero")


@click.command("show")
@click.argument("dump", type=FileName())
@click.argument("addresses", metavar="[ADDRESS...]", nargs=-1)
@click.option("--provenance", is_flag=True, help="Print what made the file, and no tensors.")
@json_option
@verbosity
@click.pass_context
def command(ctx: click.Context, dump: Path, addresses: tuple[str, ...], provenance: bool, json: bool) -> None:
    """Show what a dump holds, or what a folder of dumps does.

    On a terminal: what made the file, its tensors with their statistics, and what was not captured. In a pipe:
    the tensors as TSV, or with --provenance what made the file.

    Of a folder: its dumps in the order of training, or with ADDRESS that tensor in each of them.
    """
    if os.path.isdir(dump):
        if provenance:
            raise click.UsageError("--provenance is about one dump, and this is a folder (give a file in it)", ctx)
        show_series(dump, addresses, json, notes(ctx.ensure_object(Settings)))
        return
    if addresses:
        raise click.UsageError("ADDRESS follows a tensor through a folder of dumps, and this is one file", ctx)
    with open_dump(dump) as opened:
        if json:
            write(_json(opened))
            return
        if provenance or sys.stdout.isatty():
            write(
                table(
                    ("attribute", "value"),
                    [(name, str(value)) for name, value in (_provenance(opened) | _loss_text(opened)).items()],
                )
            )
        if provenance:
            return
        if sys.stdout.isatty():
            write("\n")
        write(_tensor_table(opened))
        if sys.stdout.isatty() and opened.not_captured:
            write("\n" + table(("not captured", "reason"), [(m.address, m.reason) for m in opened.not_captured]))


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


def _tensor_table(dump: Dump) -> str:
    tensors = list(dump.tensors())
    statistics = [name for name in _STATISTICS if any(name in (t.statistics or {}) for t in tensors)]
    norm = ["norm"] if any(tensor.norm is not None for tensor in tensors) else []
    rows = [
        (
            f"{tensor.group}/{tensor.address}",
            str(tensor.attributes.get("class", "")),
            shape_text(tensor.shape) if tensor.connected else "not connected",
            _dtype(tensor),
            *(_norm(tensor) for _ in norm),
            *((tensor.statistics or {}).get(name) for name in statistics),
        )
        for tensor in tensors
    ]
    return table(("tensor", "class", "shape", "dtype", *norm, *statistics), rows)


def _norm(tensor: Tensor) -> Cell:
    """Return the norm; where there is one a step, the first and the last, shortened on a terminal only."""
    norm = tensor.norm
    if not isinstance(norm, list):
        return norm
    shown = [f"{value:.5g}" if sys.stdout.isatty() else repr(value) for value in norm]
    return f"{shown[0]} .. {shown[-1]}" if shown else None


def _dtype(tensor: Tensor) -> str:
    return tensor.dtype if tensor.stored_dtype == tensor.dtype else f"{tensor.dtype} as {tensor.stored_dtype}"


def _json(dump: Dump) -> str:
    items = [
        {
            "group": tensor.group,
            **{name: value for name, value in tensor.attributes.items() if not name.startswith("stat_")},
            "shape": list(tensor.shape),
            "declared_shape": tensor.attributes.get("shape"),
            **({} if tensor.connected else {"connected": False}),
            "statistics": tensor.statistics,
        }
        for tensor in dump.tensors()
    ]
    missing = [{"address": item.address, "reason": item.reason} for item in dump.not_captured]
    provenance, loss = _provenance(dump), dump.loss
    if loss is not None:
        provenance["loss_values"] = loss.reshape(-1).tolist()
    return json_list("dump", items, file=dump.name, provenance=provenance, not_captured=missing)
