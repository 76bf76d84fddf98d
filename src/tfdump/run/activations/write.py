"""Writing a dump of activations: all batches run, then the tensors are linked under their addresses."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.collectors import Collector, OpenCollector
from tfdump.dump.journal import Journal
from tfdump.dump.kinds.kind_notes import tell_changes
from tfdump.dump.layout import stored_dtype
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.source import Source
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress, silent_progress
from tfdump.run.activations.batches import run_batches
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.batching import Batches
from tfdump.run.example_identity import write_identity
from tfdump.run.options import StoreOptions
from tfdump.run.pipeline import BatchOutput
from tfdump.run.resume import JournaledBatches
from tfdump.run.sinks import TensorSink
from tfdump.run.tensor_notes import tell_padding, tell_storing
from tfdump.tensors import NotCaptured, Note, PlannedTensor, TensorInfo, Value, listed

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe


CALLED_LATE = "not called in the first batch"
"""Why a tensor of an eager model is not in a dump."""


@dataclass(frozen=True)
class OpenDump:
    """A dump that is being written: its writer, the attributes of its root so far, and what else it needs.

    `store` says how the values are stored, and `config` is the configuration of the model. `not_loaded` are layers that
    the model file has and the loaded model has not. `note` is called with messages for the user.
    """

    writer: DumpWriter
    root: Mapping[str, Any]
    store: StoreOptions
    config: str | None
    not_loaded: Sequence[NotCaptured]
    note: Note


def write_dump(
    probe: "RunnableProbe",
    source: Source,
    plan: ActivationPlan,
    dump: OpenDump,
    progress: Progress = silent_progress,
    journal: Journal | None = None,
) -> list[TensorSink]:
    """Run every batch, write the planned tensors, and set the attributes of the root and of each tensor.

    Returns the sinks of the tensors, as they are after the last batch.

    A `journal` that was begun supplies the batches that it holds, and receives the other ones.
    """
    sinks = open_sinks(source, plan, dump)
    journaled = None if journal is None else JournaledBatches(journal, sinks, probe.late, dump.note)
    output = BatchOutput(sinks, dump.writer.check, progress)
    run_batches(probe, source, plan, saved_inputs(source, dump.store), output, journaled)
    kinds = [(sink.group, sink.kind) for sink in sinks]
    depends_on_batch = plan.depends_on_batch + tell_changes(kinds, plan.batches.in_whole_run, dump.note)
    from_padding = tell_padding(source, sinks, plan, depends_on_batch, dump.note)
    described = {**dump.root, "batch_size": np.int64(plan.batch_size), "examples": np.int64(source.examples)}
    absent = AbsentTensors(probe.not_captured, frozenset(probe.late))
    complete_dump(sinks, source, plan, replace(dump, root=described), depends_on_batch, from_padding, absent)
    return sinks


def write_batches(
    batches: Sequence[tuple[list[Value | None], int]],
    probe: "RunnableProbe",
    source: Source,
    plan: ActivationPlan,
    dump: OpenDump,
) -> None:
    """Write the first batches of a run, whose values were computed already, as a dump of their examples alone."""
    examples = sum(count for _, count in batches)
    part = source.part(0, examples)
    one = replace(plan, batches=Batches(plan.batches.size, examples), padding=0)
    described = {**dump.root, "batch_size": np.int64(plan.batch_size), "examples": np.int64(examples)}
    whole = replace(dump, root=described, store=StoreOptions())
    sinks = open_sinks(part, one, whole)
    for values, count in batches:
        for sink, value in zip(sinks, values, strict=True):
            if value is not None:
                sink.add(value, count)
    complete_dump(sinks, part, one, whole, plan.depends_on_batch, [], AbsentTensors(probe.not_captured, frozenset()))


@dataclass(frozen=True)
class AbsentTensors:
    """What a run did not give: tensors that were not captured, and addresses that only later batches called."""

    not_captured: tuple[NotCaptured, ...]
    late: frozenset[str]


def complete_dump(
    sinks: Sequence[TensorSink],
    source: Source,
    plan: ActivationPlan,
    dump: OpenDump,
    depends_on_batch: Sequence[str],
    from_padding: Sequence[TensorSink],
    absent: AbsentTensors,
) -> None:
    """Link the tensors of sinks that have taken every batch, and set the attributes of the root.

    The tensors of `from_padding` were computed from the copies that pad the last batch too.
    """
    partial = _link_all(sinks, plan, from_padding, absent.late, dump)
    missing = {item.address: item.reason for item in absent.not_captured} | partial
    _write_lengths(source, dump.writer)
    write_identity(source, dump.writer)
    described = dict(dump.root)
    if plan.padding:
        described[layout.PADDING] = np.int64(plan.padding)
    if depends_on_batch:
        described[layout.DEPENDS_ON_BATCH] = json.dumps(depends_on_batch)
    reasons = (NotCaptured(address, reason) for address, reason in missing.items())
    dump.writer.describe(described, dump.config, (*dump.not_loaded, *reasons))
    raise_waiting()


def saved_inputs(source: Source, store: StoreOptions) -> list[str]:
    """Return the names of the inputs that will be stored."""
    return [column.name for column in source.columns] if store.save_inputs else []


def planned_inputs(source: Source, store: StoreOptions) -> list[PlannedTensor]:
    """Return the inputs that will be stored, as they are fed; none without `save_inputs`."""
    planned = []
    for order, name in enumerate(saved_inputs(source, store)):
        column = next(column for column in source.columns if column.name == name)
        info = TensorInfo(name, name, name, ("InputLayer",), order, column.dtype, (-1, *column.shape[1:]))
        size = math.prod(column.shape[1:]) * stored_dtype(column.dtype).itemsize * source.examples
        planned.append(PlannedTensor(layout.INPUTS, info, EXAMPLE, (-1, *column.shape[1:]), size))
    return planned


def open_sinks(source: Source, plan: ActivationPlan, dump: OpenDump) -> list[TensorSink]:
    """Return one sink for each planned tensor, then one for each input that is stored, which keeps its dtype."""

    def opener(options: StoreOptions) -> OpenCollector:
        def open_collector(info: TensorInfo, value: Value, axis0: str) -> Collector:
            return dump.writer.collector(
                info,
                value,
                axis0=axis0,
                examples=source.examples,
                batches=len(plan.batches),
                dtype=options.dtype,
                values=options.values,
            )

        return open_collector

    store = dump.store
    as_fed = StoreOptions(statistics=store.statistics, quantiles=store.quantiles, values=store.values)
    inputs, before = planned_inputs(source, store), plan.batches.before
    return [
        *(TensorSink(t.group, t.info, t.axis0, store, opener(store), plan.fixed, before) for t in plan.tensors),
        *(TensorSink(t.group, t.info, t.axis0, as_fed, opener(as_fed), before=before) for t in inputs),
    ]


def _link_all(
    sinks: Sequence[TensorSink],
    plan: ActivationPlan,
    from_padding: Sequence[TensorSink],
    late: Collection[str],
    dump: OpenDump,
) -> dict[str, str]:
    """Link the complete tensors; return the addresses of those that only some batches gave, with the reasons."""
    writer, note = dump.writer, dump.note
    partial = {}
    batches = len(plan.batches)
    writer.group(layout.ACTIVATIONS)
    for sink in sinks:
        raise_waiting()
        collector, extra = sink.finish()
        if collector is None or sink.batches != batches:
            partial[sink.info.address] = sink.kind.lost or f"given by {sink.batches} of {batches} batches"
            continue
        if sink in from_padding:
            extra[layout.PADDING] = np.int64(plan.padding)
        writer.link(sink.group, sink.info, collector, extra)
    partial |= dict.fromkeys(sorted(late), CALLED_LATE)
    for address, reason in partial.items():
        note(f"not captured: {address} ({reason})")
    tell_storing([sink for sink in sinks if sink.info.address not in partial], dump.store, note)
    if writer.texts_as_bytes:
        note(f"stored as bytes, because some of the text is not UTF-8 or contains NUL: {listed(writer.texts_as_bytes)}")
    return partial


def _write_lengths(source: Source, writer: DumpWriter) -> None:
    """Store the lengths of the rows of ragged inputs."""
    for order, (name, lengths) in enumerate(source.lengths.items()):
        info = TensorInfo(f"{name}:lengths", name, f"{name}:lengths", (), order, "int64", (-1,))
        collector = writer.collector(
            info, lengths, axis0=EXAMPLE, examples=source.examples, batches=1, dtype=None, values=True
        )
        collector.append(lengths)
        writer.link(layout.INPUTS, info, collector, {})
