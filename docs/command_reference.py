"""The reference of the commands: a Sphinx directive that writes what the commands say of themselves.

It uses the headings and the examples of their help, and takes every text literally: help is not markup.
"""

import re
from collections.abc import Iterator
from typing import Any

import click

MARKUP = re.compile(r"([*`|_\\])")
"""Characters that would mean something in reStructuredText."""


def reference_of(group: click.Group, name: str) -> Iterator[str]:
    """Yield the reference of a group and of its commands as lines of reStructuredText."""
    context = click.Context(group, info_name=name, **group.context_settings)
    yield from _command(group, context)
    for command_name in group.list_commands(context):
        command = group.get_command(context, command_name)
        assert command is not None
        yield from ("", command_name, "-" * len(command_name), "")
        yield from _command(command, click.Context(command, context, command_name))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from (f".. program:: {context.command_path}", "")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from (".. code-block:: text", "", f"   {usage}", "")
    for paragraph in re.split(r"\n\s*\n", (command.help or "").strip()):
        yield from (escaped(" ".join(paragraph.split())), "")
    for heading, options in _by_heading(command, context).items():
        yield from (f".. rubric:: {heading}", "")
        for spelling, text in options:
            yield from (f".. option:: {spelling}", "", f"   {escaped(text)}", "")
    examples = getattr(command, "examples", ())
    if examples:
        yield from (".. rubric:: Examples", "")
    for sentence, line in examples:
        yield from (escaped(sentence), "", ".. code-block:: sh", "", f"   {line}", "")


def _by_heading(command: click.Command, context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Return how each option is spelled and what it does, by heading; the most general ones come last."""
    records: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            records.setdefault(getattr(parameter, "heading", "General"), []).append(record)
    general = records.pop("General", [])
    return records | {"General": general} if general else records


def escaped(text: str) -> str:
    """Return text that reStructuredText shows as it is."""
    return MARKUP.sub(r"\\\1", text)


def setup(app: Any) -> dict[str, bool]:
    """Add the directive `commands`, whose argument is a group as MODULE:NAME."""
    from importlib import import_module

    from docutils.statemachine import StringList
    from sphinx.util.docutils import SphinxDirective

    class Commands(SphinxDirective):
        """Writes the reference in place of the directive."""

        required_arguments = 1

        def run(self) -> list[Any]:
            """Return the parsed reference."""
            module, _, name = self.arguments[0].partition(":")
            group = getattr(import_module(module), name)
            lines = StringList(list(reference_of(group, "tfdump")), "the commands")
            return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)

    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
