"""The page that `--help` prints for a command: its options under headings, and examples at the end."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tfdump.cli.terminal import stdout_terminal

if TYPE_CHECKING:
    import cloup

GENERAL = "General"
"""The last heading: `--quiet`, `--verbose` and `--help`."""

MOST_COLUMNS = 120
"""The widest line of help; longer lines are hard to read."""


class HeadedOption(click.Option):
    """An option with the heading under which `--help` lists it."""

    def __init__(self, *arguments: Any, heading: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.heading = heading


class WordOption(HeadedOption):
    """A switch that may be followed by one of some words.

    Click would take any next argument as the value of an option whose value is optional, also `model.keras`.
    """

    def __init__(self, *arguments: Any, words: Sequence[str], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.words = words

    def joined(self, arguments: Sequence[str]) -> list[str]:
        """Return the arguments of a command line, the option with its value: `--stats=quantiles`, `--stats=true`."""
        joined: list[str] = []
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            if argument == "--":
                return [*joined, argument, *rest]
            if argument in self.opts:
                argument += f"={rest.pop(0) if rest and rest[0] in self.words else 'true'}"
            joined.append(argument)
        return joined

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Let the shell complete the words, and the names of files, which may be the next argument."""
        from click.shell_completion import CompletionItem

        words = [CompletionItem(word) for word in self.words if word.startswith(incomplete)]
        return [*words, CompletionItem(incomplete, type="file")]


Decorator = Callable[[Any], Any]
CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])
"""The function of a command, to which a decorator adds options."""


def option_under(heading: str) -> Callable[..., Decorator]:
    """Return a decorator such as `click.option`, whose options `--help` lists under `heading`."""
    return partial(click.option, cls=HeadedOption, heading=heading)


class DocumentedCommand(click.Command):
    """A command whose help ends with examples: pairs of a sentence and the command line that does what it says.

    `--help` alone imports Cloup, which lays the page out: no other command waits for it.
    """

    def __init__(self, *arguments: Any, examples: Sequence[tuple[str, str]], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        for parameter in self.params:
            if isinstance(parameter, WordOption):
                args = parameter.joined(args)
        return super().parse_args(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Return the page, no wider than the terminal, or than 80 columns in a pipe."""
        import cloup

        formatter = cloup.HelpFormatter(max_width=MOST_COLUMNS, theme=_theme())
        self.format_help(ctx, formatter)
        return formatter.getvalue().rstrip("\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each heading."""
        import cloup

        assert isinstance(formatter, cloup.HelpFormatter)
        formatter.write_many_sections(list(self._sections(ctx)))

    def _sections(self, ctx: click.Context) -> "Iterator[cloup.formatting.HelpSection]":
        """Yield the headings in the order of their first options; `General` comes last."""
        from cloup.formatting import HelpSection

        records: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:  # arguments are in the usage line
                records.setdefault(getattr(parameter, "heading", GENERAL), []).append(record)
        general = records.pop(GENERAL)
        yield from (HelpSection(heading, rows) for heading, rows in records.items())
        yield HelpSection(GENERAL, general)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(self.examples, formatter)


def write_examples(examples: Sequence[tuple[str, str]], formatter: click.HelpFormatter) -> None:
    """Write a section of examples; a command line is never wrapped, so that it can be copied."""
    with formatter.section("Examples"):
        for number, (sentence, line) in enumerate(examples):
            if number:
                formatter.write("\n")
            formatter.write_text(f"# {sentence}")
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _theme() -> "cloup.HelpTheme":
    """Return bold headings for a terminal that shows styles, else no style."""
    import cloup

    if not stdout_terminal().color:
        return cloup.HelpTheme()
    return cloup.HelpTheme(heading=cloup.Style(bold=True))
