"""Runs over values that tests make up, as one dump and as a folder of shards, by the sinks and writer of tfdump."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

from support.shard_manifests import manifest
from tfdump.dump.kinds.kind_notes import tell_changes
from tfdump.dump.shards.manifest import Manifest, ShardedPlan, write_manifest
from tfdump.dump.shards.shard_file import SHARD_OF, ShardState, shard_name, write_shard_state
from tfdump.inputs.identity import ClassLabels, ExampleIdentity, ListedNames
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.activations.write import AbsentTensors, OpenDump, complete_dump, open_sinks
from tfdump.run.batching import Batches
from tfdump.run.options import StoreOptions
from tfdump.run.output import open_writer
from tfdump.run.sinks import TensorSink
from tfdump.run.tensor_notes import tell_padding
from tfdump.tensors import NotCaptured, PlannedTensor, Ragged, Sparse, TensorInfo, Value

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


EXAMPLES, SIZE = 22, 4
"""The run of every kind of tensor: six batches, the last of which is shorter."""

COUNTS = (4, 4, 4, 4, 4, 2)


def every_kind() -> list[Made]:
    """A tensor of every kind; those that change do so in the second, third, fourth or fifth batch."""
    rng = np.random.default_rng(7)

    def normal(*shape: int, dtype: str = "f4") -> Any:
        return rng.normal(size=shape).astype(dtype)

    def ragged(rows: int) -> Ragged:
        lengths = rng.integers(0, 4, rows)
        return Ragged(normal(lengths.sum(), 2), (np.concatenate([[0], np.cumsum(lengths)]),))

    def sparse(rows: int) -> Sparse:
        entries = int(rng.integers(1, 6))
        places = [np.sort(rng.integers(0, rows, entries)), rng.integers(0, 5, entries)]
        return Sparse(normal(entries), np.stack(places, 1), (rows, 5))

    def texts(rows: int, batch: int, odd: bytes) -> Any:
        items = np.empty(rows, object)
        items[:] = [odd if (batch, row) == (3, 1) else f"é{batch}.{row}".encode() for row in range(rows)]
        return items

    table, batches = normal(7, 3), range(len(COUNTS))
    brain = ml_dtypes.bfloat16
    words, odd = ([texts(count, batch, item) for batch, count in enumerate(COUNTS)] for item in (b"plain", b"\xff"))
    dense = {"dense": normal(EXAMPLES, 3), "wide": normal(EXAMPLES, 2, 5, dtype="f8"), "empty": normal(EXAMPLES, 0),
             "whole": rng.integers(0, 9, (EXAMPLES, 1)).astype("i4"), "flags": normal(EXAMPLES, 2) > 0}  # fmt: skip
    return [
        *activations(dense, EXAMPLES, SIZE),
        Made("constant", [table] * 6, "none", shape=(7, 3)),
        Made("scalar", [np.array(3.0)] * 6, "none", "float64", ()),
        Made("varies_inside", [table] * 3 + [table + 1] * 3, "none", shape=(7, 3)),
        Made("varies_between", [table] * 4 + [table + 1] * 2, "none", shape=(7, 3)),
        Made("mixed", [np.full((), batch, "f4") for batch in batches], "batch", shape=()),
        Made("heads", [normal(2 * count, 3) for count in COUNTS], "batch", shape=(-1, 3)),
        Made("departs", [normal(count + (batch == 2), 3) for batch, count in enumerate(COUNTS)], shape=(-1, 3)),
        Made("uneven", [normal(count, 3 + (batch >= 2)) for batch, count in enumerate(COUNTS)], shape=(-1, 3)),
        Made("uneven_once", [normal(count, 3 + (batch == 1)) for batch, count in enumerate(COUNTS)], shape=(-1, 3)),
        Made("ragged", [ragged(count) for count in COUNTS], shape=(-1, -1, 2)),
        Made("ragged_batches", [ragged(count + 1) for count in COUNTS], "batch", shape=(-1, -1, 2)),
        Made("sparse", [sparse(count) for count in COUNTS], shape=(-1, 5)),
        Made("sparse_batches", [sparse(3) for _ in COUNTS], "batch", shape=(3, 5)),
        Made("ragged_departs", [ragged(count + (batch == 2)) for batch, count in enumerate(COUNTS)], shape=(-1, -1, 2)),
        Made("sparse_departs", [sparse(count + (batch == 2)) for batch, count in enumerate(COUNTS)], shape=(-1, 5)),
        Made("text", words, dtype="string", shape=(-1,)),
        Made("bytes", odd, dtype="string", shape=(-1,)),
        Made("brain", [normal(count, 3).astype(brain) for count in COUNTS], dtype="bfloat16", shape=(-1, 3)),
        Made("logits", [normal(count, 3) for count in COUNTS], shape=(-1, 3), group="outputs"),
    ]  # fmt: skip


def widens() -> Made:
    """A tensor whose dtype becomes wider in the third batch."""
    rng = np.random.default_rng(8)
    values = [rng.normal(size=(count, 3)).astype("f2" if batch < 2 else "f4") for batch, count in enumerate(COUNTS)]
    return Made("widens", values, dtype="float16", shape=(-1, 3))


def named() -> ExampleIdentity:
    """Names and classes of the examples; one name is not UTF-8."""
    names = [f"photos/{number}.jpg" for number in range(EXAMPLES - 1)] + ["photos/\udcff.jpg"]
    return ExampleIdentity(ListedNames(names), ClassLabels(np.arange(EXAMPLES) % 3, ("cat", "dog", "fox")), 0, EXAMPLES)
