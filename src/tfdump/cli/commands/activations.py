"""`tfdump activations`."""

from pathlib import Path
from typing import Any

import click

from tfdump.address import Selection
from tfdump.cli.dumping import default_target, dry_run_table, dump, dump_resumably, open_inputs, suggest
from tfdump.cli.load_model import load
from tfdump.cli.options import (
    InputName,
    capture_options,
    model_options,
    parsed,
    reading_and_running,
    running_options,
    selection_options,
    storing_options,
    take_captures,
)
from tfdump.cli.progress import notes, stages
from tfdump.cli.recorded_command import recorded_command
from tfdump.cli.render import only_data_on_stdout, write
from tfdump.cli.settings import Settings, verbosity
from tfdump.dump.writer import storage_for
from tfdump.inputs.arguments import open_arguments
from tfdump.run.activations.options import ActivationOptions, activation_options
from tfdump.run.activations.run import open_activations
from tfdump.statistics.reduction import parse_reduction


@click.command("activations")
@model_options
@click.argument("inputs", nargs=-1, required=True, type=InputName(), metavar="INPUT...")
@selection_options()
@capture_options
@running_options
@storing_options("activations")
@click.option(
    "--reduce",
    type=parsed("OP[:AXES]", parse_reduction),
    help="Store mean, sum, max, min or norm over axes (1,2), 'spatial', or all but the first.",
)
@click.option("--dequantize", is_flag=True, help="Of a quantised .tflite file: real numbers, not integers.")
@click.option("--save-inputs", is_flag=True, help="Store the inputs as they were fed.")
@click.option("--outputs", is_flag=True, help="Store the final outputs even with --layer.")
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: Path,
    inputs: tuple[str, ...],
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
    """Dump the output of every layer to HDF5.

    INPUT is a .npy, .npz or HDF5 file with a row an example, FILE::PATH inside one, NAME=FILE for one of several
    inputs, or - for .npy on stdin. Prints the path of the file written.
    """
    settings: Settings = ctx.obj
    target = output or default_target(model, "activations")
    options = _options(**choices)
    storage_for(options.compression)
    arrays = open_inputs(inputs, lambda: open_arguments(inputs), model, None if dry_run else target, force)
    with only_data_on_stdout(), stages(settings) as stage:
        loaded = load(model, imports, trust_model, settings, options.seed, signature, max_bytes, stage)
        with open_activations(loaded, arrays, options, notes(settings), stage) as run:
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
    layer: tuple[str, ...], exclude: tuple[str, ...], depth: int | None, outputs: bool, **others: Any
) -> ActivationOptions:
    captures = take_captures(others)
    reading, run = reading_and_running(others)
    selection = Selection(layer, exclude, depth)
    return activation_options(
        selection, run, reading=reading, captures=captures, outputs=True if outputs else None, **others
    )
