"""The command line: finds commands without importing them, and turns errors into exit statuses."""

import os
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click

from tfdump.cli.help_page import MOST_COLUMNS, write_examples
from tfdump.cli.render import say, write
from tfdump.cli.verbosity import Verbosity, verbosity_options
from tfdump.errors import INTERRUPTION, TfdumpError
from tfdump.process import signals
from tfdump.process.garbage import settle_collection
from tfdump.version import __version__

COMMANDS = {
    "layers": "List the address of every tensor inside a model.",
    "activations": "Dump the output of every layer to HDF5.",
    "gradients": "Dump the gradients of weights, activations and inputs to HDF5.",
    "weights": "Dump the weights of a model to HDF5.",
    "show": "Show the tensors of a dump or a folder of dumps, or their values.",
    "cat": "Write tensors of a dump as .npy, .npz, CSV, safetensors, Parquet, raw values or C headers.",
    "import": "Read what a device computed into a dump.",
    "check": "Look for NaN, Inf, dead units, saturation, and vanishing gradients.",
    "compare": "Compare two models, or a model and a dump, over the same inputs.",
    "diff": "Compare two dumps, and name the first layer that diverges.",
    "merge": "Write a folder of shards (--shards DIR) as one dump.",
    "plot": "Draw a tensor of a dump.",
    "ranges": "Tell the ranges of tensors, and what int8 or fewer bits would cost.",
    "report": "Write one HTML page about a dump, or about two dumps compared.",
}
"""Every command with its first line of help, so that `--help` imports none of them."""

EXAMPLES = (
    (
        "Dump the output of every layer, and look at it.",
        "tfdump activations sample_models/digits_cnn.keras sample_models/digits.npy\n"
        "  tfdump show digits_cnn.activations.h5",
    ),
    (
        "Find NaN, Inf and dead units.",
        "tfdump check digits_cnn.activations.h5",
    ),
    (
        "Compare two dumps in CI.",
        "tfdump diff golden.h5 new.h5",
    ),
)

COMPLETION = "_TFDUMP_COMPLETE"
"""The environment variable with which a shell asks for completions."""

OK, TROUBLE, INTERRUPTED = 0, 2, 130

HELP = "help"
"""A command that means `--help`; it is not listed."""


class CommandTable(click.Group):
    """A group whose commands live in modules of their own, imported when they are called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `help [COMMAND]` as `[COMMAND] --help`."""
        if args[:1] == [HELP]:
            args = [name for name in args[1:2] if name != HELP] + ["--help"]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command, or return None."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = import_module(f"tfdump.cli.commands.{module}").command
        settle_collection()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(EXAMPLES, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; for an unknown name, the error suggests near names."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from tfdump.errors import near

            ctx.fail(f"no command '{args[0]}'{near(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        write(f"tfdump {__version__}\n")
        ctx.exit()


@click.group(
    cls=CommandTable,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "TFDUMP",
        "max_content_width": MOST_COLUMNS,
    },
)
@click.option(
    "--version",
    is_flag=True,
    allow_from_autoenv=False,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@verbosity_options
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Show every tensor inside a saved Keras model."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def run_process() -> int:
    """Run the command line of this process with its signal handlers, and return the exit status."""
    try:
        signals.install()
        status = run()
    except signals.Terminated as ended:
        status = _interrupted(ended)
    signals.ignore()
    return status


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; errors become one line on stderr."""
    verbosity = Verbosity()
    if COMPLETION in os.environ:
        from tfdump.cli.completion import complete_whole_words

        complete_whole_words()
    try:
        result: Any = cli.main(args, prog_name="tfdump", standalone_mode=False, obj=verbosity)
        return result if isinstance(result, int) else OK
    except (click.Abort, KeyboardInterrupt):
        say(INTERRUPTION)
        return INTERRUPTED
    except signals.Terminated as ended:
        return _interrupted(ended)
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return TROUBLE
    except Exception as error:
        interrupted = signals.waiting()
        if isinstance(interrupted, signals.Terminated):  # library code turned it into an error
            return _interrupted(interrupted)
        if verbosity.verbose:
            import traceback

            say(traceback.format_exc().rstrip())
        say(f"Error: {_one_line(_message(error))}")
        return TROUBLE


def _interrupted(ended: signals.Terminated) -> int:
    if ended.status == INTERRUPTED and ended.remains is None:
        say(INTERRUPTION)
    else:
        how = "interrupted" if ended.status == INTERRUPTED else f"ended by {ended}"
        say(f"Error: {how}" if ended.remains is None else f"Error: {how}; {ended.remains}")
    return ended.status


def _message(error: Exception) -> str:
    """Return the message of an error: what is wrong, where, and how to fix it."""
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "tfdump"
        return f"{_one_line(error.format_message()).rstrip('.')} (see: {where} --help)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, TfdumpError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}" if error.filename else "cannot write to standard output"
        return f"{where}: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return "out of memory; lower --batch-size or --memory"
    return _unexpected(error)


def _unexpected(error: Exception) -> str:
    from tfdump.process.requirements import complaint_behind

    mistake = f"unexpected {type(error).__name__}: {error} (a bug in tfdump; please report it with the output of -v)"
    return complaint_behind(error) or mistake


def _one_line(text: str) -> str:
    return " ".join(text.split())
