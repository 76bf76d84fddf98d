"""Runs over values that tests make up, as one dump and as a folder of shards, by the sinks and writer of tfdump."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from support.shard_manifests import manifest
from tfdump.dump import layout
from tfdump.dump.kinds.kind_notes import tell_changes
from tfdump.dump.shards.manifest import Manifest, ShardedPlan, write_manifest
from tfdump.dump.shards.shard_file import SHARD_OF, ShardState, shard_name, write_shard_state
from tfdump.inputs.identity import ExampleIdentity
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.activations.write import AbsentTensors, OpenDump, complete_dump, open_sinks
from tfdump.run.batching import Batches
from tfdump.run.options import StoreOptions
from tfdump.run.output import open_writer
from tfdump.run.sinks import TensorSink
from tfdump.run.tensor_notes import tell_padding
from tfdump.tensors import NotCaptured, PlannedTensor, TensorInfo, Value

FIRST = 100
"""The number in the input of the first example."""


@dataclass(frozen=True)
class Made:
    """A tensor with its values, one per batch: None where a batch does not give it."""

    name: str
    batches: Sequence[Value | None]
    axis0: str = "example"
    dtype: str = "float32"
    shape: tuple[int, ...] | None = None
    group: str = "activations"
    attributes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class MadeRun:
    """A run of `examples` examples in batches of `size`; `fixed` is the number to which every call is padded."""

    tensors: Sequence[Made]
    examples: int
    size: int
    store: StoreOptions = field(default_factory=StoreOptions)
    fixed: int | None = None
    names: ExampleIdentity | None = None
    lengths: dict[str, Any] = field(default_factory=dict)
    compression: str = "none"
    checksums: bool = False
    depends_on_batch: tuple[str, ...] = ()

    @property
    def padding(self) -> int:
        return -self.examples % self.fixed if self.fixed else 0

    def plan(self, start: int = 0, stop: int | None = None) -> ActivationPlan:
        stop = self.examples if stop is None else stop
        before, whole = start // self.size, -(-self.examples // self.size)
        planned = [
            PlannedTensor(
                t.group,
                TensorInfo(t.name, t.name, t.name, ("Dense", "Layer"), order, t.dtype, t.shape, 0, t.attributes),
                t.axis0, (-1,), 0,
            )
            for order, t in enumerate(self.tensors)
        ]  # fmt: skip
        return ActivationPlan(
            batches=Batches(self.size, stop - start, before, whole), fixed=self.fixed, tensors=planned,
            depends_on_batch=list(self.depends_on_batch), padding=self.padding if stop == self.examples else 0,
        )  # fmt: skip

    def root(self, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        stop = self.examples if stop is None else stop
        return {
            "format": "tfdump", "format_version": np.int64(1), "kind": "activations", "tfdump_version": "1",
            "model": "m.keras", "first_example": np.int64(FIRST + start), "training": False, "seed": np.int64(0),
            "stats_only": not self.store.values, "command": "tfdump activations m.keras x.npy",
            "batch_size": np.int64(self.size), "examples": np.int64(stop - start),
        }  # fmt: skip

    def write(self, path: Path, start: int = 0, stop: int | None = None, part_of: Manifest | None = None) -> list[str]:
        """Write the examples from `start` up to `stop`, and return the notes; a shard is `part_of` a manifest."""
        stop = self.examples if stop is None else stop
        plan, notes = self.plan(start, stop), list[str]()
        names = None if self.names is None else replace(self.names, start=start, stop=stop)
        source: Any = SimpleNamespace(
            examples=stop - start, columns=[], identity=names,
            lengths={name: values[start:stop] for name, values in self.lengths.items()},
        )  # fmt: skip
        root = self.root(start, stop) | ({} if part_of is None else {SHARD_OF: part_of.id})
        with open_writer(path, False, self.compression, 1 << 28, len(self.tensors), self.checksums) as writer:
            dump = OpenDump(writer, root, self.store, json.dumps({"class_name": "Model"}), (), notes.append)
            sinks = open_sinks(source, plan, dump)
            for number, (begin, end) in enumerate(plan.batches, start // self.size):
                for sink, tensor in zip(sinks, self.tensors, strict=True):
                    if (value := tensor.batches[number]) is not None:
                        sink.add(value, end - begin)
            kinds = [(sink.group, sink.kind) for sink in sinks]
            dependent = plan.depends_on_batch + tell_changes(kinds, plan.batches.in_whole_run, notes.append)
            copied = tell_padding(source, sinks, plan, dependent, notes.append)
            absent = AbsentTensors((NotCaptured("lost", "it never ran"),), frozenset())
            complete_dump(sinks, source, plan, dump, dependent, copied, absent)
            if part_of is not None:
                write_shard_state(writer, ShardState([_state(sink) for sink in sinks], [], len(plan.batches)))
        return notes

    def manifest(self, bounds: Sequence[int]) -> Manifest:
        """The manifest of shards that end at these numbers of examples."""
        plan = self.plan()
        reduction = None if self.store.reduction is None else str(self.store.reduction)
        about = {"reduction": reduction, "dtype": self.store.dtype}
        return manifest(
            root=tuple(self.root().items()), examples=self.examples, first_example=FIRST, batch_size=self.size,
            plan=ShardedPlan(tensors=tuple(plan.tensors), fixed=self.fixed, padding=self.padding,
                             depends_on_batch=self.depends_on_batch),
            ranges=tuple((FIRST + start, FIRST + stop) for start, stop in pairwise([0, *bounds])),
            options=about, config=json.dumps({"class_name": "Model"}), filling=len(self.tensors),
            not_captured=(NotCaptured("lost", "it never ran"),), identity=self.names is not None,
            compression=self.compression, checksums=self.checksums,
        )  # fmt: skip

    def write_shards(self, folder: Path, bounds: Sequence[int]) -> Path:
        """Write a manifest, and the shards that end at these numbers of examples."""
        folder.mkdir()
        whole = self.manifest(bounds)
        write_manifest(folder, whole)
        for start, stop in pairwise([0, *bounds]):
            self.write(folder / shard_name(FIRST + start, FIRST + stop), start, stop, whole)
        return folder


def _state(sink: TensorSink) -> dict[str, Any]:
    return {"group": sink.group, "address": sink.info.address, "constant": sink.constant, **sink.state()}


def cut(values: Any, examples: int, size: int) -> list[Any]:
    """The batches of an array of rows."""
    return [values[start : start + size] for start in range(0, examples, size)]


def activations(values: dict[str, Any], examples: int, size: int) -> list[Made]:
    """Tensors with one row per example, by name."""
    return [
        Made(name, cut(array, examples, size), dtype=array.dtype.name, shape=(-1, *array.shape[1:]))
        for name, array in values.items()
    ]


__all__ = ["FIRST", "Made", "MadeRun", "activations", "cut", "layout"]
