"""`tfdump plot`."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfdump.address import Candidate, Selection
from tfdump.cli.options import FileName, parsed, selection_options
from tfdump.cli.progress import notes
from tfdump.cli.render import write
from tfdump.cli.settings import Settings, verbosity
from tfdump.dump.reader import Dump, Tensor, open_dump
from tfdump.errors import TfdumpError
from tfdump.inputs.source import parse_examples
from tfdump.pictures import need_matplotlib
from tfdump.pictures.choice import Kind
from tfdump.pictures.naming import default_file, distinct, stem_of
from tfdump.tensors import Note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfdump.pictures.drawing import View

LOSS = "loss"
_MODES = ("histogram", "text", "all", "flow")


@click.command("plot")
@click.argument("dump", type=FileName())
@click.argument("address", required=False)
@click.option("--all", "whole", is_flag=True, help="A picture of every tensor, into the folder of -o.")
@click.option("--flow", is_flag=True, help="Gradient norm, or activation scale, of every layer along depth.")
@click.option("--histogram", is_flag=True, help="A histogram of all values.")
@click.option("--text", is_flag=True, help="Print the histogram in characters.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Another picture than the one chosen.")
@selection_options("tensors of --all and --flow")
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
def command(settings: Settings, /, dump: Path, address: str | None, **choices: Any) -> None:
    """Draw a tensor of a dump.

    ADDRESS is that of an activation, GROUP/ADDRESS (gradients/weights/conv.kernel), or loss. The kind of picture
    is chosen by the tensor. Prints the path of the file written.
    """
    _check_modes(address, choices)
    with open_dump(dump) as opened:
        if choices["text"]:
            write(_text(opened, address or ""))
            return
        need_matplotlib()
        note = notes(settings)
        for path in _pictures(opened, dump, address, note, **choices):
            write(f"{path}\n")


def _check_modes(address: str | None, choices: dict[str, Any]) -> None:
    """Refuse options that exclude each other."""
    whole, flow = choices["whole"], choices["flow"]
    if whole and flow:
        raise click.UsageError("--all and --flow exclude each other")
    if address is None and not (whole or flow):
        raise click.UsageError("give an ADDRESS, --all or --flow (list the addresses: tfdump show DUMP)")
    if address is not None and (whole or flow):
        raise click.UsageError(f"--{'all' if whole else 'flow'} draws the whole dump: leave out '{address}', or use -l")
    if not (whole or flow) and (choices["layer"] or choices["exclude"] or choices["depth"]):
        raise click.UsageError("-l, -x and --depth choose among the tensors of --all and --flow")
    if choices["text"] and (whole or flow or choices["kind"] or choices["output"]):
        raise click.UsageError("--text prints one histogram: leave out --all, --flow, --kind and -o")
    if flow and (choices["kind"] or choices["histogram"]):
        raise click.UsageError("--flow is a picture of its own: leave out --kind and --histogram")
    if choices["histogram"] and choices["kind"] not in (None, Kind.HISTOGRAM.value):
        raise click.UsageError(f"--histogram and --kind {choices['kind']} exclude each other")
    if whole and choices["output"] is None:
        raise click.UsageError("--all needs a folder: -o FOLDER")
    if choices["output"] is not None and choices["ending"] and not whole:
        raise click.UsageError("-o FILE decides the format: leave out --format")


def _text(dump: Dump, address: str) -> str:
    from tfdump.pictures.counting import count_values
    from tfdump.pictures.text import text_histogram

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    blocks = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return text_histogram(count_values(dump[address], bins=20)[0], width, blocks)


def _pictures(
    dump: Dump, path: Path, address: str | None, note: Note, output: Path | None, ending: str | None, force: bool,
    whole: bool, flow: bool, histogram: bool, kind: str | None, text: bool,
    layer: tuple[str, ...], exclude: tuple[str, ...], depth: int | None, **choices: Any,
) -> Iterator[Path]:  # fmt: skip
    """Draw and write what is asked for, and yield the files."""
    from tfdump.pictures.drawing import draw, draw_loss

    wanted = Kind.HISTOGRAM if histogram else Kind(kind) if kind else None
    ending = ending or "png"
    selection = Selection(layer, exclude, depth)
    if whole:
        assert output is not None
        yield from _all(dump, selection, wanted, _view(None, choices), output, ending, force, note)
    elif flow:
        target = output or default_file(f"{path.stem}.flow", ending)
        _check(target, force, path)
        yield _save(_flow(dump, selection, note), target, force)
    else:
        assert address is not None
        of_loss = address == f"/{LOSS}" or (address == LOSS and LOSS not in dump)
        tensor = None if of_loss else dump[address]
        stem = LOSS if tensor is None else stem_of(tensor.group, tensor.address, wanted.value if wanted else None)
        target = output or default_file(stem, ending)
        _check(target, force, path)
        picture = draw_loss(dump) if tensor is None else draw(dump, tensor, wanted, _view(tensor, choices))
        for line in picture.notes:
            note(line)
        yield _save(picture.figure, target, force)


def _all(
    dump: Dump,
    selection: Selection,
    kind: Kind | None,
    view: "View",
    folder: Path,
    ending: str,
    force: bool,
    note: Note,
) -> Iterator[Path]:
    """Draw every tensor that a picture can show; the others are named with the reason."""
    from tfdump.pictures.drawing import draw

    chosen = _chosen(dump, selection)
    stems = distinct(stem_of(tensor.group, tensor.address, kind.value if kind else None) for tensor in chosen)
    targets = [folder / f"{stem}.{ending}" for stem in stems]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TfdumpError(f"cannot make the folder {folder}: {error.strerror}") from None
    for target in targets:
        _check(target, force, None)
    drawn = 0
    for tensor, target in zip(chosen, targets, strict=True):
        try:
            picture = draw(dump, tensor, kind, view)
        except TfdumpError as error:
            note(f"not drawn: {error}")
            continue
        for line in picture.notes:
            note(f"{tensor.group}/{tensor.address}: {line}")
        drawn += 1
        yield _save(picture.figure, target, force)
    if not drawn:
        raise TfdumpError(f"none of the {len(chosen):,} tensors chosen from {dump.name} can be drawn")


def _flow(dump: Dump, selection: Selection, note: Note) -> "Figure":
    from tfdump.analysis.depth import depth_of
    from tfdump.pictures.figure import Caption
    from tfdump.pictures.flow import flow

    addresses = {(tensor.group, tensor.address) for tensor in _chosen(dump, selection)}
    caption = Caption(dump.name.rpartition("/")[2], (f"model {dump.attributes.get('model', '?')}",))
    figure, lines = flow(depth_of(dump, addresses), caption)
    for line in lines:
        note(line)
    return figure


def _chosen(dump: Dump, selection: Selection) -> list[Tensor]:
    tensors = list(dump.tensors())
    if not tensors:
        raise TfdumpError(f"{dump.name} holds no tensors")
    candidates = [Candidate(t.address, (str(t.attributes.get("class", "")),)) for t in tensors]
    return [tensors[place] for place in selection.choose(candidates, remedy=f"list them: tfdump show {dump.name}")]


def _view(tensor: Tensor | None, choices: dict[str, Any]) -> "View":
    from tfdump.pictures.drawing import View
    from tfdump.pictures.given import overlay_of, tokens_of

    tokens, overlay = choices.pop("tokens"), choices.pop("overlay")
    if overlay is not None and tensor is None:
        raise click.UsageError("--overlay is for one saliency map, not for --all")
    return View(
        **choices,
        tokens=None if tokens is None else tokens_of(tokens),
        overlay=None if overlay is None or tensor is None else overlay_of(overlay, tensor, choices["example"] or 0),
    )


def _check(target: Path, force: bool, source: Path | None) -> None:
    from tfdump.pictures.saving import check_picture

    check_picture(target, force, [] if source is None else [source])


def _save(figure: "Figure", target: Path, force: bool) -> Path:
    from tfdump.pictures.saving import save

    save(figure, target.resolve(), force)
    return target
