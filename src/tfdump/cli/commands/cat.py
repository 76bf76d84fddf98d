"""`tfdump cat`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import click

from tfdump.address import Selection
from tfdump.cli.completion import Address
from tfdump.cli.help_page import DocumentedCommand
from tfdump.cli.options import FORCE, OUTPUT, SELECTION, FileName, selection_options, slice_option
from tfdump.cli.progress import notes, reading_bar
from tfdump.cli.render import write, write_binary
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.slicing import Slicing
from tfdump.errors import DumpError
from tfdump.exports.archives import ARCHIVES, NAMED_ROWS, RAW, archive_file, row_files
from tfdump.exports.arrays import Exported, watched
from tfdump.exports.destination import check_output_folder, write_files, write_folder
from tfdump.exports.folder import folder_files, numbered_files
from tfdump.exports.formats import BINARY, SUFFIXES, format_of, layout_of, one_file
from tfdump.exports.raw import DESCRIPTION, raw_arrays, raw_description
from tfdump.exports.requested import ExportForm, all_tensors, tensors_at
from tfdump.files.paths import KNOWN_ENDINGS
from tfdump.process.signals import held_back, ignore
from tfdump.process.stages import silent_progress

_BY_ROWS = ("safetensors", "parquet")
"""The formats of which every file can hold some rows."""

_NAMED = ("csv", *NAMED_ROWS)
"""The formats in which one tensor has room for the names of the examples."""

EXAMPLES = (
    (
        "Write one tensor to a .npy file.",
        "tfdump cat digits_cnn.activations.h5 hidden -o hidden.npy",
    ),
    (
        "Write the features of 100 examples to each file, for PyTorch.",
        "tfdump cat digits_cnn.activations.h5 hidden --format safetensors --rows-per-file 100 -o features/",
    ),
    (
        "Write every tensor as a C header, with a table of all of them in index.h.",
        "tfdump cat digits_cnn.activations.h5 --all --format c -o vectors/",
    ),
)


@click.command("cat", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("dump", type=FileName())
@click.argument("addresses", nargs=-1, type=Address(), metavar="[ADDRESS]...")
@slice_option
@SELECTION("--all", "all_", is_flag=True, help="Write all tensors to a folder or one file (-o).")
@OUTPUT(
    "--format",
    "layout",
    type=click.Choice(list(SUFFIXES)),
    help="Write this format. [default: by the ending of the output, else npy]",
)
@OUTPUT("--no-header", is_flag=True, help="Leave the line of column names out of CSV.")
@OUTPUT("--ids", is_flag=True, help="Also write the name of each example, which Parquet always has.")
@OUTPUT(
    "--rows-per-file",
    type=click.IntRange(min=1),
    metavar="N",
    help="Write N rows to each of several files in a folder (-o): safetensors or parquet.",
)
@OUTPUT("-o", "--output", type=FileName(), help="Write to this file or folder. [default: standard output]")
@FORCE
@selection_options("tensors of --all")
@verbosity_options
@click.pass_obj
def command(
    verbosity: Verbosity,
    /,
    dump: Path,
    addresses: tuple[str, ...],
    slicing: Slicing | None,
    all_: bool,
    layout: str | None,
    no_header: bool,
    ids: bool,
    rows_per_file: int | None,
    output: Path | None,
    force: bool,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: int | None,
) -> None:
    """Write tensors of a dump as .npy, .npz, CSV, safetensors, Parquet, raw values or C headers.

    One tensor goes to standard output, or with -o to a file whose path the command prints. A file of npz, safetensors,
    parquet or bin can hold several tensors. A ragged, sparse or stacked tensor consists of several arrays; the formats
    npz, safetensors, bin and c hold all of them.
    """
    if all_ == bool(addresses):
        raise click.UsageError("give either the ADDRESS of a tensor or --all")
    if not all_ and (layer or exclude or depth):
        raise click.UsageError("-l, -x and --depth select tensors of --all (add --all)")
    if all_ and slicing is not None:
        raise click.UsageError("--slice belongs to single tensors (leave --all out and give an ADDRESS)")
    with open_dump(dump) as opened:
        if output is not None and (not all_ or format_of(output) in ARCHIVES):
            _refuse_itself(opened, output)
        form = ExportForm(_layout(output, layout, all_, rows_per_file), ids, rows_per_file or 0)
        _check_form(form, no_header, addresses)
        if all_:
            _check_output_of_all(output, form)
        in_folder = bool(form.rows_per_file) or (all_ and not _is_one_file(output, form.layout))
        if output is not None and in_folder:
            check_output_folder(output, force)
        on_terminal = output is None and sys.stdout.isatty()
        if on_terminal and form.layout in BINARY:
            raise click.UsageError(
                f".{form.layout} is binary and not for a terminal (use -o FILE, a pipe, or --format csv)"
            )
        bar = nullcontext(silent_progress) if on_terminal else reading_bar(verbosity, "writing")
        with bar as progress:  # on a terminal it would appear among the values
            if all_:
                tensors = all_tensors(opened, Selection(layer, exclude, depth), form, notes(verbosity))
            else:
                tensors = tensors_at(opened, addresses, slicing, form)
            job = _Job(opened, form, slicing, not no_header, output, force)
            job.write(watched(tensors, progress), in_folder)
    if output is not None:
        write(f"{output}\n")


@dataclass(frozen=True)
class _Job:
    """What is written, and where."""

    dump: Dump
    form: ExportForm
    slicing: Slicing | None
    header: bool
    output: Path | None
    force: bool

    def write(self, tensors: Sequence[Exported], in_folder: bool) -> None:
        """Write tensors to the file or the folder of the output, or to standard output."""
        if self.output is None:
            if self.form.layout == RAW and sum(len(tensor.views) for tensor in tensors) > 1:
                raise DumpError("several arrays as bin need a description beside them (add -o FILE.bin)")
            _print(self._file(tensors))
            return
        with held_back():
            if in_folder:
                write_folder(self.output, self._files(tensors), self.force, self.dump.check_unchanged)
            else:
                files = [(self.output, self._file(tensors)), *self._description(self.output, tensors)]
                write_files(files, self.force, self.dump.check_unchanged)
            ignore()

    def _file(self, tensors: Sequence[Exported]) -> Iterator[bytes]:
        cut = self.slicing.text if self.slicing else ""
        if self.form.layout in ARCHIVES:
            return archive_file(self.dump, tensors, self.form.layout, self._further)
        (tensor,) = tensors
        return one_file(self.dump, tensor, self.form.layout, cut, self.header)

    def _description(self, output: Path, tensors: Sequence[Exported]) -> list[tuple[Path, Iterator[bytes]]]:
        """Return the file that describes the output, if the format has one."""
        if self.form.layout != RAW:
            return []
        path = output.with_name(output.name + DESCRIPTION)
        return [(path, raw_description(self.dump, raw_arrays(tensors), output.name, self._further))]

    def _files(self, tensors: Sequence[Exported]) -> Iterator[tuple[str, Iterator[bytes]]]:
        if not self.form.rows_per_file:
            return folder_files(self.dump, tensors, self.form.layout, self.header)
        files = row_files([tensor for tensor in tensors if tensor.views], self.form.rows_per_file)
        left_out = [tensor for tensor in tensors if not tensor.views]
        return numbered_files(self.dump, files, self.form.layout, left_out, self._further)

    @property
    def _further(self) -> dict[str, str]:
        return {"slice": self.slicing.text} if self.slicing else {}


def _print(blocks: Iterable[bytes]) -> None:
    for block in blocks:
        if not write_binary(block):
            return


def _layout(output: Path | None, layout: str | None, all_: bool, rows_per_file: int | None) -> str:
    """Return the format; raises UsageError for one that does not go with --rows-per-file."""
    if rows_per_file is None:
        return (layout or format_of(output) or "npy") if all_ else layout_of(output, layout)
    if layout not in _BY_ROWS:
        other = layout or format_of(output)
        raise click.UsageError(
            f"--rows-per-file needs --format {' or '.join(_BY_ROWS)}{f', and the format is {other}' if other else ''}"
        )
    if output is None or (output.suffix.lower() in KNOWN_ENDINGS and not output.is_dir()):
        raise click.UsageError("--rows-per-file needs -o FOLDER, to which it writes the files")
    return layout


def _is_one_file(output: Path | None, layout: str) -> bool:
    """Tell whether --all writes one file; raw values can be one, or a folder."""
    return layout in ARCHIVES and (layout != RAW or format_of(output) == RAW)


def _check_form(form: ExportForm, no_header: bool, addresses: Sequence[str]) -> None:
    if no_header and form.layout != "csv":
        raise click.UsageError(f"--no-header belongs to --format csv, and the format is {form.layout} (leave it out)")
    if len(addresses) > 1 and form.layout not in ARCHIVES:
        raise click.UsageError(
            f".{form.layout} holds one tensor (use --format {', '.join(ARCHIVES[:-1])} or {ARCHIVES[-1]} for several)"
        )
    if form.ids and form.layout not in _NAMED and (addresses or form.layout == RAW):
        raise click.UsageError(
            f"--ids needs --format {', '.join(_NAMED[:-1])} or {_NAMED[-1]}, and .{form.layout} has no room for names"
        )


def _check_output_of_all(output: Path | None, form: ExportForm) -> None:
    endings = [SUFFIXES[name] for name in ARCHIVES]
    files = f"{', '.join(endings[:-1])} or {endings[-1]}"
    if output is None:
        raise click.UsageError(f"--all needs -o FOLDER or -o FILE with the ending {files}")
    if form.rows_per_file:
        return
    by_name = format_of(output)
    if output.suffix.lower() in KNOWN_ENDINGS and by_name not in ARCHIVES and not output.exists():
        raise click.UsageError(f"--all writes a folder or a {files} file, and {output.name} is neither (change -o)")
    if form.layout in NAMED_ROWS and by_name != form.layout:
        raise click.UsageError(f"--format {form.layout} needs -o FILE{SUFFIXES[form.layout]} with --all")
    if form.layout not in ARCHIVES and by_name in ARCHIVES:
        raise click.UsageError(f"--format {form.layout} needs -o FOLDER with --all, and {output.name} is a file")


def _refuse_itself(opened: Dump, output: Path) -> None:
    if output.is_file() and output.samefile(opened.name):
        raise DumpError(f"output {output} is the dump itself (choose another with -o)")
