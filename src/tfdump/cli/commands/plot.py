"""`tfdump plot`."""

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from tfdump.address import Selection
from tfdump.cli.completion import Address
from tfdump.cli.options import FileName, parsed, selection_options
from tfdump.cli.progress import notes
from tfdump.cli.render import write
from tfdump.cli.settings import Settings, verbosity
from tfdump.dump.reader import open_dump
from tfdump.dump.selection import tensor_at
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


@click.command("plot")
@click.argument("dump", type=FileName())
@click.argument("address", required=False, type=Address(), metavar="[ADDRESS|NEW]")
@click.option("--all", "whole", is_flag=True, help="A picture of every tensor, into the folder of -o.")
@click.option("--flow", is_flag=True, help="Gradient norm, or activation scale, of every layer along depth.")
@click.option("--diff", "against", is_flag=True, help="Error of each tensor along depth, against the dump NEW.")
@click.option("--animate", "animation", type=FileName(), metavar="FILE.gif", help="Of a folder: a picture a dump.")
@click.option("--histogram", is_flag=True, help="A histogram of all values.")
@click.option("--text", is_flag=True, help="Print the histogram in characters.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Another picture than the one chosen.")
@selection_options("tensors of --all, --flow and --diff")
@click.option("--example", type=int, metavar="N", help="Which example. [default: 0]")
@click.option("--examples", type=parsed("START:STOP", parse_examples), default=":", help="The rows of a dense layer.")
@click.option("--step", type=int, metavar="N", help="Which step. [default: the last]")
@click.option("--channels", metavar="0:16|1,5|all|top", help="Which channels, heads or filters.")
@click.option("--inputs", metavar="0:16|1,5|all|top", help="Which input channels of kernels.")
@click.option(
    "--channels-first/--channels-last", default=None, help="Where channels are. [default: as the model's layers say]"
)
@click.option("--tokens", type=FileName(), metavar="FILE", help="Names for attention scores: a token a line.")
@click.option("--overlay", type=FileName(), metavar="FILE.npy", help="The input, below a saliency map.")
@click.option("-o", "--output", type=FileName(), help="A .png, .svg or .pdf file; with --all, a folder.")
@click.option("--format", "ending", type=click.Choice(["png", "svg", "pdf"]), help="Without -o FILE. [default: png]")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output.")
@verbosity
@click.pass_obj
def command(
    settings: Settings,
    /,
    dump: Path,
    address: str | None,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
    **choices: Any,
) -> None:
    """Draw a tensor of a dump.

    ADDRESS is that of an activation, GROUP/ADDRESS (gradients/weights/conv.kernel), or loss; with --diff, the dump to
    compare with. The kind of picture is chosen by the tensor. A folder of dumps, as a training leaves it, gives the
    tensor over the training. Prints the path of the file written.
    """
    folder = dump.is_dir()
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
        notes(settings),
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
    """Refuse options that exclude each other, and a missing or needless address."""
    modes = [option for name, option in _MODES.items() if choices[name]]
    if len(modes) > 1:
        raise click.UsageError(f"{' and '.join(modes)} exclude each other")
    mode = modes[0] if modes else ""
    _check_address(mode, address, folder)
    if selects and (folder or mode not in ("--all", "--flow", "--diff")):
        raise click.UsageError("-l, -x and --depth choose among the tensors of --all, --flow and --diff")
    drawn = choices["kind"] or choices["histogram"]
    if drawn and mode in ("--flow", "--diff", "--text"):
        raise click.UsageError(f"{mode} is a picture of its own: leave out --kind and --histogram")
    if drawn and folder and mode != "--animate":
        raise click.UsageError("a folder of dumps gives curves: --kind and --histogram are for one dump or --animate")
    views = [option for name, option in _VIEWS.items() if choices[name] not in (None, (None, None))]
    if views and (mode in ("--flow", "--diff") or (folder and not mode)):
        raise click.UsageError(f"{views[0]} is for a picture of values: leave it out")
    if choices["histogram"] and choices["kind"] not in (None, Kind.HISTOGRAM.value):
        raise click.UsageError(f"--histogram and --kind {choices['kind']} exclude each other")
    if mode == "--all" and choices["output"] is None:
        raise click.UsageError("--all needs a folder: -o FOLDER")
    if mode in ("--text", "--animate") and (choices["output"] is not None or choices["ending"]):
        why = "prints" if mode == "--text" else "names its file"
        raise click.UsageError(f"{mode} {why}: leave out -o and --format")
    if choices["output"] is not None and choices["ending"] and mode != "--all":
        raise click.UsageError("-o FILE decides the format: leave out --format")


def _check_address(mode: str, address: str | None, folder: bool) -> None:
    if folder and mode in ("--all", "--diff", "--text"):
        raise click.UsageError(f"{mode} is for one dump, and a folder of them was given (choose a file in it)")
    if mode == "--animate" and not folder:
        raise click.UsageError("--animate is for a folder of dumps, as tfdump.DumpCallback leaves it")
    needs = folder or mode not in ("--all", "--flow")
    if address is None and needs:
        wanted = "the dump to compare with" if mode == "--diff" else "an ADDRESS (list them: tfdump show DUMP)"
        raise click.UsageError(f"give {wanted}" + ("" if mode or folder else ", --all or --flow"))
    if address is not None and not needs:
        raise click.UsageError(f"{mode} draws the whole dump: leave out '{address}', or choose with -l")


def _text(path: Path, address: str, choices: dict[str, Any]) -> str:
    from tfdump.plots.counts import count_values
    from tfdump.plots.pictures.text import text_histogram

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    blocks = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    with open_dump(path) as dump:
        found, _, _ = count_values(tensor_at(dump, address), choices["example"], choices["step"], bins=20)
        return text_histogram(found, width, blocks)
