"""`tfdump gradients`."""

from pathlib import Path
from typing import Any

import click

from tfdump.address import Selection
from tfdump.argument_kinds import positive_number
from tfdump.cli.dumping import default_target, dry_run_table, dump, dump_resumably, open_inputs, suggest
from tfdump.cli.load_model import load
from tfdump.cli.options import (
    InputName,
    model_options,
    reading_and_running,
    running_options,
    selection_options,
    storing_options,
)
from tfdump.cli.progress import notes, stages
from tfdump.cli.recorded_command import recorded_command
from tfdump.cli.render import only_data_on_stdout, write
from tfdump.cli.settings import Settings, verbosity
from tfdump.dump.writer import storage_for
from tfdump.inputs.arguments import check_stdin, open_arguments, open_each
from tfdump.run.gradients.options import WRT, GradientOptions, descent_steps, gradient_options
from tfdump.run.gradients.run import open_gradients


@click.command("gradients")
@model_options
@click.argument("inputs", nargs=-1, required=True, type=InputName(), metavar="INPUT...")
@click.option(
    "--targets", multiple=True, type=InputName(), metavar="[OUTPUT=]FILE", help="The targets, instead of as last INPUT."
)
@click.option(
    "--sample-weight", multiple=True, type=InputName(), metavar="[OUTPUT=]FILE", help="A weight for each example."
)
@click.option(
    "--wrt",
    multiple=True,
    type=click.Choice(WRT),
    default=("weights",),
    show_default=True,
    help="With respect to what; repeatable.",
)
@click.option(
    "--loss",
    "losses",
    multiple=True,
    metavar="[OUTPUT=]NAME",
    help="A loss of Keras by name, or 'compiled'. [default: compiled, if the model was]",
)
@click.option("--from-logits", is_flag=True, help="With --loss: the output is logits, not probabilities.")
@click.option(
    "--objective", metavar="EXPRESSION", help="Without targets: sum, mean, max or OUTPUT[INDEX], summed over examples."
)
@click.option(
    "--reduction",
    type=click.Choice(("mean", "sum")),
    help="Over all examples. [default: mean as the loss divides; sum for an objective]",
)
@click.option("--per-example", is_flag=True, help="Each example's own gradient.")
@click.option("--norms-only", is_flag=True, help="Store L2 norms instead of tensors.")
@click.option("--sparse", is_flag=True, help="Store the gradients of tables as the rows that were looked up.")
@click.option(
    "--loss-scale",
    type=float,
    metavar="F",
    default=1.0,
    show_default=True,
    help="Multiplies the loss, and is divided out of the gradients: against underflow in float16.",
)
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Gradient descent: dump each of N steps.")
@click.option("--learning-rate", type=float, metavar="F", help="Of --steps, which needs it.")
@click.option("--optimizer", metavar="NAME", help="Of --steps: an optimizer of Keras. [default: SGD]")
@click.option("--save-weights", is_flag=True, help="With --steps: store the weights before each step.")
@selection_options("layers, weights or inputs")
@running_options
@storing_options("gradients")
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: Path,
    inputs: tuple[str, ...],
    targets: tuple[str, ...],
    sample_weight: tuple[str, ...],
    output: Path | None,
    force: bool,
    dry_run: bool,
    resume: bool,
    imports: tuple[Path, ...],
    trust_model: bool,
    signature: str | None,
    max_bytes: int | None,
    **choices: Any,
) -> None:
    """Dump the gradients of weights, activations and inputs to HDF5.

    For a model of k inputs, k INPUT files are the inputs and one more is the targets. The loss is that of all
    examples together, whatever the batch size. Prints the path of the file written.
    """
    settings: Settings = ctx.obj
    target = output or default_target(model, "gradients")
    options = _options(**choices)
    options.check(resume)
    storage_for(options.compression)
    texts = [*inputs, *targets, *sample_weight]
    check_stdin(texts)

    def read() -> Any:
        expected = open_arguments(targets, "targets file") if targets else None
        return open_each(inputs), expected, open_arguments(sample_weight, "sample weight file")

    arguments, expected, weights = open_inputs(texts, read, model, None if dry_run else target, force)
    with only_data_on_stdout(), stages(settings) as stage:
        loaded = load(model, imports, trust_model, settings, options.seed, signature, max_bytes, stage)
        with open_gradients(loaded, arguments, expected, weights, options, notes(settings), stage) as run:
            if dry_run:
                planned = run
            else:
                how = (run, target, force, recorded_command(ctx), settings, options.compression != "none")
                dump_resumably(*how, imports) if resume else dump(*how)
    if dry_run:
        write(dry_run_table(planned))
    else:
        write(f"{target}\n")
        suggest(target, settings)


def _options(
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    steps: int | None,
    learning_rate: float | None,
    optimizer: str | None,
    save_weights: bool,
    loss_scale: float,
    **others: Any,
) -> GradientOptions:
    reading, run = reading_and_running(others)
    return gradient_options(
        Selection(layer, exclude, depth),
        run,
        reading=reading,
        steps=descent_steps(steps, learning_rate, optimizer, save_weights, as_options=True),
        loss_scale=positive_number("--loss-scale", loss_scale),
        **others,
    )
