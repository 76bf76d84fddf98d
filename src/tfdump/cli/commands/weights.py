"""`tfdump weights`."""

from typing import Any

import click

from tfdump.cli.dumping import dump_weights, open_inputs
from tfdump.cli.help_page import DocumentedCommand
from tfdump.cli.model_options import MODEL, STORED_VALUES, model_options, storing_options
from tfdump.cli.options import FileName, selection_options
from tfdump.cli.parameter_records import dump_output_from, loading_options_from, selection_from
from tfdump.cli.recorded_command import recorded_command
from tfdump.cli.sharding.options import no_shard_options
from tfdump.cli.verbosity import verbosity_options
from tfdump.dump.writer import storage_for
from tfdump.run.weights import weight_options

KIND = "weights-dump"
"""The ending of the default output. Keras calls its own files of weights `MODEL.weights.h5`."""

EXAMPLES = (
    (
        "Dump all weights of a model, with their statistics.",
        "tfdump weights sample_models/digits_cnn.keras --stats",
    ),
    (
        "Dump the weights of some layers, with the state of the optimizer.",
        "tfdump weights sample_models/digits_cnn.keras -l 'conv*' --optimizer -o conv_weights.h5",
    ),
    (
        "List the weights of a model, and write nothing.",
        "tfdump weights sample_models/digits_cnn.keras --dry-run",
    ),
)


@click.command("weights", cls=DocumentedCommand, examples=EXAMPLES)
@model_options
@MODEL(
    "--like",
    metavar="MODEL",
    type=FileName(),
    help="Name the weights by this Keras model: those of a file of weights alone, or of a .tflite file.",
)
@selection_options("layers or weights")
@STORED_VALUES("--dequantize", is_flag=True, help="Store quantized weights as the real numbers that they stand for.")
@STORED_VALUES("--optimizer", is_flag=True, help="Also store the variables of the optimizer.")
@storing_options(KIND, resumable=False)
@no_shard_options("weights")
@verbosity_options
@click.pass_context
def command(ctx: click.Context, /, **parameters: Any) -> None:
    """Dump the weights of a model to HDF5.

    MODEL is a saved model of any format, or a file of weights alone (.weights.h5, .weights.json). Each weight has the
    address that `tfdump gradients` gives it. No input is needed, and nothing is run: a SavedModel needs no
    --trust-model. The command prints the path of the dump.
    """
    model = loading_options_from(parameters)
    output = dump_output_from(parameters, model.path, KIND)
    options = weight_options(selection_from(parameters), **parameters)
    storage_for(options.compression)
    open_inputs((), lambda: None, model.path, output)
    dump_weights(model, options, output, recorded_command(ctx), ctx.obj)
