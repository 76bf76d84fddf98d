"""`tfdump import`."""

from pathlib import Path

import click

from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.options import FORCE, OUTPUT, DeviceFileName, FileName, parsed
from tfdump.cli.progress import notes
from tfdump.cli.recorded_command import recorded_command
from tfdump.cli.render import write
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.device_files.expected import DTYPES
from tfdump.device_files.file_names import parse_device_file
from tfdump.device_files.importing import ImportOptions, import_files
from tfdump.device_files.reading import BYTE_ORDERS, FORMATS
from tfdump.dump.target import check_target
from tfdump.errors import DumpError
from tfdump.files.paths import refuse_other_ending
from tfdump.inputs.source import parse_examples

EXAMPLES = (
    (
        "Read the raw values of one layer.",
        "tfdump import hidden.bin --like golden.h5 -o device.h5",
    ),
    (
        "Read what a serial console showed of the first four examples.",
        "tfdump import predictions=serial.log --like golden.h5 --examples 0:4 -o serial.h5",
    ),
)

FILES = option_under("Files")


@click.command("import", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("files", nargs=-1, required=True, type=DeviceFileName(), metavar="[ADDRESS=]FILE...")
@FILES(
    "--like", required=True, metavar="DUMP", type=FileName(), help="Take addresses, shapes and dtypes from this dump."
)
@FILES("--format", "layout", type=click.Choice(FORMATS), help="Read this format. [default: by the ending of each file]")
@FILES("--dtype", type=click.Choice(DTYPES), help="Read numbers of this dtype. [default: that of each tensor]")
@FILES(
    "--byte-order",
    type=click.Choice([*BYTE_ORDERS]),
    default="little",
    show_default=True,
    help="Read raw values in this order of bytes.",
)
@FILES(
    "--examples",
    type=parsed("START:STOP", parse_examples),
    default=":",
    help="Say which examples the device computed, if not all of DUMP.",
)
@OUTPUT("-o", "--output", required=True, type=FileName(), help="Write the dump to this file.")
@FORCE
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    like: Path,
    layout: str | None,
    dtype: str | None,
    byte_order: str,
    examples: tuple[int | None, int | None],
    output: Path,
    force: bool,
) -> None:
    """Read what a device computed into a dump.

    Each FILE holds one tensor of DUMP: raw values (.bin), CSV, .npy, or numbers as a serial console shows them (.txt,
    .log). It is named after the address of the tensor, as `tfdump cat` names files, or comes behind ADDRESS=. The
    command prints the path of the dump, which `diff` and `compare` take as a side.
    """
    verbosity: Verbosity = ctx.obj
    refuse_other_ending(output, [".h5", ".hdf5"], DumpError)
    sources = [parse_device_file(text) for text in files]
    check_target(output, force, [like, *(source.path for source in sources)])
    options = ImportOptions(dtype, byte_order, layout, examples)
    import_files(sources, like, output, options, recorded_command(ctx), force, notes(verbosity))
    write(f"{output}\n")
