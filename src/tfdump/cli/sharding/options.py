"""The options of a run in shards, and the record that they become."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tfdump.cli.help_page import CommandFunction, option_under
from tfdump.cli.options import FileName, decorated, parsed
from tfdump.run.shards.ranges import Division, ShardPart, parse_part

_SHARDS = option_under("Shards")


@dataclass(frozen=True)
class ShardOptions:
    """The folder of the shards, the one that is asked for (None for all), and how the run is divided.

    With `dry_run`, nothing is written.
    """

    folder: Path
    part: ShardPart | None
    division: Division
    dry_run: bool


def shard_options(command: CommandFunction) -> CommandFunction:
    """Add the options that divide a run into shards."""
    decorators = [
        _SHARDS(
            "--shards",
            metavar="DIR",
            type=FileName(),
            help="Write the dump in shards to this folder, each a dump of some examples.",
        ),
        _SHARDS(
            "--shard",
            metavar="K/N",
            type=parsed("K/N", parse_part),
            help="Write only the K-th of N shards, from 1 to N.",
        ),
        _SHARDS(
            "--shard-examples",
            metavar="N",
            type=click.IntRange(min=1),
            help="Divide into shards of this many examples, rounded up to the batch size. [default: 16 shards]",
        ),
    ]
    return decorated(command, decorators)


def shard_options_from(parameters: dict[str, Any]) -> ShardOptions | None:
    """Return the parameters that `shard_options` added, and remove them; None without `--shards`.

    Raises UsageError for options that exclude each other. The other parameters stay.
    """
    take = parameters.pop
    folder, part, examples = take("shards"), take("shard"), take("shard_examples")
    if folder is None:
        for option, is_set in (("--shard", part is not None), ("--shard-examples", examples is not None)):
            if is_set:
                raise click.UsageError(f"{option} needs the folder of the shards (add --shards DIR)")
        return None
    if part is not None and examples is not None:
        raise click.UsageError("--shard and --shard-examples exclude each other (leave one of them out)")
    for option, name in (
        ("-o", "output"), ("--force", "force"), ("--resume", "resume"), ("--until-nan", "until_nan"),
    ):  # fmt: skip
        if parameters.get(name):
            raise click.UsageError(f"--shards and {option} exclude each other (leave one of them out)")
    division = Division(None if part is None else part.parts, examples)
    return ShardOptions(folder, part, division, parameters["dry_run"])
