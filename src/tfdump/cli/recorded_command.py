"""The command line as a dump records it, without folders and without the output."""

import shlex
from pathlib import PurePath
from typing import Any

import click
from click.core import ParameterSource

from tfdump.cli.options import DeviceFileName, FileName, FunctionName, InputName
from tfdump.device_files.file_names import parse_device_file
from tfdump.inputs.arguments import parse_argument
from tfdump.inputs.functions.user_file import without_folder

_NOT_RECORDED = frozenset(
    {"output", "force", "resume", "shrink", "dry_run", "shards", "shard", "shard_examples", "workers", "scheduler"}
)
"""Options that do not change the contents of a dump, or of the dump that shards are merged to."""


def recorded_command(ctx: click.Context) -> str:
    """Return the command of `ctx` with every option that was set, paths reduced to file names."""
    words = [ctx.command_path]
    options: list[str] = []
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if name in _NOT_RECORDED or name not in ctx.params or source in (ParameterSource.DEFAULT, None):
            continue
        value = ctx.params[name]
        values = list(value) if parameter.multiple or parameter.nargs == -1 else [value]
        texts = [_text(parameter, item) for item in values]
        if isinstance(parameter, click.Argument):
            words += texts
        elif isinstance(parameter, click.Option) and (parameter.is_flag or value is True):
            options.append(parameter.opts[-1])
        else:
            options += [word for text in texts for word in (parameter.opts[-1], text)]
    return " ".join([words[0], *map(shlex.quote, words[1:] + options)])


def _text(parameter: click.Parameter, value: Any) -> str:
    if isinstance(parameter.type, InputName):
        return input_name(str(value))
    if isinstance(parameter.type, DeviceFileName):
        file = parse_device_file(str(value))
        return f"{file.address}={file.path.name}" if file.address else file.path.name
    if isinstance(parameter.type, FunctionName):
        return without_folder(str(value))
    if isinstance(parameter.type, FileName):
        return PurePath(value).name
    if isinstance(value, tuple):  # --examples
        return ":".join("" if bound is None else str(bound) for bound in value)
    return str(value)


def input_name(text: str) -> str:
    """Return an INPUT argument with the path of its file reduced to the name."""
    argument = parse_argument(text)
    name = f"{argument.name}=" if argument.name else ""
    member = f"::{argument.member}" if argument.member else ""
    return f"{name}{PurePath(argument.file).name}{member}"
