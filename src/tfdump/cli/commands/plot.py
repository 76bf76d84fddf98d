"""`tfdump plot`."""

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from tfdump.address import Selection
from tfdump.cli.completion import Address
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.options import FORCE, OUTPUT, FileName, parsed, selection_options
from tfdump.cli.progress import notes
from tfdump.cli.reading.example_option import number_or_name, row_of_example
from tfdump.cli.render import write
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.dump.reader import open_dump
from tfdump.dump.selection import tensor_at
from tfdump.dump.shards.manifest import is_shard_folder
from tfdump.inputs.source import parse_examples
from tfdump.plots import need_matplotlib
from tfdump.plots.kinds import Kind

_MODES = {"whole": "--all", "flow": "--flow", "against": "--diff", "text": "--text", "animation": "--animate"}
_VIEWS = {
    "example": "--example",
    "examples": "--examples",
    "step": "--step",
    "channels": "--channels",
    "inputs": "--inputs",
    "channels_first": "--channels-first or --channels-last",
    "tokens": "--tokens",
    "overlay": "--overlay",
}


EXAMPLES = (
    (
        "Draw the feature maps of a convolution for the third example.",
        "tfdump plot digits_cnn.activations.h5 conv1 --example 2 -o conv1.png",
    ),
    (
        "Draw the norm of the gradients along the depth of the model.",
        "tfdump plot digits_cnn.gradients.h5 --flow -o flow.png",
    ),
    (
        "Print a histogram of all values of a tensor.",
        "tfdump plot digits_cnn.activations.h5 hidden --text",
    ),
)

_PICTURE = option_under("Picture")
_VIEW = option_under("What it shows")


