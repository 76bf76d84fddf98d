"""`tfdump layers`."""

from typing import Any

import click

from tfdump.cli.aligned_table import Column
from tfdump.cli.help_page import DocumentedCommand
from tfdump.cli.load_model import load
from tfdump.cli.model_options import backend_options, capture_options, like_option, model_options
from tfdump.cli.options import InputName, json_option, selection_options
from tfdump.cli.parameter_records import captures_from, loading_options_from, selection_from
from tfdump.cli.progress import notes, stages
from tfdump.cli.reading.data_options import image_size_option
from tfdump.cli.render import json_list, only_data_on_stdout, shape_cell, table, write
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.model.data_libraries import LIBRARIES
from tfdump.run.layers import ListedTensor, Listing, list_tensors

COLUMNS = (
    Column("address", shorten="middle"),
    Column("class", 2),
    "shape",
    Column("dtype", 0),
    Column("parameters", 3),
    Column("bytes/example", 1),
)


EXAMPLES = (
    (
        "List the output of every layer, with its shape and dtype.",
        "tfdump layers sample_models/digits_cnn.keras",
    ),
    (
        "List also attention scores, and the states and gates of recurrent layers.",
        "tfdump layers sample_models/text_gru.keras \\\n    --attention --rnn-steps --rnn-gates",
    ),
    (
        "List every operation inside a layer, with its line of code.",
        "tfdump layers sample_models/digits_cnn.keras --ops -l bn1",
    ),
)


@click.command("layers", cls=DocumentedCommand, examples=EXAMPLES)
@model_options
@like_option
@click.argument("inputs", nargs=-1, type=InputName(), metavar="[INPUT]...")
@selection_options()
@capture_options
@backend_options
@image_size_option
@json_option
@verbosity_options
@click.pass_obj
def command(verbosity: Verbosity, /, inputs: tuple[str, ...], json: bool, **parameters: Any) -> None:
    """List the address of every tensor inside a model.

    Rows are in the order of execution: address, class, output shape (? is an open size), dtype, parameters of the
    layer, and bytes per example. INPUT, as for `tfdump activations`, is needed only for a model that does not
    declare its shapes.
    """
    selection = selection_from(parameters)
    arguments = open_arguments(
        inputs, options=DataOptions(image_size=parameters.pop("image_size"), libraries=LIBRARIES)
    )
    with only_data_on_stdout(), stages(verbosity) as stage:
        loaded = load(loading_options_from(parameters), verbosity, stage=stage)
        captures = captures_from(parameters)
        listing = list_tensors(loaded, arguments, selection, notes(verbosity), captures, stage)
    if json:
        write(_json(listing, captures.ops))
        return
    columns = (*COLUMNS, Column("source", 4)) if captures.ops else COLUMNS
    write(table(columns, (_row(tensor)[: len(columns)] for tensor in listing.tensors)))
    from tfdump.run.not_captured import tell_not_captured

    tell_not_captured(listing.not_captured, notes(verbosity))


def _row(tensor: ListedTensor) -> tuple[str | int | None, ...]:
    return (
        tensor.address,
        tensor.class_name,
        shape_cell(tensor.shape),
        tensor.dtype,
        tensor.parameters,
        tensor.example_bytes,
        tensor.source,
    )


def _json(listing: Listing, ops: bool) -> str:
    items = [
        {
            "address": tensor.address,
            "class": tensor.class_name,
            "shape": None if tensor.shape is None else [None if size == -1 else size for size in tensor.shape],
            "dtype": tensor.dtype,
            "parameters": tensor.parameters,
            "bytes_per_example": tensor.example_bytes,
            "inputs": None if tensor.inputs is None else list(tensor.inputs),
            **({} if tensor.operands is None else {"operands": list(tensor.operands)}),
            **({"operation": tensor.operation, "source": tensor.source} if ops else {}),
        }
        for tensor in listing.tensors
    ]
    missing = [{"address": item.address, "reason": item.reason} for item in listing.not_captured]
    return json_list("layers", items, not_captured=missing)
