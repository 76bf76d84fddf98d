"""What a shard has that an ordinary dump has not: which manifest it is of, and the exact state of the sinks.

A shard is a dump of a range of examples, with two more attributes of the root and the group `/shard`. See
docs/format.md.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfdump.dump import layout
from tfdump.dump.shards.manifest import Manifest, Range
from tfdump.dump.writer import DumpWriter
from tfdump.errors import DumpError, reason_of
from tfdump.files.hdf5 import damage, has_link, lookup, open_hdf5, some_attributes
from tfdump.files.paths import exists
from tfdump.tensors import Array

SHARD = "shard"
"""The group of a shard with what merging needs."""

STATE = "shard/state"
"""The state of every sink after the last batch, as JSON text."""

NUMBERS = "shard/numbers"
"""The numbers beside the values: float64, one row per batch. Gradients only."""

SUMS = "shard/sums"
"""The group of sums over the batches, by address. Gradients only."""

REGULARIZATION = "shard/regularization"
"""The group of the regularization, in the first shard only. Gradients only."""

SHARD_OF = "shard_of"
"""The attribute of the root with the id of the manifest."""

THREADS = "threads"
"""The attribute of the root with the number of threads that the runtime used."""

_NAME = re.compile(r"shard-(\d{12,})-(\d{12,})\.h5")
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def shard_name(start: int, stop: int) -> str:
    """Return the name of the file with the examples from `start` up to `stop`."""
    return f"shard-{start:012d}-{stop:012d}.h5"


def range_of_name(name: str) -> Range | None:
    """Return the range of a shard by the name of its file; None for other names."""
    parts = _NAME.fullmatch(name)
    return None if parts is None else (int(parts[1]), int(parts[2]))


@dataclass(frozen=True)
class ShardState:
    """The state of the sinks of a shard after its last batch.

    Attributes
    ----------
    tensors : list of dict
        One per planned tensor, in the order of the plan, with `group`, `address`, `kind`, `counts`, `statistics`,
        `constant` and, for gradients, more; all numbers are exact.
    late : list of str
        The addresses that an eager model called in these batches and not in the first one of the whole run.
    batches : int
        The number of batches.
    """

    tensors: list[dict[str, Any]]
    late: list[str]
    batches: int


def write_shard_state(writer: DumpWriter, state: ShardState, arrays: Mapping[str, Array] | None = None) -> None:
    """Write the group `/shard`: the state, and further arrays by their paths (`shard/numbers`)."""
    writer.side_text(STATE, json.dumps(vars(state)))
    for path, values in (arrays or {}).items():
        writer.side_array(path, values)


def read_shard_state(file: h5py.File) -> ShardState:
    """Return the state in an open shard; raises DumpError where there is none, or it is damaged."""
    where = f"{file.filename}: '/{STATE}'"
    with damage(DumpError, where):
        text = lookup(file, STATE, DumpError)[()]
    try:
        item = json.loads(text)
        return ShardState(item["tensors"], item["late"], item["batches"])
    except _MALFORMED as cause:
        raise DumpError(f"{where} is damaged: {reason_of(cause)} (remove the file, and make the shard again)") from None


def open_shard(path: Path, cache: int | None = None) -> h5py.File:
    """Open a file that has the name of a shard; raises DumpError where that is not possible."""
    try:
        return open_hdf5(path, DumpError, cache)
    except DumpError as error:
        if not os.access(path, os.R_OK):
            raise
        raise DumpError(f"{error} (move it away, and the same command makes the shard)") from None


def is_done(folder: Path, manifest: Manifest, bounds: Range) -> bool:
    """Tell whether the folder has a shard; raises DumpError where a file of its name is not this shard."""
    path = folder / shard_name(*bounds)
    if not exists(path):
        return False
    with open_shard(path) as file:
        check_shard(file, manifest, bounds)
    return True


def check_shard(file: h5py.File, manifest: Manifest, bounds: Range) -> None:
    """Raise DumpError where an open file is not the shard of this range of a manifest, and say why."""
    name = file.filename
    with damage(DumpError, name):
        read = some_attributes(file, ("format", SHARD_OF, "first_example", "examples"), DumpError)
        has_state = has_link(file, SHARD) and isinstance(lookup(file, SHARD, DumpError), h5py.Group)
    start, stop = bounds
    wanted = {
        "format": layout.FORMAT,
        SHARD_OF: manifest.id,
        "first_example": start,
        "examples": stop - start,
    }
    for attribute, value in wanted.items():
        stored = read.get(attribute)
        stored = stored.item() if isinstance(stored, np.generic) else stored
        if stored != value:
            raise DumpError(
                f"{name} is not the shard of this run: its {attribute} is {stored!r}, and the manifest asks for "
                f"{value!r} (move it away, and the same command makes the shard)"
            )
    if not has_state:
        raise DumpError(f"{name} has no group '/{SHARD}' (move it away, and the same command makes the shard)")
