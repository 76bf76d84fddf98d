"""`tfdump show FOLDER`: the dumps of a training in order, or single tensors in each of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfdump.cli.aligned_table import Column
from tfdump.cli.render import json_list, shape_cell, table, write
from tfdump.cli.tensor_names import tensor_column
from tfdump.dump.attributes import STATISTIC_NAMES
from tfdump.dump.series import NUMBER, Series, SeriesDump, open_series
from tfdump.statistics.series import SeriesEntry, follow, single_loss
from tfdump.tensors import Note

_FEW = 5
_PLACE = ("number", "epoch", "batch")
_STATISTICS = STATISTIC_NAMES[1:]
_DROPPED = (
    "l2", "kind", "dtype", "examples", "std", "bytes", "zero", "tensors", "mean", "shape", "batch", "inf", "nan",
    "min", "max", "norm", "loss", "epoch", "number",
)  # fmt: skip
"""The columns that a narrow terminal leaves out, the least important first."""
_NAMES = {
    "dump": Column("dump", shorten="middle"),
    "tensor": replace(tensor_column(), dropped=len(_DROPPED)),  # it is mostly the same in every row
}


def show_series(folder: Path, addresses: Sequence[str], json: bool, note: Note) -> None:
    """List the dumps of a folder, or tensors in each of them; raises DumpError where there are none."""
    series = open_series(folder)
    for skipped in series.skipped:
        note(f"skipped: {skipped.reason}")
    if addresses:
        _follow(series, addresses, json, note)
    else:
        _list(series, json)


def _list(series: Series, json: bool) -> None:
    """Print one row per dump."""
    items = []
    for place in series.dumps:
        with place.open() as dump:
            loss, tensors = dump.loss, len(dump)
            examples = dump.attributes.get("examples")
        items.append(_place(place) | {"loss": single_loss(loss), "tensors": tensors, "examples": examples})
        items[-1]["bytes"] = place.bytes
    if json:
        write(json_list("series", items, folder=str(series.folder), axis=series.axis))
        return
    write(_table(("dump", *_PLACE, "kind", "loss", "tensors", "examples", "bytes"), items, series))


def _follow(series: Series, addresses: Sequence[str], json: bool, note: Note) -> None:
    """Print one row per tensor and dump."""
    items = []
    for address in dict.fromkeys(addresses):
        followed = follow(series, address)
        if followed.without:
            names = [place.path.name for place in followed.without]
            listed = ", ".join([*names[:_FEW], *(["..."] if len(names) > _FEW else [])])
            note(f"{followed.name} is not in {len(names)} of {len(names) + len(followed.places)} dumps: {listed}")
        items += [_followed(followed.name, row, json) for row in followed.places]
    if json:
        write(json_list("followed", items, folder=str(series.folder), axis=series.axis))
        return
    write(_table(("tensor", "dump", *_PLACE, "loss", "shape", "dtype", "norm", *_STATISTICS), items, series))


def _place(place: SeriesDump) -> dict[str, Any]:
    return {
        "dump": place.path.name,
        "number": place.number,
        "kind": place.kind,
        "epoch": place.epoch,
        "batch": place.batch,
    }


def _followed(name: str, followed: SeriesEntry, json: bool) -> dict[str, Any]:
    """Return a row; in a table the statistics are separate columns, and shapes are text."""
    statistics = followed.statistics
    shape = shape_cell(followed.shape) if followed.connected else "not connected"
    return {
        "tensor": name,
        **_place(followed.dump),
        "loss": followed.loss,
        "shape": list(followed.shape) if json else shape,
        "dtype": followed.dtype,
        **({} if followed.connected else {"connected": False}),
        "norm": followed.norm,
        **({"statistics": statistics} if json else {name: (statistics or {}).get(name) for name in _STATISTICS}),
    }


def _table(columns: Sequence[str], items: Sequence[dict[str, Any]], series: Series) -> str:
    """Return the rows as a table, with the columns that at least one dump fills."""
    names = [
        name
        for name in columns
        if any(item.get(name) is not None for item in items) and (name != "number" or series.axis == NUMBER)
    ]
    described = [_NAMES.get(name) or Column(name, _DROPPED.index(name)) for name in names]
    return table(described, [[item.get(name) for name in names] for item in items])
