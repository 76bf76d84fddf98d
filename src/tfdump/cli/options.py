"""Options and arguments that several commands share, each named once."""

import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tfdump.byte_sizes import parse_bytes, show_bytes
from tfdump.captures import Captures
from tfdump.errors import TfdumpError
from tfdump.run.batching import DEFAULT_MEMORY

if TYPE_CHECKING:
    from tfdump.inputs.source import ReadingOptions
    from tfdump.run.options import RunOptions

Command = TypeVar("Command", bound=Callable[..., Any])


class FileName(click.ParamType[Any]):
    """A file or folder; in provenance only its name appears, not its folder."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; a URL is none."""
        if "://" in str(value):
            raise TfdumpError(f"{value} is a URL; download it first")
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Let the shell complete file names."""
        return [click.shell_completion.CompletionItem(incomplete, type="file")]


class InputName(FileName):
    """`[NAME=]FILE[::MEMBER]`, or `-`."""

    name = "input"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text as it is; the inputs package takes it apart."""
        return value


class _Parsed(click.ParamType[Any]):
    """Text read by a function of the library, whose TfdumpError becomes a usage error."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except TfdumpError as error:
            raise click.UsageError(str(error), ctx) from None


def parsed(name: str, read: Callable[[str], Any]) -> click.ParamType[Any]:
    """Return a parameter type called `name` that `read` makes of the text."""
    return _Parsed(name, read)


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise TfdumpError(f"--batch-size '{text}' is neither a number from 1 up nor 'auto'")
    return int(text)


def _examples(text: str) -> tuple[int | None, int | None]:
    from tfdump.inputs.source import parse_examples

    return parse_examples(text)


def model_options(command: Command) -> Command:
    """Add the model, its inputs, and what may run while loading it."""
    decorators = [
        click.argument("model", type=FileName()),
        click.option(
            "--import",
            "imports",
            multiple=True,
            metavar="MODULE|FILE.py",
            type=FileName(),
            allow_from_autoenv=False,
            help="Import your module first: it defines custom layers. Repeatable.",
        ),
        click.option(
            "--trust-model",
            is_flag=True,
            allow_from_autoenv=False,
            help="Let the model file run code of its own (Lambda layers, SavedModel).",
        ),
        click.option(
            "--max-bytes",
            type=parsed("SIZE", parse_bytes),
            help="What the files may make it hold in memory. [default: a quarter of it]",
        ),
        click.option("--signature", metavar="NAME", help="Of a SavedModel or .tflite file that has several."),
    ]
    return _apply(decorators, command)


def selection_options(what: str = "layers") -> Callable[[Command], Command]:
    """Return what adds `-l`, `-x` and `--depth`; `what` they choose among, for the help."""
    decorators = [
        click.option(
            "-l",
            "--layer",
            multiple=True,
            metavar="PATTERN",
            help=f"Only these {what}: an address, a glob ('block*'), type:CLASS or re:REGEX. Repeatable.",
        ),
        click.option("-x", "--exclude", multiple=True, metavar="PATTERN", help="Not these. Repeatable."),
        click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Addresses of at most N segments."),
    ]
    return lambda command: _apply(decorators, command)


def running_options(command: Command) -> Command:
    """Add how inputs are read and how the model is run."""

    decorators = [
        click.option(
            "--batch-size",
            type=parsed("N|auto", _batch_size),
            metavar="N|auto",
            default="auto",
            show_default=True,
            help="Examples at once; auto stays within --memory.",
        ),
        click.option(
            "--memory",
            type=parsed("SIZE", parse_bytes),
            default=show_bytes(DEFAULT_MEMORY).replace(".0 ", ""),
            show_default=True,
            help="What one batch may take, for --batch-size auto.",
        ),
        click.option("--examples", type=parsed("START:STOP", _examples), default=":", help="Only these examples."),
        click.option("--training", is_flag=True, help="Run in training mode (dropout, batch statistics)."),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            metavar="N",
            default=0,
            show_default=True,
            help="For random layers.",
        ),
        click.option("--eager", is_flag=True, help="Run without a graph; slower, for models that cannot be traced."),
        click.option("--pad-value", type=float, default=0.0, show_default=True, help="Fills ragged inputs."),
        click.option("--pad-to", type=click.IntRange(1, 2**31 - 1), metavar="N", help="Pad ragged inputs to N."),
        click.option("--strict-dtype", is_flag=True, help="Refuse inputs that would have to be cast."),
    ]
    return _apply(decorators, command)


def storing_options(kind: str) -> Callable[[Command], Command]:
    """Return what adds where a dump of this kind goes and how it is stored."""
    from tfdump.run.options import FLOAT_DTYPES

    decorators = [
        click.option("-o", "--output", type=FileName(), help=f"The dump. [default: MODEL.{kind}.h5]"),
        click.option("-f", "--force", is_flag=True, help="Overwrite the output."),
        click.option("--dtype", type=click.Choice(FLOAT_DTYPES), help="Store floats in this type."),
        click.option(
            "--compression",
            type=click.Choice(["none", "gzip", "zstd"]),
            default="none",
            show_default=True,
            help="zstd needs the extra tfdump[zstd].",
        ),
        click.option("--resume", is_flag=True, help="Go on with an interrupted run, and keep what this one computes."),
        click.option("--checksums", is_flag=True, help="Store a CRC-32 of each tensor too."),
        click.option("--stats", is_flag=True, help="Store statistics of each tensor too."),
        click.option("--stats-only", is_flag=True, help="Store statistics and no values."),
        click.option("--dry-run", is_flag=True, help="Print what would be dumped, and write nothing."),
    ]
    return lambda command: _apply(decorators, command)


def capture_options(command: Command) -> Command:
    """Add the options that take more than what the layers return."""
    flag = partial(click.option, is_flag=True)
    decorators = [
        flag("--attention", help="Also the scores of every attention layer (:attention_scores)."),
        flag("--rnn-steps", help="Also the states of recurrent layers at every time step (:states.0)."),
        flag("--rnn-gates", help="Also the gates of LSTM and GRU at every time step (:gates.forget)."),
        flag("--preactivation", help="Also what goes into a layer's activation (:preactivation)."),
        flag("--layer-inputs", help="Also what goes into each layer (:input)."),
    ]
    return _apply(decorators, command)


def take_captures(choices: dict[str, Any]) -> Captures:
    """Take what `capture_options` added out of the parameters of a command."""
    return Captures(**{field.name: choices.pop(field.name) for field in fields(Captures)})


def reading_and_running(choices: dict[str, Any]) -> "tuple[ReadingOptions, RunOptions]":
    """Take what `running_options` added, but `seed` and `eager`, out of the parameters of a command."""
    from tfdump.inputs.source import ReadingOptions
    from tfdump.run.options import RunOptions

    take = choices.pop
    reading = ReadingOptions(take("pad_value"), take("pad_to"), take("strict_dtype"), take("examples"))
    return reading, RunOptions(take("batch_size"), take("memory"), take("training"))


json_option = click.option("--json", is_flag=True, help="Print JSON.")


def _slice(text: str) -> Any:
    from tfdump.dump.slicing import parse_slice

    return parse_slice(text)


slice_option = click.option(
    "--slice",
    "slicing",
    type=parsed("SLICE", _slice),
    help="Only these values, as NumPy writes it: 0,:,:,3 or ...,-1 or 2:10:2.",
)


def verdict_options(command: Command) -> Command:
    """Add `--format` and `--json`, for commands that end in a verdict; `chosen_format` reads them."""
    decorators = [
        click.option(
            "--format",
            "layout",
            type=click.Choice(["table", "tsv", "json", "junit"]),
            help="How to print the verdict. [default: table on a terminal, tsv in a pipe]",
        ),
        click.option("--json", is_flag=True, help="Short for --format json."),
    ]
    return _apply(decorators, command)


def chosen_format(layout: str | None, json: bool) -> str:
    """Return `table`, `tsv`, `json` or `junit` of what `verdict_options` added."""
    if json and layout not in (None, "json"):
        raise click.UsageError(f"--json and --format {layout} exclude each other")
    return layout or ("json" if json else "table" if sys.stdout.isatty() else "tsv")


def _apply(decorators: list[Callable[[Any], Any]], command: Command) -> Command:
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
