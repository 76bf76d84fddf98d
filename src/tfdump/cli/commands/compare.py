"""`tfdump compare`."""

from typing import Any

import click

from tfdump.cli.comparing.comparison_options import comparison_options, diff_options_from
from tfdump.cli.comparing.comparison_output import comparison_output_from, write_comparison
from tfdump.cli.comparing.side_by_side import ComparisonFiles, check_files, compare_files
from tfdump.cli.help_page import DocumentedCommand, option_under
from tfdump.cli.model_options import RUNNING, inference_options, trust_options
from tfdump.cli.options import FORCE, OUTPUT, FileName, InputName
from tfdump.cli.parameter_records import reading_and_running_from, sides_from
from tfdump.cli.reading.data_options import check_inputs, data_options, data_options_from, tell_unused
from tfdump.cli.recorded_command import recorded_command
from tfdump.cli.verbosity import verbosity_options
from tfdump.inputs.arguments import open_arguments
from tfdump.model.backends.options import BACKENDS
from tfdump.run.options import seed_number
from tfdump.side_by_side.options import SideBySideOptions

EXAMPLES = (
    (
        "Compare a Keras model with its TFLite file.",
        "tfdump compare sample_models/digits_cnn.keras digits_cnn.tflite sample_models/digits.npy",
    ),
    (
        "Compare each tensor as a vector, and tell what error each layer adds.",
        "tfdump compare sample_models/digits_cnn.keras digits_cnn.tflite sample_models/digits.npy \\\n"
        "    --min-cosine 0.99 --isolate",
    ),
    (
        "Check a model against a golden dump in CI.",
        "tfdump compare golden.h5 digits_cnn.tflite sample_models/digits.npy --format junit",
    ),
)

_ONE_SIDE = option_under("Options of one side")


def _side_options(command: Any) -> Any:
    """Add the options of one side, for both sides."""
    for side in ("new", "golden"):
        name = side.upper()
        command = _ONE_SIDE(
            f"--{side}-signature",
            metavar="NAME",
            help=f"Run this signature of {name}, a SavedModel or .tflite file that has several.",
        )(command)
        command = _ONE_SIDE(
            f"--{side}-backend-python",
            metavar="PYTHON",
            type=FileName(),
            help=f"Run {name}, a Keras file, with this interpreter: another version of Keras, or another backend.",
        )(command)
        command = _ONE_SIDE(
            f"--{side}-backend",
            type=click.Choice(BACKENDS),
            help=f"Run {name}, a Keras file, on this backend. [default: tensorflow]",
        )(command)
        command = _ONE_SIDE(
            f"--{side}-dequantize",
            is_flag=True,
            help=f"Compare real numbers of {name}, a quantized .tflite or .onnx file.",
        )(command)
    return command


@click.command("compare", cls=DocumentedCommand, examples=EXAMPLES)
@click.argument("golden", type=FileName())
@click.argument("new", type=FileName())
@click.argument("inputs", nargs=-1, type=InputName(), metavar="INPUT...")
@comparison_options
@RUNNING("--first", is_flag=True, help="Stop at the first batch that differs.")
@RUNNING("--isolate", is_flag=True, help="Tell what error each layer adds; one side has to be a Keras model.")
@RUNNING(
    "--influence",
    is_flag=True,
    help="Also tell how much of the error of the outputs each layer causes. Slow: runs the Keras model for each layer.",
)
@inference_options
@data_options
@trust_options
@_side_options
@OUTPUT("-o", "--output", type=FileName(), metavar="FOLDER", help="Also write golden.h5 and new.h5 to this folder.")
@OUTPUT("--report", type=FileName(), metavar="PAGE", help="Also write an HTML page about the comparison.")
@OUTPUT(
    "--shrink",
    type=FileName(),
    metavar="FOLDER",
    help="Also write the smallest part that differs to this folder, for a bug report.",
)
@FORCE
@verbosity_options
@click.pass_context
def command(ctx: click.Context, /, inputs: tuple[str, ...], **parameters: Any) -> int:
    """Compare two models, or a model and a dump, over the same inputs.

    GOLDEN and NEW are models (.keras, HDF5, SavedModel, .tflite, .onnx), or one of them is a dump that was made with
    the same inputs. Both sides run batch by batch and are judged as `tfdump diff` judges two dumps, with the same
    options, formats and exit status. Nothing is stored, unless -o asks for both dumps.

    INPUT is as for `tfdump activations`. Exit status: 0 no difference, 1 differences, 2 an error.
    """
    data = data_options_from(parameters)
    check_inputs(inputs, data)
    output = comparison_output_from(parameters, "compare")
    options = diff_options_from(parameters)
    files = ComparisonFiles(
        parameters.pop("golden"),
        parameters.pop("new"),
        parameters.pop("output"),
        parameters.pop("report"),
        parameters.pop("shrink"),
        parameters.pop("force"),
    )
    sides = sides_from(parameters, files.golden, files.new)
    reading, run = reading_and_running_from({**parameters, "training": False})
    check_files(files, inputs, parameters["first"])
    arrays = open_arguments(inputs, options=data)
    tell_unused(arrays, data, ctx.obj)
    isolate, influence = parameters["isolate"], parameters["influence"]
    seed = seed_number(parameters["seed"])
    running = SideBySideOptions(reading, run, seed, options.ignore_ids, isolate, influence)
    report = compare_files(files, sides, arrays, running, options, parameters["first"], recorded_command(ctx), ctx.obj)
    return write_comparison(report, output, ctx.obj)