@click.command("plot", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("dump", type=FileName())
@click.argument("address", required=False, type=Address(), metavar="[ADDRESS|NEW]")
@_PICTURE("--all", "whole", is_flag=True, help="Draw every tensor, into the folder of -o.")
@_PICTURE(
    "--flow", is_flag=True, help="Draw gradient norms, or the scale of activations, along the depth of the model."
)
@_PICTURE("--diff", "against", is_flag=True, help="Draw the error of each tensor against the dump NEW along the depth.")
@_PICTURE(
    "--animate",
    "animation",
    type=FileName(),
    metavar="FILE.gif",
    help="Animate a folder of dumps, with one frame per dump.",
)
@_PICTURE("--histogram", is_flag=True, help="Draw a histogram of all values.")
@_PICTURE("--text", is_flag=True, help="Print the histogram as text.")
@_PICTURE(
    "--kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="Draw this kind of picture. [default: by the tensor]",
)
@selection_options("tensors of --all, --flow and --diff")
@_VIEW(
    "--example",
    type=parsed("N|NAME", number_or_name),
    metavar="N|NAME",
    help="Draw this example, by row or by name. [default: 0]",
)
@_VIEW(
    "--examples",
    type=parsed("START:STOP", parse_examples),
    default=":",
    help="Draw these examples, as rows of a dense layer.",
)
@_VIEW("--step", type=int, metavar="N", help="Draw this step. [default: the last]")
@_VIEW("--channels", metavar="0:16|1,5|all|top", help="Draw these channels, heads or filters.")
@_VIEW("--inputs", metavar="0:16|1,5|all|top", help="Draw these input channels of kernels.")
@_VIEW(
    "--channels-first/--channels-last",
    default=None,
    help="Read the channels from this axis. [default: as the model's layers say]",
)
@_VIEW("--tokens", type=FileName(), metavar="FILE", help="Label attention scores with this file, one token per line.")
@_VIEW("--overlay", type=FileName(), metavar="FILE.npy", help="Draw a saliency map over this input.")
@OUTPUT("-o", "--output", type=FileName(), help="Write this .png, .svg or .pdf file; with --all, a folder.")
@OUTPUT(
    "--format",
    "ending",
    type=click.Choice(["png", "svg", "pdf"]),
    help="Write this format, without -o FILE. [default: png]",
)
@FORCE
@verbosity_options
@click.pass_obj
def command(
    verbosity: Verbosity,
    /,
    dump: Path,
    address: str | None,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    **choices: Any,
) -> None:
    """Draw a tensor of a dump.

    ADDRESS is that of an activation, GROUP/ADDRESS (gradients/weights/conv.kernel), or loss. With --diff, NEW is the
    dump to compare with. The tensor decides the kind of picture. For a folder of dumps, as tfdump.DumpCallback
    writes it, the picture shows the tensor over the training. The command prints the path of each file.
    """
    folder = dump.is_dir() and not is_shard_folder(dump)
    _check_modes(address, folder, bool(layer or exclude or depth), choices)
    if choices.pop("text"):
        write(_text(dump, address or "", choices))
        return
    need_matplotlib()
    from tfdump.cli import plot_jobs

    histogram, kind = choices.pop("histogram"), choices.pop("kind")
    job = plot_jobs.Job(
        dump,
        address,
        Selection(layer, exclude, depth),
        Kind.HISTOGRAM if histogram else Kind(kind) if kind else None,
        choices.pop("output"),
        choices.pop("ending") or "png",
        choices.pop("force"),
        notes(verbosity),
    )
    modes = {name: choices.pop(name) for name in ("whole", "flow", "against", "animation")}
    if folder:
        files = plot_jobs.of_folder(job, modes["flow"], modes["animation"], choices)
    elif modes["whole"]:
        files = plot_jobs.of_all(job, choices)
    elif modes["flow"]:
        files = plot_jobs.of_flow(job)
    elif modes["against"]:
        files = plot_jobs.of_diff(job)
    else:
        files = plot_jobs.of_one(job, choices)
    for path in files:
        write(f"{path}\n")


def _check_modes(address: str | None, folder: bool, selects: bool, choices: dict[str, Any]) -> None:
    """Raise UsageError for options that exclude each other, and for a missing or unused address."""
    modes = [option for name, option in _MODES.items() if choices[name]]
    if len(modes) > 1:
        raise click.UsageError(f"{' and '.join(modes)} exclude each other (leave one of them out)")
    mode = modes[0] if modes else ""
    _check_address(mode, address, folder)
    if selects and (folder or mode not in ("--all", "--flow", "--diff")):
        raise click.UsageError("-l, -x and --depth select tensors of --all, --flow and --diff (add one of these)")
    picture_options = choices["kind"] or choices["histogram"]
    if picture_options and mode in ("--flow", "--diff", "--text"):
        raise click.UsageError(f"{mode} has its own kind of picture (leave --kind and --histogram out)")
    if picture_options and folder and mode != "--animate":
        raise click.UsageError("a folder of dumps gives curves (leave --kind and --histogram out, or add --animate)")
    views = [option for name, option in _VIEWS.items() if choices[name] not in (None, (None, None))]
    if views and (mode in ("--flow", "--diff") or (folder and not mode)):
        raise click.UsageError(f"{views[0]} is for a picture of values: leave it out")
    if choices["histogram"] and choices["kind"] not in (None, Kind.HISTOGRAM.value):
        raise click.UsageError(f"--histogram and --kind {choices['kind']} exclude each other (leave one of them out)")
    if mode == "--all" and choices["output"] is None:
        raise click.UsageError("--all needs a folder (add -o FOLDER)")
    if mode in ("--text", "--animate") and (choices["output"] is not None or choices["ending"]):
        why = "prints the histogram" if mode == "--text" else "names its file"
        raise click.UsageError(f"{mode} {why} (leave -o and --format out)")
    if choices["output"] is not None and choices["ending"] and mode != "--all":
        raise click.UsageError("-o FILE decides the format (leave --format out)")


def _check_address(mode: str, address: str | None, folder: bool) -> None:
    if folder and mode in ("--all", "--diff", "--text"):
        raise click.UsageError(f"{mode} needs one dump, and this is a folder (give a file in it)")
    if mode == "--animate" and not folder:
        raise click.UsageError("--animate needs a folder of dumps, as tfdump.DumpCallback writes it")
    needs = folder or mode not in ("--all", "--flow")
    if address is None and needs:
        missing = "the dump to compare with" if mode == "--diff" else "an ADDRESS (list them: tfdump show DUMP)"
        raise click.UsageError(f"give {missing}" + ("" if mode or folder else ", --all or --flow"))
    if address is not None and not needs:
        raise click.UsageError(f"{mode} draws the whole dump (leave '{address}' out, or select tensors with -l)")


def _text(path: Path, address: str, choices: dict[str, Any]) -> str:
    from tfdump.plots.pictures.text import text_histogram
    from tfdump.plots.tensor_histogram import count_values

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    blocks = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    with open_dump(path) as dump:
        example = row_of_example(dump, choices["example"])
        histogram, _, _ = count_values(tensor_at(dump, address), example, choices["step"], bins=20)
        return text_histogram(histogram, width, blocks)
