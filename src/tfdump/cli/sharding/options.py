"""The options of a run in shards, and the record that they become."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tfdump.cli.help_page import CommandFunction, option_under
from tfdump.cli.options import FileName, decorated, parsed
from tfdump.run.shards.ranges import DEFAULT_SHARDS, Division, ShardPart, parse_part
from tfdump.workers.division import SHARDS_A_WORKER

_SHARDS = option_under("Shards")

_NAMES = ("--shards", "--shard", "--shard-examples", "--workers", "--scheduler")

_EXCLUDE_EACH_OTHER = (
    ("--shard", "--shard-examples"),
    ("--shard", "--workers"),
    ("--shard", "--scheduler"),
    ("--workers", "--scheduler"),
)


class _FileOrAddress(FileName):
    """The file or the address of a scheduler, of which the shell completes the first."""

    name = "scheduler"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text unchanged."""
        return value


@dataclass(frozen=True)
class ShardOptions:
    """The folder of the shards, the one that is asked for (None for all), and how the run is divided.

    `workers` is the number of processes on this machine, and `scheduler` the file or address of a running scheduler;
    without both, this process makes the shards. With `dry_run`, nothing is written.
    """

    folder: Path
    part: ShardPart | None
    division: Division
    dry_run: bool
    workers: int | None = None
    scheduler: str | None = None

    @property
    def on_workers(self) -> bool:
        """Whether other processes make the shards."""
        return self.workers is not None or self.scheduler is not None


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
            help="Divide into shards of this many examples, rounded up to the batch size. [default: 16 shards, or 8 "
            "for each worker]",
        ),
        _SHARDS(
            "--workers",
            metavar="N",
            type=click.IntRange(1, 1024),
            help="Make the shards in this many processes on this machine; needs the extra tfdump[cluster].",
        ),
        _SHARDS(
            "--scheduler",
            metavar="FILE|ADDRESS",
            type=_FileOrAddress(),
            help="Make the shards on the workers of this Dask scheduler; needs the extra tfdump[cluster].",
        ),
    ]
    return decorated(command, decorators)


def no_shard_options(of_what: str) -> Callable[[CommandFunction], CommandFunction]:
    """Return a decorator that refuses the same options for a command whose dumps are of what has no examples."""

    def refuse(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(
                f"{option.opts[0]} divides runs over examples, and {of_what} have none (leave it out)", ctx
            )

    settings = {"callback": refuse, "expose_value": False, "hidden": True, "allow_from_autoenv": False}
    decorators = [_SHARDS(name, help=f"Refused: {of_what} have no examples.", **settings) for name in _NAMES]
    return lambda command: decorated(command, decorators)


def shard_options_from(parameters: dict[str, Any]) -> ShardOptions | None:
    """Return the parameters that `shard_options` added, and remove them; None without `--shards`.

    Raises UsageError for options that exclude each other. The other parameters stay.
    """
    take = parameters.pop
    folder, part, examples = take("shards"), take("shard"), take("shard_examples")
    workers, scheduler = take("workers"), take("scheduler")
    asked = {"--shard": part, "--shard-examples": examples, "--workers": workers, "--scheduler": scheduler}
    options = [option for option, value in asked.items() if value is not None]
    if folder is None:
        if options:
            raise click.UsageError(f"{options[0]} needs the folder of the shards (add --shards DIR)")
        return None
    for one, other in _EXCLUDE_EACH_OTHER:
        if one in options and other in options:
            raise click.UsageError(f"{one} and {other} exclude each other (leave one of them out)")
    for option, name in (
        ("-o", "output"), ("--force", "force"), ("--resume", "resume"), ("--until-nan", "until_nan"),
    ):  # fmt: skip
        if parameters.get(name):
            raise click.UsageError(f"--shards and {option} exclude each other (leave one of them out)")
    usual = DEFAULT_SHARDS if workers is None else SHARDS_A_WORKER * workers
    division = Division(None if part is None else part.parts, examples, usual)
    return ShardOptions(folder, part, division, parameters["dry_run"], workers, scheduler)
