"""`tfdump activations`."""

from pathlib import Path
from typing import Any

import click

from tfdump.activation_run import ActivationOptions, ActivationRun, open_activations, open_writer
from tfdump.address import Selection
from tfdump.analysis.reduction import Reduction, parse_reduction
from tfdump.cli.loading import load
from tfdump.cli.options import (
    InputName,
    model_options,
    parsed,
    running_options,
    selection_options,
    storing_options,
)
from tfdump.cli.progress import notes, progress_bar
from tfdump.cli.provenance import recorded_command
from tfdump.cli.render import only_data_on_stdout, shape_text, table, write
from tfdump.cli.settings import Settings, verbosity
from tfdump.dump.target import check_space, check_target
from tfdump.dump.writer import storage_for
from tfdump.inputs.arguments import input_files, open_arguments
from tfdump.inputs.source import ReadingOptions
from tfdump.interrupts import held_back, ignore
from tfdump.planning import RunOptions
from tfdump.sinks import StoreOptions


@click.command("activations")
@model_options
@click.argument("inputs", nargs=-1, required=True, type=InputName(), metavar="INPUT...")
@selection_options
@running_options
@storing_options
@click.option(
    "--reduce",
    type=parsed("OP[:AXES]", parse_reduction),
    help="Store mean, sum, max, min or norm over axes (1,2), 'spatial', or all but the first.",
)
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
    imports: tuple[Path, ...],
    trust_model: bool,
    **choices: Any,
) -> None:
    """Dump the output of every layer to HDF5.

    INPUT is a .npy, .npz or HDF5 file with a row an example, FILE::PATH inside one, NAME=FILE for one of several
    inputs, or - for .npy on stdin. Prints the path of the file written.
    """
    settings: Settings = ctx.obj
    target = output or Path(f"{model.name.removesuffix('.keras').removesuffix('.h5')}.activations.h5")
    if not dry_run:
        check_target(target, force, sources=[model, *input_files(inputs)])
    options = _options(**choices)
    storage_for(options.compression)
    given = open_arguments(inputs)
    with only_data_on_stdout():
        loaded = load(model, imports, trust_model, settings, options.seed)
        with open_activations(loaded, given, options, notes(settings)) as run:
            if dry_run:
                planned = run
            else:
                _dump(run, target, force, recorded_command(ctx), settings)
    write(_dry_run_table(planned) if dry_run else f"{target}\n")


def _dump(run: ActivationRun, target: Path, force: bool, recorded: str, settings: Settings) -> None:
    """Write the dump; signals wait for moments at which the file can be thrown away."""
    if run.options.compression == "none":
        check_space(target, run.file_bytes)
    with held_back():
        with open_writer(run, target, force) as writer, progress_bar(settings) as progress:
            run.write(writer, recorded, progress)
        ignore()  # the file is there: from here on the command has succeeded


def _options(
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    batch_size: int | None,
    memory: int,
    examples: tuple[int | None, int | None],
    training: bool,
    seed: int,
    eager: bool,
    pad_value: float,
    pad_to: int | None,
    strict_dtype: bool,
    dtype: str | None,
    compression: str,
    stats: bool,
    stats_only: bool,
    reduce: Reduction | None,
    save_inputs: bool,
    outputs: bool,
) -> ActivationOptions:
    return ActivationOptions(
        selection=Selection(layer, exclude, depth),
        outputs=True if outputs else None,
        seed=seed,
        eager=eager,
        compression=compression,
        reading=ReadingOptions(pad_value, pad_to, strict_dtype, examples),
        run=RunOptions(batch_size, memory, training),
        store=StoreOptions(reduce, dtype, stats or stats_only, not stats_only, save_inputs),
    )


def _dry_run_table(run: ActivationRun) -> str:
    rows: list[tuple[str | int, ...]] = [
        (f"{t.group}/{t.info.address}", shape_text(t.shape), t.info.dtype, t.axis0, t.bytes) for t in run.planned
    ]
    rows.append(("attributes and indices", "", "", "", run.file_bytes - run.value_bytes))
    rows.append(("total", "", "", "", run.file_bytes))
    return table(("tensor", "shape", "dtype", "axis0", "bytes"), rows)
