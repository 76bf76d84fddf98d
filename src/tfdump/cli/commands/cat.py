"""`tfdump cat`."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from tfdump.address import Selection
from tfdump.cli.completion import Address
from tfdump.cli.help_page import DocumentedCommand
from tfdump.cli.options import FORCE, OUTPUT, SELECTION, FileName, selection_options, slice_option
from tfdump.cli.progress import notes, reading_bar
from tfdump.cli.render import write, write_binary
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.dump.layout import LOSS
from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.selection import choose, tensor_at
from tfdump.dump.slicing import Slicing
from tfdump.errors import DumpError
from tfdump.exports.arrays import Exported, exported, exported_all, exported_loss, watched
from tfdump.exports.destination import check_output_folder, write_file, write_folder
from tfdump.exports.folder import folder_files
from tfdump.exports.formats import BINARY, SUFFIXES, format_of, layout_of, npz_file, one_file
from tfdump.exports.ids import exported_examples, exported_identity, named_examples, names_apart, names_of_rows
from tfdump.files.paths import KNOWN_ENDINGS
from tfdump.process.signals import held_back, ignore
from tfdump.tensors import Note

EXAMPLES = (
    (
        "Write one tensor to a .npy file.",
        "tfdump cat digits_cnn.activations.h5 hidden -o hidden.npy",
    ),
    (
        "Print the first five examples of a tensor as CSV.",
        "tfdump cat digits_cnn.activations.h5 hidden --slice 0:5 --format csv",
    ),
    (
        "Write every tensor to one .npz file.",
        "tfdump cat digits_cnn.activations.h5 --all -o digits.npz",
    ),
)


@click.command("cat", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("dump", type=FileName())
@click.argument("address", required=False, type=Address(), metavar="[ADDRESS]")
@slice_option
@SELECTION("--all", "all_", is_flag=True, help="Write all tensors to a folder or one .npz file (-o).")
@OUTPUT(
    "--format",
    "layout",
    type=click.Choice(list(SUFFIXES)),
    help="Write this format. [default: by the ending of the output, else npy]",
)
@OUTPUT("--no-header", is_flag=True, help="Leave the line of column names out of CSV.")
@OUTPUT("--ids", is_flag=True, help="Also write the name of each example: the first column of CSV, or an array.")
@OUTPUT("-o", "--output", type=FileName(), help="Write to this file, or folder (--all). [default: standard output]")
@FORCE
@selection_options("tensors of --all")
@verbosity_options
@click.pass_obj
def command(
    verbosity: Verbosity,
    /,
    dump: Path,
    address: str | None,
    slicing: Slicing | None,
    all_: bool,
    layout: str | None,
    no_header: bool,
    ids: bool,
    output: Path | None,
    force: bool,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
) -> None:
    """Write tensors of a dump as .npy, .npz, CSV or a C header.

    One tensor goes to standard output, or with -o to a file whose path the command prints. A ragged, sparse or
    stacked tensor consists of several arrays; the formats npz and c hold all of them.
    """
    if all_ == (address is not None):
        raise click.UsageError("give either the ADDRESS of one tensor or --all")
    if not all_ and (layer or exclude or depth):
        raise click.UsageError("-l, -x and --depth select tensors of --all (add --all)")
    if all_ and slicing is not None:
        raise click.UsageError("--slice belongs to one tensor (leave --all out and give its ADDRESS)")
    selection = Selection(layer, exclude, depth)
    with open_dump(dump) as opened:
        if output is not None and (not all_ or format_of(output) == "npz"):
            _refuse_itself(opened, output)
        layout = (layout or format_of(output) or "npy") if all_ else layout_of(output, layout)
        if no_header and layout != "csv":
            raise click.UsageError(f"--no-header belongs to --format csv, and the format is {layout} (leave it out)")
        if ids and not all_ and layout not in ("csv", "npz"):
            raise click.UsageError(f"--ids needs --format csv or npz, and one tensor as {layout} has no room for names")
        if address is None:
            output = _output_of_all(output, layout, force)
            with reading_bar(verbosity, "writing") as progress:
                tensors = _tensors_of_all(opened, selection, ids, notes(verbosity))
                _write_all(opened, watched(tensors, progress), layout, output, not no_header, force)
            write(f"{output}\n")
            return
        tensor = _one(opened, address, slicing, ids)
        cut = slicing.text if slicing else ""
        if output is None and sys.stdout.isatty():  # a bar would appear among the values
            if layout in BINARY:
                raise click.UsageError(
                    f".{layout} is binary and not for a terminal (use -o FILE, a pipe, or --format csv)"
                )
            _print(one_file(opened, tensor, layout, cut, not no_header))
            return
        with reading_bar(verbosity, "writing") as progress:
            (tensor,) = watched([tensor], progress)
            blocks = one_file(opened, tensor, layout, cut, not no_header)
            if output is None:
                _print(blocks)
                return
            with held_back():
                write_file(output, blocks, force, opened.check_unchanged)
                ignore()
        write(f"{output}\n")


def _print(blocks: Iterable[bytes]) -> None:
    for block in blocks:
        if not write_binary(block):
            return


def _one(opened: Dump, address: str, slicing: Slicing | None, ids: bool) -> Exported:
    """Return the tensor of an address, the loss, or who the examples are."""
    if ids:
        named_examples(opened)
    apart = None
    if slicing is None and address not in opened:
        apart = exported_loss(opened) if address == LOSS else exported_identity(opened, address)
    if apart is None:
        tensor = tensor_at(opened, address)
        one, names = exported(tensor, slicing), names_of_rows(opened, tensor)
    else:
        one, names = apart, names_apart(opened, apart)
    if ids and names is None:
        raise DumpError(f"'{one.address}' does not have one row per example, so --ids names nothing (leave it out)")
    return replace(one, ids=names) if ids else one


def _output_of_all(output: Path | None, layout: str, force: bool) -> Path:
    if output is None:
        raise click.UsageError("--all needs -o FOLDER or -o FILE.npz")
    if output.suffix.lower() in KNOWN_ENDINGS and format_of(output) != "npz" and not output.exists():
        raise click.UsageError(f"--all writes a folder or a .npz file, and {output.name} is neither (change -o)")
    if (layout == "npz") != (format_of(output) == "npz"):
        raise click.UsageError("--format npz needs -o FILE.npz, and the other formats need -o FOLDER")
    if layout != "npz":
        check_output_folder(output, force)
    return output


def _tensors_of_all(opened: Dump, selection: Selection, ids: bool, note: Note) -> list[Exported]:
    """Return the tensors of `--all`, the loss, and with `ids` who the examples are."""
    selected = bool(selection.layers or selection.exclude or selection.max_depth)
    examples = named_examples(opened) if ids else None
    selected_tensors = choose(opened, selection) if selected else list(opened.tensors())
    names = [names_of_rows(opened, tensor) if ids else None for tensor in selected_tensors]
    tensors = [replace(one, ids=rows) for one, rows in zip(exported_all(selected_tensors), names, strict=True)]
    loss = exported_loss(opened)
    if loss is not None and not selected:
        tensors.append(replace(loss, ids=names_apart(opened, loss) if ids else None))
    if not any(tensor.views for tensor in tensors):
        reasons = {f"'{tensor.address}' {tensor.reason}" for tensor in tensors}
        raise DumpError(f"{opened.name} holds no values to write{f': {min(reasons)}' if reasons else ''}")
    for tensor in tensors:
        if not tensor.views:
            note(f"left out: '{tensor.name}' {tensor.reason}")
    return tensors if examples is None else [*tensors, *exported_examples(examples)]


def _write_all(opened: Dump, tensors: Sequence[Exported], layout: str, output: Path, header: bool, force: bool) -> None:
    with held_back():
        if layout == "npz":
            write_file(output, npz_file(tensors), force, opened.check_unchanged)
        else:
            write_folder(output, folder_files(opened, tensors, layout, header), force, opened.check_unchanged)
        ignore()


def _refuse_itself(opened: Dump, output: Path) -> None:
    if output.is_file() and output.samefile(opened.name):
        raise DumpError(f"output {output} is the dump itself (choose another with -o)")
