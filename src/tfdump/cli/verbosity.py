"""The options `-q` and `-v`, before or after the command."""

from dataclasses import dataclass

import click

from tfdump.cli.help_page import GENERAL, CommandFunction, Decorator, option_under


@dataclass
class Verbosity:
    """How much a command prints on stderr."""

    quiet: bool = False
    verbose: bool = False


def verbosity_options(command: CommandFunction) -> CommandFunction:
    """Add `-q/--quiet` and `-v/--verbose`, which change the `Verbosity` of the context."""
    quiet = _flag("-q", "--quiet", "Print no notes and no progress on stderr.")
    verbose = _flag("-v", "--verbose", "Print more notes, TensorFlow's messages, and the traceback of an error.")
    function: CommandFunction = quiet(verbose(command))
    return function


def _flag(letter: str, name: str, help_text: str) -> Decorator:
    def switch_on(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(ctx.ensure_object(Verbosity), name.removeprefix("--"), True)

    return option_under(GENERAL)(
        letter, name, is_flag=True, expose_value=False, is_eager=True, callback=switch_on, help=help_text
    )
