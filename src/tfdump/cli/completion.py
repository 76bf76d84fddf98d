"""Shell completion: the addresses inside the dump on the command line."""

import os
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string


class Address(click.ParamType[Any]):
    """The address of a tensor of the dump that the argument `dump` names."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text unchanged; the dump resolves it."""
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Return the addresses in the dump that start with `incomplete`; none without a dump."""
        dump = ctx.params.get("dump")
        if dump is None:
            return []
        from tfdump.dump.reader import open_dump
        from tfdump.errors import TfdumpError

        try:
            with open_dump(dump) as opened:
                names = [f"{group}/{name}" for group, names in opened.groups.items() for name in names]
                addresses = list(dict.fromkeys([*opened, *names]))
        except (TfdumpError, OSError):  # a shell shows no errors; the command itself does
            return []
        return [CompletionItem(name) for name in addresses if name.startswith(incomplete)]


class WholeWords(BashComplete):
    """Completion in bash of words that hold `:` and `@`, as addresses do; bash splits words there."""

    source_template = BashComplete.source_template.replace(
        "env ", 'env COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" ', 1
    )
    _done = ""
    """The part of the word that bash treats as separate words, and leaves unchanged."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor as the command receives them, and the incomplete word."""
        line, breaks = os.environ.get("COMP_LINE"), os.environ.get("COMP_WORDBREAKS", "")
        if line is None:
            return super().get_completion_args()
        words = split_arg_string(line)[1:]
        incomplete = words.pop() if words and not line[-1].isspace() else ""
        split = os.environ["COMP_WORDS"].split("\n")[int(os.environ["COMP_CWORD"])]
        if not split.startswith(("'", '"')):
            ends = [incomplete.rfind(":") + 1 if ":" in breaks else 0, incomplete.rfind("@") if "@" in breaks else 0]
            self._done = incomplete[: max(ends)]  # an @ belongs to the word after it
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return a completion, without the part that the command line already has."""
        return f"{item.type},{item.value.removeprefix(self._done)}"


def complete_whole_words() -> None:
    """Make `WholeWords` the completion in bash."""
    add_completion_class(WholeWords)
