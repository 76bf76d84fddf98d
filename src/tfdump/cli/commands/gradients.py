"""`tfdump gradients`."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from tfdump.argument_kinds import positive_number
from tfdump.cli.dumping import AnyRun, dump_model, open_inputs
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.model_options import model_options, running_options, storing_options
from tfdump.cli.options import InputName, selection_options
from tfdump.cli.parameter_records import (
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
from tfdump.inputs.arguments import check_stdin, has_table, open_arguments, open_each, open_targets
from tfdump.process.stages import Stage
from tfdump.run.gradients.options import WRT, GradientOptions, descent_steps, gradient_options
from tfdump.run.gradients.run import open_gradients
from tfdump.run.shards.job import ShardJob
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

EXAMPLES = (
    (
        "Dump the gradients of all weights, with the loss of the compiled model.",
        "tfdump gradients sample_models/digits_cnn.keras \\\n"
        "    sample_models/digits.npy sample_models/digits_labels.npy",
    ),
    (
        "Dump a saliency map for each image: the gradient of class 3 at the input.",
        "tfdump gradients sample_models/digits_cnn.keras sample_models/digits.npy \\\n"
        "    --wrt inputs --objective 'predictions[3]' -o saliency.h5",
    ),
    (
        "Store the norm of each weight's gradient over five steps of descent.",
        "tfdump gradients sample_models/digits_cnn.keras \\\n"
        "    sample_models/digits.npy sample_models/digits_labels.npy \\\n"
        "    --steps 5 --learning-rate 0.01 --norms-only -o descent.h5",
    ),
)

_LOSS = option_under("Loss")
_GRADIENTS = option_under("Gradients")
_DESCENT = option_under("Gradient descent")


@click.command("gradients", cls=DocumentedCommand, examples=EXAMPLES)
@model_options
@click.argument("inputs", nargs=-1, type=InputName(), metavar="INPUT...")
@_LOSS(
    "--targets",
    multiple=True,
    type=InputName(),
    metavar="[OUTPUT=]FILE",
    help="Read the targets from this file, not from the last INPUT. Repeatable.",
)
@_LOSS(
    "--sample-weight",
    multiple=True,
    type=InputName(),
    metavar="[OUTPUT=]FILE",
    help="Read one weight per example from this file. Repeatable.",
)
@_GRADIENTS(
    "--wrt",
    multiple=True,
    type=click.Choice(WRT),
    default=("weights",),
    show_default=True,
    help="Differentiate with respect to these. Repeatable.",
)
@_LOSS(
    "--loss",
    "losses",
    multiple=True,
    metavar="[OUTPUT=]NAME",
    help="Use this loss of Keras, or 'compiled'. Repeatable. [default: compiled, if the model is]",
)
@_LOSS(
    "--from-logits",
    is_flag=True,
    help="Tell --loss that the output is logits, not probabilities.",
)
@_LOSS(
    "--objective",
    metavar="EXPRESSION",
    help="Differentiate sum, mean, max or OUTPUT[INDEX], summed over examples; needs no targets.",
)
@_LOSS(
    "--reduction",
    type=click.Choice(("mean", "sum")),
    help="Reduce the loss over all examples this way. [default: mean as Keras divides; sum for --objective]",
)
@_GRADIENTS("--ops", is_flag=True, help="Also every operation inside each layer, with --wrt activations (:op.Sqrt).")
@_GRADIENTS("--per-example", is_flag=True, help="Store each example's own gradient.")
@_GRADIENTS("--norms-only", is_flag=True, help="Store L2 norms instead of tensors.")
@_GRADIENTS("--sparse", is_flag=True, help="Store gradients of embedding tables as the rows that were looked up.")
@_LOSS(
    "--loss-scale",
    type=float,
    metavar="F",
    default=1.0,
    show_default=True,
    help="Multiply the loss and divide the gradients by this, against underflow in float16.",
)
@_DESCENT("--steps", type=click.IntRange(min=1), metavar="N", help="Take N steps, and dump each of them.")
@_DESCENT("--learning-rate", type=float, metavar="F", help="Use this learning rate; --steps needs it.")
@_DESCENT("--optimizer", metavar="NAME", help="Use this optimizer of Keras. [default: SGD]")
@_DESCENT("--save-weights", is_flag=True, help="Store the weights before each step.")
@selection_options("layers, weights or inputs")
@running_options
@data_options
@storing_options("gradients")
@shard_options
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    targets: tuple[str, ...],
    sample_weight: tuple[str, ...],
    **parameters: Any,
) -> None:
    """Dump the gradients of weights, activations and inputs to HDF5.

    For a model of k inputs, k INPUTs are the inputs and one more is the targets. The loss is that of all
    examples together, whatever the batch size. Images and sound in class folders bring their targets along. INPUT is
    as for `tfdump activations`. The command prints the path of the dump.
    """
    model, shards = loading_options_from(parameters), shard_options_from(parameters)
    output = dump_output_from(parameters, model.path, "gradients")
    data = data_options_from(parameters)
    check_inputs(inputs, data, targets)
    options = _options(**parameters)
    options.check(output.resume)
    storage_for(options.compression)
    if shards is not None:
        job = ShardJob(
            kind="gradients",
            model=model,
            inputs=inputs,
            data=data,
            options=options,
            command=recorded_command(ctx),
            folder=shards.folder,
            targets=targets,
            sample_weight=sample_weight,
        )
        write_shards(job, shards, ctx.obj)
        return
    texts = [*inputs, *targets, *sample_weight]
    check_stdin(texts)

    def read() -> Any:
        opened_targets = open_targets(targets, data, has_table(inputs)) if targets else None
        return open_each(inputs, options=data), opened_targets, open_arguments(sample_weight, "sample weight file")

    arguments, opened_targets, weights = open_inputs(texts, read, model.path, output)

    read_arrays = [array for _, some in arguments for array in some] + list(opened_targets or [])
    tell_unused(read_arrays, data, ctx.obj)

    def open_run(loaded: "LoadedModel", note: Note, stage: Stage) -> AbstractContextManager[AnyRun]:
        return open_gradients(loaded, arguments, opened_targets, weights, options, note, stage)

    dump_model(model, open_run, output, recorded_command(ctx), ctx.obj, options.seed, options.compression)


def _options(
    steps: int | None,
    learning_rate: float | None,
    optimizer: str | None,
    save_weights: bool,
    loss_scale: float,
    **parameters: Any,
) -> GradientOptions:
    reading, run = reading_and_running_from(parameters)
    return gradient_options(
        selection_from(parameters),
        run,
        reading=reading,
        steps=descent_steps(steps, learning_rate, optimizer, save_weights, as_options=True),
        loss_scale=positive_number("--loss-scale", loss_scale),
        **parameters,
    )
