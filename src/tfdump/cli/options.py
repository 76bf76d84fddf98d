"""Types of parameters, and the options that several commands share, each defined once."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tfdump.cli.help_page import CommandFunction, option_under
from tfdump.errors import TfdumpError


class FileName(click.ParamType[Any]):
    """A file or folder; a dump records only its name, not its folder."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; raises TfdumpError for a URL, and UsageError for an empty text."""
        if value == "":
            self.fail("it is empty (name a file or a folder)", param, ctx)
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
        """Return the text unchanged; the package `inputs` parses it."""
        return value


class DeviceFileName(FileName):
    """`[ADDRESS=]FILE`; a dump records the name of the file without its folder."""

    name = "device file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text unchanged; the package `device_files` parses it."""
        return value


class FunctionName(FileName):
    """`FILE.py:FUNCTION`, or another text that may end so; a dump records it without the folder."""

    name = "function"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text unchanged; the package `inputs` parses it."""
        return value


class _Parsed(click.ParamType[Any]):
    """Text that a function of the library reads; its TfdumpError becomes a usage error."""

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
    """Return a parameter type called `name`, whose values are what `read` returns for the text."""
    return _Parsed(name, read)


SELECTION = option_under("Selection")
OUTPUT = option_under("Output")

FORCE = OUTPUT("-f", "--force", is_flag=True, help="Overwrite an existing output.")


def selection_options(what: str = "layers") -> Callable[[CommandFunction], CommandFunction]:
    """Return a decorator that adds `-l`, `-x` and `--depth`; the help calls what they select `what`."""
    decorators = [
        SELECTION(
            "-l",
            "--layer",
            multiple=True,
            metavar="PATTERN",
            help=f"Select only these {what}: an address, a glob ('block*'), type:CLASS or re:REGEX. Repeatable.",
        ),
        SELECTION("-x", "--exclude", multiple=True, metavar="PATTERN", help="Leave these out. Repeatable."),
        SELECTION(
            "--depth",
            type=click.IntRange(min=1),
            metavar="N",
            help="Select only addresses of at most N segments.",
        ),
    ]
    return lambda command: decorated(command, decorators)


json_option = OUTPUT("--json", is_flag=True, help="Print JSON.")


def _slice(text: str) -> Any:
    from tfdump.dump.slicing import parse_slice

    return parse_slice(text)


slice_option = option_under("Values")(
    "--slice",
    "slicing",
    type=parsed("SLICE", _slice),
    help="Select values with a NumPy slice: 0,:,:,3 or ...,-1 or 2:10:2.",
)


def verdict_options(command: CommandFunction) -> CommandFunction:
    """Add `--format` and `--json` to a command that ends in a verdict; `verdict_format` reads them."""
    decorators = [
        OUTPUT(
            "--format",
            "layout",
            type=click.Choice(["table", "tsv", "json", "junit"]),
            help="Print the verdict in this format. [default: table on a terminal, tsv in a pipe]",
        ),
        OUTPUT("--json", is_flag=True, help="Print JSON, as --format json does."),
    ]
    return decorated(command, decorators)


def verdict_format(layout: str | None, json: bool) -> str:
    """Return `table`, `tsv`, `json` or `junit`, as the options of `verdict_options` ask; raises UsageError."""
    if json and layout not in (None, "json"):
        raise click.UsageError(f"--json and --format {layout} exclude each other (leave one of them out)")
    return layout or ("json" if json else "table" if sys.stdout.isatty() else "tsv")


def decorated(command: CommandFunction, decorators: list[Callable[[Any], Any]]) -> CommandFunction:
    """Apply decorators so that their options are in the order of the list."""
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
