"""Completion by the shell: the addresses inside the dump that stands on the command line."""

from typing import Any

import click


class Address(click.ParamType[Any]):
    """The address of a tensor of the dump that the argument `dump` names."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text as it is; the dump knows what it means."""
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Return the addresses in the dump that begin with `incomplete`; none where there is no dump."""
        dump = ctx.params.get("dump")
        if dump is None:
            return []
        from tfdump.dump.reader import open_dump
        from tfdump.errors import TfdumpError

        try:
            with open_dump(dump) as opened:
                names = [f"{group}/{name}" for group, names in opened.groups.items() for name in names]
                addresses = list(dict.fromkeys([*opened, *names]))
        except (TfdumpError, OSError):  # a shell shows no errors; the command itself will
            return []
        return [click.shell_completion.CompletionItem(name) for name in addresses if name.startswith(incomplete)]
