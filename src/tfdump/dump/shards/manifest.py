"""The manifest of a folder of shards: the plan of the whole run, and which examples each shard holds.

It tells everything that one run would have written, except for what depends on all batches. It has no path, no host
name and no time: the same command makes the same manifest. See docs/format.md.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from tfdump.dump.shards.records_as_json import (
    not_captured_from_json,
    not_captured_to_json,
    tensor_from_json,
    tensor_to_json,
    value_from_json,
    value_to_json,
)
from tfdump.dump.target import write_complete_file
from tfdump.errors import DumpError, reason_of
from tfdump.files.paths import check_path
from tfdump.tensors import NotCaptured, PlannedTensor

MANIFEST = "manifest.json"
"""The name of the manifest in its folder."""

FORMAT = "tfdump shards"
FORMAT_VERSION = 1

Range = tuple[int, int]
"""The number in the input of the first example of a shard, and the number behind that of its last one."""

_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError)
"""The errors of a file with other JSON than a manifest."""


@dataclass(frozen=True, kw_only=True)
class ShardedPlan:
    """The plan of a run in shards.

    Attributes
    ----------
    tensors : tuple of PlannedTensor
        Every planned tensor in the order of the sinks, the inputs that are stored included.
    fixed : int or None
        The number of examples to which every call is padded.
    padding : int
        The number of copies of its last example that the last batch of the whole run gets.
    depends_on_batch : tuple of str
        The names of the tensors whose values depend on the batch, as far as the plan tells.
    further : dict
        What only a kind of run has, as JSON: the divisors of losses.
    """

    tensors: tuple[PlannedTensor, ...]
    fixed: int | None
    padding: int
    depends_on_batch: tuple[str, ...]
    further: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return {
            "tensors": [tensor_to_json(tensor) for tensor in self.tensors],
            "fixed": self.fixed,
            "padding": self.padding,
            "depends_on_batch": list(self.depends_on_batch),
            "further": dict(self.further),
        }

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> "ShardedPlan":
        """Return the plan that `to_json` made; raises what malformed JSON raises."""
        return cls(
            tensors=tuple(tensor_from_json(tensor) for tensor in item["tensors"]),
            fixed=item["fixed"],
            padding=item["padding"],
            depends_on_batch=tuple(item["depends_on_batch"]),
            further=item["further"],
        )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of shards is: one run, divided into ranges of examples.

    Attributes
    ----------
    kind : str
        The kind of the dump, `activations` or `gradients`.
    root : tuple of (str, value)
        The attributes of the root that one run would write, in their order; without those that depend on all batches
        (`padding`, `depends_on_batch` and `not_captured`).
    examples, first_example : int
        The number of examples of the whole run, and the number of the first one in the input.
    batch_size : int
        The size of the batches. It may exceed the number of examples.
    plan : ShardedPlan
        The plan of the whole run.
    ranges : tuple of (int, int)
        The examples of each shard by their numbers in the input.
    threads : int or None
        The threads of the runtime, None where they were left to it.
    cpu : dict
        The processor on which the run was planned. It is for information: shards may be of another one.
    model_sha256 : str
        The SHA-256 of the file of the model.
    inputs : tuple of dict
        What the inputs are: names, shapes, dtypes, and the SHA-256 of a sample of their rows.
    options : dict
        Every option that decides what is stored.
    seed : int
        The seed of the run.
    versions : dict
        The versions of the libraries.
    config : str or None
        The architecture of the model.
    not_loaded, not_captured : tuple of NotCaptured
        The layers of the file that the model has not, and the layers that were not captured.
    identity : bool
        Whether the examples have names.
    compression, checksums, memory, filling
        What `tfdump.run.output.open_writer` needs to make the chunks of one run.
    """

    kind: str
    root: tuple[tuple[str, Any], ...]
    examples: int
    first_example: int
    batch_size: int
    plan: ShardedPlan
    ranges: tuple[Range, ...]
    threads: int | None
    cpu: Mapping[str, Any]
    model_sha256: str
    inputs: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str]
    config: str | None
    not_loaded: tuple[NotCaptured, ...]
    not_captured: tuple[NotCaptured, ...]
    identity: bool
    compression: str
    checksums: bool
    memory: int
    filling: int

    @cached_property
    def id(self) -> str:
        """The SHA-256 of the manifest as canonical JSON, without the id itself."""
        canonical = json.dumps(self._described(), sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()

    def batches_of(self, start: int, stop: int) -> range:
        """Return the numbers of the batches of a shard, counted from 0 in the whole run."""
        first, behind = start - self.first_example, stop - self.first_example
        return range(first // self.batch_size, -(-behind // self.batch_size))

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON."""
        return {**self._described(), "id": self.id}

    def _described(self) -> dict[str, Any]:
        described = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **fields_to_json(described)}

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> "Manifest":
        """Return the manifest that `to_json` made; raises what malformed JSON raises, and ValueError."""
        described = {known.name: item[known.name] for known in fields(cls)}
        described |= {
            "root": tuple((name, value_from_json(value)) for name, value in item["root"]),
            "plan": ShardedPlan.from_json(item["plan"]),
            "ranges": tuple((start, stop) for start, stop in item["ranges"]),
            "inputs": tuple(item["inputs"]),
            "not_loaded": not_captured_from_json(item["not_loaded"]),
            "not_captured": not_captured_from_json(item["not_captured"]),
        }
        manifest = cls(**described)
        if manifest.id != item["id"]:
            raise ValueError("its id is not the SHA-256 of its content")
        manifest.check_ranges()
        return manifest

    def check_ranges(self) -> None:
        """Raise ValueError where the ranges are not those of all examples, divided between batches."""
        behind = self.first_example
        for start, stop in self.ranges:
            if start != behind or stop <= start or (start - self.first_example) % self.batch_size:
                raise ValueError(f"its range {start} to {stop} does not follow the one before")
            behind = stop
        if behind != self.first_example + self.examples:
            raise ValueError("its ranges are not all examples")


_TO_JSON: Mapping[str, Callable[[Any], Any]] = {
    "root": lambda root: [[name, value_to_json(value)] for name, value in root],
    "plan": ShardedPlan.to_json,
    "ranges": lambda ranges: [list(bounds) for bounds in ranges],
    "inputs": lambda inputs: [dict(item) for item in inputs],
    "not_loaded": not_captured_to_json,
    "not_captured": not_captured_to_json,
}
"""How the fields of a manifest become JSON that are not JSON by themselves."""


def fields_to_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a manifest, by their names, as JSON."""
    return {name: _TO_JSON[name](value) if name in _TO_JSON else value for name, value in values.items()}


def is_shard_folder(folder: Path) -> bool:
    """Tell whether a folder has a manifest of shards."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder of shards; raises DumpError where it has none, or another JSON file."""
    path = folder / MANIFEST
    check_path(path, "manifest of shards", DumpError)
    try:
        item = json.loads(path.read_bytes())
    except OSError as cause:
        raise DumpError(f"cannot read {path}: {cause.strerror}") from None
    except _MALFORMED as cause:
        raise DumpError(f"{path} is damaged: {reason_of(cause)} (make the shards again in another folder)") from cause
    if not isinstance(item, dict) or item.get("format") != FORMAT:
        raise DumpError(f"{path} is no manifest of shards (choose another folder)")
    if item.get("format_version") != FORMAT_VERSION:
        raise DumpError(
            f"{path} has format version {item.get('format_version')}, and this tfdump reads {FORMAT_VERSION} "
            "(upgrade it: pip install -U tfdump)"
        )
    try:
        return Manifest.from_json(item)
    except _MALFORMED as cause:
        raise DumpError(f"{path} is damaged: {reason_of(cause)} (make the shards again in another folder)") from cause


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder that has none; raises DumpError, also where another run made one meanwhile."""
    text = json.dumps(manifest.to_json(), sort_keys=True, indent=1)
    write_complete_file(f"{text}\n".encode(), folder / MANIFEST, force=False)
