"""What a manifest says of a run: what is known when the model and the inputs are open, and what the plan adds."""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dtypes import dtype_name
from tfdump.dump import layout
from tfdump.dump.shards.manifest import Manifest, Range, ShardedPlan, fields_to_json
from tfdump.errors import DumpError
from tfdump.inputs.source import Source, hash_of
from tfdump.process.machine import processor
from tfdump.run.output import data_attributes
from tfdump.run.planned import PlannedRun
from tfdump.run.shards.job import ShardJob
from tfdump.version import __version__

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

_SPREAD = 8
"""Examples over the whole run by which inputs are known again."""


def describe_opened(job: ShardJob, loaded: "LoadedModel", source: Source, threads: int | None) -> dict[str, Any]:
    """Return the fields of a manifest that do not depend on the plan."""
    from tfdump.model.loading.load import versions

    options = job.options
    return {
        "kind": job.kind,
        "model_sha256": loaded.sha256,
        "options": job.decisive_options(),
        "seed": options.seed,
        "versions": {"tfdump_version": __version__, **versions(loaded)},
        "inputs": tuple(_described_inputs(source)),
        "first_example": source.first_example,
        "examples": source.examples,
        "threads": threads,
        "identity": source.identity is not None,
        "config": loaded.config,
        "not_loaded": loaded.not_loaded,
        "compression": options.compression,
        "checksums": options.checksums,
        "memory": options.run.memory,
    }


def complete_description(
    opened: Mapping[str, Any],
    command: str,
    run: PlannedRun[Any, Any],
    plan: ShardedPlan,
    batch_size: int,
    ranges: tuple[Range, ...],
) -> Manifest:
    """Return the manifest of a planned run; `opened` is what `describe_opened` returned."""
    sizes = {"batch_size": np.int64(run.batch_size), "examples": np.int64(run.source.examples)}
    root = {**run.origin(command), **data_attributes(run.source), **sizes}
    return Manifest(
        **opened,
        root=tuple(root.items()),
        plan=plan,
        batch_size=batch_size,
        ranges=ranges,
        cpu=processor(),
        not_captured=tuple(run.probe.not_captured),
        filling=run.filling,
    )


_HASH = re.compile("[0-9a-f]{64}")
"""The SHA-256 of a file."""


class OtherRunError(DumpError):
    """A folder has the shards of another run.

    `name` is the first thing that differs: it is `there` in the manifest, and `here` in this run.
    """

    def __init__(self, folder: Path, name: str, there: Any, here: Any) -> None:
        self.name, self.there, self.here = name, _shown(there), _shown(here)
        self._of_file = all(isinstance(value, str) and _HASH.fullmatch(value) for value in (there, here))
        super().__init__(
            f"{folder} has the shards of another run: {self._change()} (choose another folder with --shards, or remove "
            "this one)"
        )

    def _change(self) -> str:
        """Return in words what differs; of a file, the hash tells no more than that it does."""
        if self._of_file:
            what, _, file = self.name.partition(" of ")
            kind = what.removesuffix("_sha256")
            return f"{file or (what if kind == what else f'the file of the {kind}')} has other contents now"
        return f"{self.name} was {self.there}, and is {self.here} now"


def check_same_run(folder: Path, manifest: Manifest, opened: Mapping[str, Any], command: str) -> None:
    """Raise OtherRunError with the first thing in which the manifest of a folder is not of the run that was opened."""
    there, here = manifest.to_json(), json.loads(json.dumps(fields_to_json(opened)))
    for name, value in here.items():
        difference = _difference(name, there[name], value)
        if difference is not None:
            raise OtherRunError(folder, *difference)
    recorded = dict(manifest.root).get("command")
    if recorded != command:
        raise OtherRunError(folder, "command", recorded, command)


def _difference(name: str, there: Any, here: Any) -> tuple[str, Any, Any] | None:
    """Return the name and both values of the first thing that differs in two values of JSON; None if nothing does."""
    if there == here:
        return None
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*here, *there]:
            inner = _difference(key, there.get(key), here.get(key))
            if inner is not None:
                return inner
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for one, other in zip(there, here, strict=True):
            if isinstance(one, dict) and (inner := _difference(name, one, other)) is not None:
                return f"{inner[0]} of {one.get('label', name)}", *inner[1:]
    return name, there, here


_LONGEST = 80


def _shown(value: Any) -> str:
    text = "not set" if value is None else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _described_inputs(source: Source) -> list[dict[str, Any]]:
    """Return what tells the inputs apart from others: names, shapes, dtypes, and hashes of some of their rows."""
    count = min(_SPREAD, source.examples)
    spread = sorted({source.first_example + number * source.examples // count for number in range(count)})
    first = source.hashes(layout.SAMPLED_EXAMPLES)
    return [
        {
            "name": column.name,
            "label": _without_folder(column.reader.label),
            "shape": [int(size) for size in column.reader.shape],
            "dtype": dtype_name(column.reader.dtype),
            "sha256": sha256,
            "spread_sha256": hash_of(column.example(place) for place in spread),
        }
        for column, sha256 in zip(source.columns, first, strict=True)
    ]


def _without_folder(label: str) -> str:
    file, colons, member = label.partition("::")
    return f"{PurePath(file).name}{colons}{member}"
