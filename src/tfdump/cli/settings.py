"""What `-q` and `-v` ask for, wherever on the command line they stand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class Settings:
    """How much to say on stderr."""

    quiet: bool = False
    verbose: bool = False


def verbosity(command: Command) -> Command:
    """Add `-q/--quiet` and `-v/--verbose`."""

    def remember(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
        def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
            if value:
                setattr(ctx.ensure_object(Settings), name, True)

        return callback

    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=remember("quiet"),
        help="No notes and no progress on stderr.",
    )
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=remember("verbose"),
        help="Show TensorFlow's messages, more notes, and where an error came from.",
    )
    return quiet(verbose(command))
