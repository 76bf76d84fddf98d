"""`tfdump activations`."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from tfdump.cli.dumping import DumpOutput, dump_model, open_inputs, search_model
from tfdump.cli.help_page import DocumentedCommand
from tfdump.cli.model_options import (
    MODEL,
    MORE_TENSORS,
    SEARCH,
    STORED_VALUES,
    backend_options,
    capture_options,
    like_option,
    model_options,
    running_options,
    storing_options,
)
from tfdump.cli.options import InputName, parsed, selection_options
from tfdump.cli.parameter_records import (
    captures_from,
    dump_output_from,
    loading_options_from,
    reading_and_running_from,
    selection_from,
)
from tfdump.cli.reading.data_options import check_inputs, data_options, data_options_from, tell_unused
from tfdump.cli.recorded_command import recorded_command
from tfdump.cli.sharding.options import shard_options, shard_options_from
from tfdump.cli.sharding.write_shards import write_shards
from tfdump.cli.verbosity import verbosity_options
from tfdump.dump.writer import storage_for
from tfdump.inputs.arguments import open_arguments
from tfdump.process.stages import Stage
from tfdump.run.activations.options import ActivationOptions, activation_options
from tfdump.run.activations.run import ActivationRun, open_activations
from tfdump.run.shards.job import ShardJob
from tfdump.statistics.reduction import parse_reduction
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

EXAMPLES = (
    (
        "Dump the output of every layer to digits_cnn.activations.h5.",
        "tfdump activations sample_models/digits_cnn.keras sample_models/digits.npy",
    ),
    (
        "Store only statistics of the convolutions, over the first 100 examples.",
        "tfdump activations sample_models/digits_cnn.keras sample_models/digits.npy \\\n"
        "    -l type:Conv2D --examples 0:100 --stats-only -o conv.h5",
    ),
    (
        "Dump attention scores, and the states of recurrent layers at every step.",
        "tfdump activations sample_models/text_gru.keras sample_models/text.npz \\\n    --attention --rnn-steps",
    ),
)


@click.command("activations", cls=DocumentedCommand, examples=EXAMPLES)
@model_options
@like_option
@click.argument("inputs", nargs=-1, type=InputName(), metavar="INPUT...")
@selection_options()
@capture_options
@backend_options
@running_options
@data_options
@storing_options("activations")
@shard_options
@STORED_VALUES(
    "--reduce",
    type=parsed("OP[:AXES]", parse_reduction),
    help="Store the mean, sum, max, min or norm over axes (1,2), over 'spatial', or over all but the first.",
)
@MODEL("--dequantize", is_flag=True, help="Dump real numbers, not the integers, of a quantized .tflite or .onnx file.")
@MORE_TENSORS("--save-inputs", is_flag=True, help="Also the inputs, as the model received them.")
@MORE_TENSORS("--outputs", is_flag=True, help="Also the final outputs, even with --layer.")
@SEARCH("--until-nan", is_flag=True, help="Stop at the first example with NaN or infinity, and store only that one.")
@SEARCH("--allow-inf", is_flag=True, help="With --until-nan: stop at NaN only, because a mask may be infinite.")
@verbosity_options
@click.pass_context
def command(ctx: click.Context, /, inputs: tuple[str, ...], **parameters: Any) -> int:
    """Dump the output of every layer to HDF5.

    INPUT is a file of arrays (.npy, .npz, HDF5, .safetensors, .mat, .zarr), images (one, a folder, a quoted pattern
    or @LIST), a table (.csv, .tsv, .parquet, .feather), lines of text (.txt), records (.tfrecord), or sound (.wav,
    .flac). FILE::NAME is one array, column or feature of a file, NAME=FILE is for one of several inputs, and - is .npy
    on standard input. The command prints the path of the dump.

    Exit status: 0 success, 1 --until-nan stopped at an example, 2 an error.
    """
    model, shards = loading_options_from(parameters), shard_options_from(parameters)
    output = dump_output_from(parameters, model.path, "activations")
    data = data_options_from(parameters)
    check_inputs(inputs, data)
    options = _options(**parameters)
    if options.until_nan:
        _check_search(output)
    storage_for(options.compression)
    if shards is not None:
        job = ShardJob(
            kind="activations",
            model=model,
            inputs=inputs,
            data=data,
            options=options,
            command=recorded_command(ctx),
            folder=shards.folder,
        )
        write_shards(job, shards, ctx.obj)
        return 0
    arguments = open_inputs(inputs, lambda: open_arguments(inputs, options=data), model.path, output)

    tell_unused(arguments, data, ctx.obj)

    def open_run(loaded: "LoadedModel", note: Note, stage: Stage) -> AbstractContextManager[ActivationRun]:
        return open_activations(loaded, arguments, options, note, stage)

    if options.until_nan:
        return search_model(model, open_run, output, recorded_command(ctx), ctx.obj, options.seed)
    dump_model(model, open_run, output, recorded_command(ctx), ctx.obj, options.seed, options.compression)
    return 0


def _options(outputs: bool, **parameters: Any) -> ActivationOptions:
    reading, run = reading_and_running_from(parameters)
    selection, captures = selection_from(parameters), captures_from(parameters)
    return activation_options(
        selection, run, reading=reading, captures=captures, outputs=True if outputs else None, **parameters
    )


def _check_search(output: DumpOutput) -> None:
    """Raise UsageError for options that exclude a search."""
    for option, is_set in (("--dry-run", output.dry_run), ("--resume", output.resume)):
        if is_set:
            raise click.UsageError(f"--until-nan and {option} exclude each other (leave one of them out)")
