"""`tfdump layers`."""

from pathlib import Path

import click

from tfdump.address import Selection
from tfdump.cli.fitting import Column
from tfdump.cli.load_model import load
from tfdump.cli.options import InputName, capture_options, json_option, model_options, selection_options, take_captures
from tfdump.cli.progress import notes, stages
from tfdump.cli.render import json_list, only_data_on_stdout, shape_text, table, write
from tfdump.cli.settings import Settings, verbosity
from tfdump.inputs.arguments import open_arguments
from tfdump.run.layers import ListedTensor, Listing, list_tensors

COLUMNS = (
    Column("address", shorten="middle"),
    Column("class", 2),
    "shape",
    Column("dtype", 0),
    Column("parameters", 3),
    Column("bytes/example", 1),
)


@click.command("layers")
@model_options
@click.argument("inputs", nargs=-1, type=InputName(), metavar="[INPUT]...")
@selection_options()
@capture_options
@json_option
@verbosity
@click.pass_obj
def command(
    settings: Settings,
    /,
    model: Path,
    inputs: tuple[str, ...],
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    imports: tuple[Path, ...],
    trust_model: bool,
    signature: str | None,
    max_bytes: int | None,
    json: bool,
    **captures: bool,
) -> None:
    """List the address of every tensor that a model gives.

    Rows are in the order of execution: address, class, output shape (? is open), dtype, parameters of the layer,
    and bytes an example. INPUT is needed only for a model that does not declare its shapes.
    """
    selection = Selection(layer, exclude, depth)
    given = open_arguments(inputs)
    with only_data_on_stdout(), stages(settings) as stage:
        loaded = load(model, imports, trust_model, settings, signature=signature, max_bytes=max_bytes, stage=stage)
        listing = list_tensors(loaded, given, selection, notes(settings), take_captures(captures), stage)
    if json:
        write(_json(listing))
        return
    write(table(COLUMNS, (_row(tensor) for tensor in listing.tensors)))
    from tfdump.run.output import tell_not_captured

    tell_not_captured(listing.not_captured, notes(settings))


def _row(tensor: ListedTensor) -> tuple[str | int | None, ...]:
    return (
        tensor.address,
        tensor.class_name,
        shape_text(tensor.shape),
        tensor.dtype,
        tensor.parameters,
        tensor.example_bytes,
    )


def _json(listing: Listing) -> str:
    items = [
        {
            "address": tensor.address,
            "class": tensor.class_name,
            "shape": None if tensor.shape is None else [None if size == -1 else size for size in tensor.shape],
            "dtype": tensor.dtype,
            "parameters": tensor.parameters,
            "bytes_per_example": tensor.example_bytes,
            "inputs": None if tensor.inputs is None else list(tensor.inputs),
        }
        for tensor in listing.tensors
    ]
    missing = [{"address": item.address, "reason": item.reason} for item in listing.not_captured]
    return json_list("layers", items, not_captured=missing)
