"""`tfdump merge`."""

from pathlib import Path

import click

from tfdump.cli.help_page import DocumentedCommand
from tfdump.cli.options import FORCE, OUTPUT, FileName
from tfdump.cli.progress import notes, progress_bar
from tfdump.cli.render import write
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.dump.series import SUFFIXES
from tfdump.dump.shards.merge import merge_shards
from tfdump.errors import DumpError
from tfdump.files.paths import refuse_other_ending
from tfdump.process.signals import held_back, ignore

EXAMPLES = (
    (
        "Write the shards in a folder as one dump.",
        "tfdump merge shards/ -o features.h5",
    ),
    (
        "Write the dump again, over the file that is there.",
        "tfdump merge shards/ -o features.h5 --force",
    ),
)


@click.command("merge", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("folder", type=FileName(), metavar="DIR")
@OUTPUT("-o", "--output", type=FileName(), required=True, help="Write the dump to this file.")
@FORCE
@verbosity_options
@click.pass_obj
def command(verbosity: Verbosity, /, folder: Path, output: Path, force: bool) -> None:
    """Write a folder of shards (--shards DIR) as one dump.

    The file has the same bytes as the dump that one run would have written. Reading commands take DIR too, as it is:
    merge the shards for other programs, or to have one file. The command prints the path of the file.
    """
    refuse_other_ending(output, SUFFIXES, DumpError)
    with held_back(), progress_bar(verbosity) as progress:
        merge_shards(folder, output, force, notes(verbosity), progress)
        ignore()
    write(f"{output}\n")
