"""A run in shards as it was asked for: what every process opens to make its shards."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path, PurePath
from typing import Any

from tfdump.address import Pattern, Selection
from tfdump.errors import TfdumpError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.functions.user_file import split_function, without_folder
from tfdump.inputs.preprocessing import parse_steps
from tfdump.model.loading.formats import sha256_of
from tfdump.model.loading.options import LoadingOptions
from tfdump.run.options import DumpOptions
from tfdump.run.resume import code_hashes
from tfdump.statistics.reduction import Reduction

_NOT_DECISIVE = frozenset(
    {"threads", "backend_python", "path", "imports", "libraries", "max_bytes", "trust", "most_examples"}
)
"""The options that do not decide what is stored, or that a manifest records in other ways."""


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """What a run in shards is of, and the folder of the shards; it can be pickled.

    `kind` is the kind of the dump. `inputs`, `targets` and `sample_weight` are arguments of the command line, and
    `command` is recorded in every shard as what made it.
    """

    kind: str
    model: LoadingOptions
    inputs: tuple[str, ...]
    data: DataOptions
    options: DumpOptions
    command: str
    folder: Path
    targets: tuple[str, ...] = ()
    sample_weight: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """All arguments that name files of data."""
        return (*self.inputs, *self.targets, *self.sample_weight)

    def decisive_options(self) -> dict[str, Any]:
        """Return every option that decides what is stored, by name, as JSON; files by their names.

        What the user's modules and the model of `--like` contain decides too: these are the SHA-256 of their files, so
        the modules must have been imported. Raises TfdumpError for functions in memory, which no other process has.
        """
        flat: dict[str, Any] = {}
        for record in (self.model, self.data, self.options):
            flat |= _flat(record)
        flat["imported code"] = code_hashes(self.model.imports) | {path.name: sha256_of(path) for path in self._code()}
        if self.model.like is not None:
            flat["like_sha256"] = sha256_of(self.model.like)
        return flat

    def _code(self) -> list[Path]:
        """Return the files of the user's functions that return or change data."""
        steps = [step.text for step in parse_steps(self.data.preprocess) if step.kind == "function"]
        texts = [*steps, self.data.function] if isinstance(self.data.function, str) else steps
        return [split_function(text, "--data or --preprocess")[0] for text in texts]


def _flat(record: Any) -> dict[str, Any]:
    """Return the fields of records within records by their own names."""
    flat: dict[str, Any] = {}
    for item in fields(record):
        value = getattr(record, item.name)
        if isinstance(value, Selection):
            flat |= {"layer": _texts(value.layers), "exclude": _texts(value.exclude), "depth": value.max_depth}
        elif is_dataclass(value) and not isinstance(value, Reduction):
            inner = _flat(value) if item.name not in _NOT_DECISIVE else {}
            flat = inner | flat  # the reduction of a loss, and not that of what is stored, which gradients have not
        elif item.name not in _NOT_DECISIVE:
            flat[item.name] = _plain(item.name, value)
    return flat


def _texts(patterns: Iterable[Pattern]) -> list[str]:
    return [pattern.text for pattern in patterns]


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, (tuple, list)):
        return [_plain(name, item) for item in value]
    if isinstance(value, str):
        return without_folder(value) if name in ("function", "preprocess") else value
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 0.0 of the command line is the 0 of Python
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Reduction):
        return str(value)
    raise TfdumpError(
        f"{name} is a function in memory, which other processes do not have (write it into a file: FILE.py:FUNCTION)"
    )
