"""The options of commands that run a model on data which is not arrays, and the record that they become."""

import re
from collections.abc import Iterable
from typing import Any

import click

from tfdump.cli.help_page import CommandFunction, option_under
from tfdump.cli.options import FileName, FunctionName, decorated, parsed
from tfdump.cli.progress import notes
from tfdump.cli.verbosity import Verbosity
from tfdump.errors import TfdumpError
from tfdump.inputs.arguments import has_table, parse_argument
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.options_without_data import options_without_data
from tfdump.inputs.other_kinds import TABLES
from tfdump.inputs.preprocessing import parse_steps
from tfdump.model.data_libraries import LIBRARIES

_DATA = option_under("Data")
_IMAGES = option_under("Images")
_SOUND = option_under("Sound")

_INTERPOLATIONS = (
    *("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"),
    *("lanczos", "box", "hamming"),
)
"""Those of TensorFlow and of Pillow; what decodes the images refuses the ones of the other."""


def image_size(text: str) -> tuple[int, int]:
    """Return height and width from `H,W`; raises TfdumpError for other text."""
    sizes = re.fullmatch(r"([1-9]\d{0,4})\s*[,x]\s*([1-9]\d{0,4})", text.strip(), re.ASCII)
    if sizes is None:
        raise TfdumpError(f"--image-size '{text}' is no height and width in pixels (for example 224,224)")
    return int(sizes[1]), int(sizes[2])


image_size_option = _IMAGES(
    "--image-size",
    type=parsed("H,W", image_size),
    help="Resize images to this height and width. [default: what the model declares]",
)


def data_options(command: CommandFunction) -> CommandFunction:
    """Add the options that decide how data becomes arrays."""
    seconds = click.FloatRange(min=0, min_open=True)
    decorators = [
        _DATA("--random", type=click.IntRange(min=1), metavar="N", help="Run on N random examples, without any INPUT."),
        _DATA(
            "--open-size",
            type=click.IntRange(min=1),
            metavar="N",
            help="With --random: the size of axes that the model leaves open.",
        ),
        _DATA(
            "--data",
            "function",
            type=FunctionName(),
            metavar="FILE.py:FUNCTION",
            allow_from_autoenv=False,
            help="Run on what this function of yours returns: batches, a data set or arrays.",
        ),
        _DATA(
            "--preprocess",
            multiple=True,
            type=FunctionName(),
            metavar="[INPUT=]STEPS",
            allow_from_autoenv=False,
            help="Change values first: resnet50 (as in keras.applications), scale=1/255, 'mean=0.5;std=0.25', "
            "FILE.py:FUNCTION. Repeatable.",
        ),
        _DATA("--features", type=FileName(), metavar="SPEC.json", help="Read these features of TFRecord files."),
        _DATA("--id-column", metavar="NAME", help="Name the examples of a table by this column, not by its lines."),
        _DATA("--preset", type=FileName(), metavar="FOLDER", help="Tokenize text as this keras-hub preset does."),
        _DATA("--skip-damaged", is_flag=True, help="Leave out files and records that cannot be read, and list them."),
        image_size_option,
        _IMAGES(
            "--resize",
            type=click.Choice(["stretch", "crop", "pad"]),
            default="stretch",
            show_default=True,
            help="Resize the whole image, its middle, or the whole between margins.",
        ),
        _IMAGES(
            "--interpolation",
            type=click.Choice(_INTERPOLATIONS),
            metavar="NAME",
            default="bilinear",
            show_default=True,
            help="Compute pixels this way: nearest, bilinear, bicubic, area, lanczos3, ...",
        ),
        _IMAGES(
            "--decoder",
            type=click.Choice(["tensorflow", "pillow"]),
            default="tensorflow",
            show_default=True,
            help="Give the pixels of Keras's image_dataset_from_directory, or those of load_img.",
        ),
        _IMAGES("--exif", is_flag=True, help="Turn images as their EXIF orientation says."),
        _SOUND(
            "--sample-rate",
            type=click.IntRange(min=1),
            metavar="HZ",
            help="Refuse sound of another sample rate.",
        ),
        _SOUND("--window", type=seconds, metavar="SECONDS", help="Cut sound into examples of this length."),
        _SOUND(
            "--hop", type=seconds, metavar="SECONDS", help="Start the next example after this time. [default: --window]"
        ),
    ]
    return decorated(command, decorators)


_NAMES = (
    *("image_size", "resize", "interpolation", "decoder", "exif", "skip_damaged", "features", "preset"),
    "id_column",
    *("sample_rate", "window", "hop", "random", "open_size", "function"),
)


def data_options_from(parameters: dict[str, Any]) -> DataOptions:
    """Return the parameters that `data_options` added, and remove them; `seed`, `examples` and `preprocess` stay."""
    parse_steps(parameters["preprocess"])  # so that what is wrong with them is told before the model is loaded
    start, stop = parameters["examples"]
    most = stop if stop is not None and stop > 0 and (start is None or start >= 0) else None
    return DataOptions(
        **{name: parameters.pop(name) for name in _NAMES},
        seed=parameters["seed"],
        most_examples=most,
        preprocess=parameters["preprocess"],
        libraries=LIBRARIES,
    )


def check_inputs(inputs: tuple[str, ...], options: DataOptions, targets: tuple[str, ...] = ()) -> None:
    """Raise UsageError where no data is given, or two kinds of data exclude each other.

    The column of `--id-column` may be one of `targets`.
    """
    ways = [
        way
        for way, is_set in (
            (f"INPUT {inputs[0] if inputs else ''}".strip(), bool(inputs)),
            (f"--random {options.random}", options.random is not None),
            (f"--data {options.function}", options.function is not None),
        )
        if is_set
    ]
    if not ways:
        raise click.UsageError("Missing argument 'INPUT...' (or try the model without data: --random 8)")
    if len(ways) > 1:
        raise click.UsageError(f"{' and '.join(ways)} exclude each other (leave one of them out)")
    if options.open_size is not None and options.random is None:
        raise click.UsageError("--open-size is the size of random examples (add --random N)")
    files = [parse_argument(text).file.lower() for text in inputs]
    if options.id_column is not None and not has_table([*inputs, *targets]):
        raise click.UsageError(f"--id-column is a column of a table (give one of {', '.join(TABLES)})")
    if options.preset is not None and not any(file.endswith((".txt", *TABLES)) for file in files):
        raise click.UsageError("--preset tokenizes text (give a .txt file, or a column of a table: data.csv::text)")
    if options.hop is not None and options.window is None:
        raise click.UsageError("--hop needs the length of the pieces (add --window SECONDS)")


def tell_unused(arrays: Iterable[InputArray], options: DataOptions, verbosity: Verbosity) -> None:
    """Write a note about options for images, sound or records where no input is of that kind."""
    for text in options_without_data(arrays, options):
        notes(verbosity)(text)
