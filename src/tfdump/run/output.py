"""What every dump has: a writer, attributes that tell its origin, and an estimated size."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dump import layout
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.inputs.source import Source
from tfdump.run.options import RunOptions
from tfdump.version import __version__

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

FILE_OVERHEAD, TENSOR_OVERHEAD, WHOLE_OVERHEAD = 6000, 4500, 2000
"""Bytes of the root, of a tensor in chunks (attributes and index), and of a tensor in one piece (attributes).

Measured on the sample models.
"""


def open_writer(
    path: Path | None,
    force: bool,
    compression: str,
    memory: int,
    tensors: int,
    checksums: bool = False,
    alone: bool = False,
) -> DumpWriter:
    """Return the writer of a dump, with chunks small enough that those being filled stay within `memory`.

    `path` None makes the dump in memory. `alone` tells that no other run can write the same file.
    """
    storage = storage_for(compression, layout.chunk_bytes_for(memory, tensors), checksums)
    return DumpWriter(path, force=force, storage=storage, alone=alone)


def overhead_bytes(tensors: int, config: str | None, whole: int = 0) -> int:
    """Return about how many bytes a file takes beside the values, with `tensors` in chunks and `whole` in one piece."""
    return FILE_OVERHEAD + TENSOR_OVERHEAD * tensors + WHOLE_OVERHEAD * whole + len(config or "")


def provenance(
    kind: str, loaded: "LoadedModel", source: Source, run: RunOptions, seed: int, values: bool, command: str
) -> dict[str, Any]:
    """Return the attributes of the root: what made the file. None of them changes when the same command runs again."""
    run_attributes = {
        "first_example": np.int64(source.first_example),
        "training": run.training,
        "seed": np.int64(seed),
    }
    return origin_attributes(kind, loaded, values, command, run_attributes)


def origin_attributes(
    kind: str, loaded: "LoadedModel", values: bool, command: str, run: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the attributes of the root that every dump has; `run` are further ones of a run over examples."""
    from tfdump.model.loading.load import versions

    return {
        "format": layout.FORMAT,
        "format_version": np.int64(layout.FORMAT_VERSION),
        "kind": kind,
        "tfdump_version": __version__,
        **versions(loaded),
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "model_class": loaded.class_name,
        **(run or {}),
        "stats_only": not values,
        "command": command,
    }


def data_attributes(source: Source) -> dict[str, Any]:
    """Return the attributes of the root that tell what the inputs are, and how they became numbers."""
    described: dict[str, Any] = {layout.INPUTS_SHA256: json.dumps(source.hashes(layout.SAMPLED_EXAMPLES))}
    if source.settings:
        described[layout.INPUT_SETTINGS] = json.dumps(source.settings)
    if source.skipped:
        skipped = [{"example": name, "reason": reason} for name, reason in source.skipped]
        described[layout.SKIPPED] = json.dumps(skipped)
    return described
