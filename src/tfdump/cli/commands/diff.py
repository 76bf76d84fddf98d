"""`tfdump diff`."""

from pathlib import Path
from typing import Any

import click

from tfdump.cli.comparing.comparison_options import comparison_options, diff_options_from
from tfdump.cli.comparing.comparison_output import comparison_output_from, write_comparison
from tfdump.cli.help_page import DocumentedCommand
from tfdump.cli.options import FileName
from tfdump.cli.progress import reading_bar
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.comparison.diff import compare

EXAMPLES = (
    (
        "Compare two dumps; the exit status is 1 where they differ.",
        "tfdump diff golden.h5 new.h5",
    ),
    (
        "Allow larger differences in one layer, and list the tensors that agree.",
        "tfdump diff golden.h5 new.h5 --rtol 1e-3 --rtol 'predictions=1e-2' --all",
    ),
    (
        "Require equal bits, and print JSON.",
        "tfdump diff golden.h5 new.h5 --exact --json",
    ),
)


@click.command("diff", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("golden", type=FileName())
@click.argument("new", type=FileName())
@comparison_options
@verbosity_options
@click.pass_context
def command(ctx: click.Context, /, golden: Path, new: Path, **parameters: Any) -> int:
    """Compare two dumps, and name the first layer that diverges.

    An element passes when |new - golden| <= atol + rtol*|golden| + scale*max|golden|. The defaults of rtol and scale
    are 1e-4 and 1e-5 for float32, 1e-9 and 1e-11 for float64, 1e-2 and 5e-3 for float16, 5e-2 and 3e-2 for bfloat16.
    Integers, bools and text are compared exactly. GOLDEN or NEW may also be plain arrays: .npy, .npz or HDF5.

    The table lists the tensors that differ; the verdict is on stderr. Exit status: 0 no difference, 1 differences,
    2 an error.
    """
    output = comparison_output_from(parameters, "diff")
    options = diff_options_from(parameters)
    verbosity: Verbosity = ctx.obj
    with reading_bar(verbosity, "comparing") as progress:
        report = compare(golden, new, options, progress)
    return write_comparison(report, output, verbosity)
