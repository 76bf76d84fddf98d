"""Writing a dump of activations: all batches run, then the tensors are linked under their addresses."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.collectors import Collector
from tfdump.dump.journal import Journal
from tfdump.dump.layout import stored_dtype
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.source import Source
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress, silent_progress
from tfdump.run.activations.batches import run_batches
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.batching import Batches
from tfdump.run.options import StoreOptions
from tfdump.run.pipeline import BatchOutput
from tfdump.run.planned import PlannedTensor
from tfdump.run.resume import JournaledBatches
from tfdump.run.sinks import OpenCollector, TensorSink
from tfdump.run.tensor_notes import tell_changes, tell_padding, tell_storing
from tfdump.tensors import NotCaptured, Note, TensorInfo, Value, listed

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe


def write_dump(
    probe: "RunnableProbe",
    source: Source,
    plan: ActivationPlan,
    store: StoreOptions,
    writer: DumpWriter,
    root: Mapping[str, Any],
    config: str | None,
    note: Note,
    progress: Progress = silent_progress,
    journal: Journal | None = None,
    not_loaded: Sequence[NotCaptured] = (),
) -> None:
    """Run every batch, write the planned tensors, and set the attributes of the root and of each tensor.

    A `journal` that was begun supplies the batches that it holds, and receives the other ones. `not_loaded` are layers
    that the model file has and the loaded model has not.
    """
    sinks = open_sinks(source, plan, store, writer)
    journaled = None if journal is None else JournaledBatches(journal, sinks, probe.late, note)
    run_batches(probe, source, plan, saved_inputs(source, store), BatchOutput(sinks, writer.check, progress), journaled)
    depends_on_batch = plan.depends_on_batch + tell_changes(sinks, plan, note)
    described = dict(root) | {"batch_size": np.int64(plan.batch_size), "examples": np.int64(source.examples)}
    absent = AbsentTensors(tuple(not_loaded), probe.not_captured, frozenset(probe.late))
    from_padding = tell_padding(source, sinks, plan, depends_on_batch, note)
    complete_dump(sinks, source, plan, store, writer, described, config, note, depends_on_batch, from_padding, absent)


def write_batches(
    batches: Sequence[tuple[list[Value | None], int]],
    probe: "RunnableProbe",
    source: Source,
    plan: ActivationPlan,
    writer: DumpWriter,
    root: Mapping[str, Any],
    config: str | None,
    note: Note,
    not_loaded: Sequence[NotCaptured] = (),
) -> None:
    """Write the first batches of a run, whose values were computed already, as a dump of their examples alone."""
    examples = sum(count for _, count in batches)
    part, store = source.part(0, examples), StoreOptions()
    one = replace(plan, batches=Batches(plan.batches.size, examples), padding=0)
    sinks = open_sinks(part, one, store, writer)
    for values, count in batches:
        for sink, value in zip(sinks, values, strict=True):
            if value is not None:
                sink.add(value, count)
    described = dict(root) | {"batch_size": np.int64(plan.batch_size), "examples": np.int64(examples)}
    absent = AbsentTensors(tuple(not_loaded), probe.not_captured, frozenset())
    complete_dump(sinks, part, one, store, writer, described, config, note, plan.depends_on_batch, [], absent)


@dataclass(frozen=True)
class AbsentTensors:
    """What is not in a dump: layers of the file that the model lacks, what was not captured, and late addresses.

    `late` are the addresses that were called after the first batch only.
    """

    not_loaded: tuple[NotCaptured, ...]
    not_captured: tuple[NotCaptured, ...]
    late: frozenset[str]


def complete_dump(
    sinks: Sequence[TensorSink],
    source: Source,
    plan: ActivationPlan,
    store: StoreOptions,
    writer: DumpWriter,
    root: Mapping[str, Any],
    config: str | None,
    note: Note,
    depends_on_batch: Sequence[str],
    from_padding: Sequence[TensorSink],
    absent: AbsentTensors,
) -> None:
    """Link the tensors of sinks that have taken every batch, and set the attributes of the root.

    The tensors of `from_padding` were computed from the copies that pad the last batch too.
    """
    partial = _link_all(sinks, writer, plan, from_padding, absent.late, store, note)
    missing = {item.address: item.reason for item in absent.not_captured} | partial
    _write_lengths(source, writer)
    described = dict(root)
    if plan.padding:
        described[layout.PADDING] = np.int64(plan.padding)
    if depends_on_batch:
        described[layout.DEPENDS_ON_BATCH] = json.dumps(depends_on_batch)
    reasons = (NotCaptured(address, reason) for address, reason in missing.items())
    writer.describe(described, config, (*absent.not_loaded, *reasons))
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


def open_sinks(source: Source, plan: ActivationPlan, store: StoreOptions, writer: DumpWriter) -> list[TensorSink]:
    """Return one sink for each planned tensor, then one for each input that is stored, which keeps its dtype."""

    def opener(options: StoreOptions) -> OpenCollector:
        def open_collector(info: TensorInfo, value: Value, axis0: str) -> Collector:
            return writer.collector(
                info,
                value,
                axis0=axis0,
                examples=source.examples,
                batches=len(plan.batches),
                dtype=options.dtype,
                values=options.values,
            )

        return open_collector

    as_fed = StoreOptions(statistics=store.statistics, values=store.values)
    inputs = planned_inputs(source, store)
    return [
        *(TensorSink(t.group, t.info, t.axis0, store, opener(store), plan.fixed) for t in plan.tensors),
        *(TensorSink(t.group, t.info, t.axis0, as_fed, opener(as_fed)) for t in inputs),
    ]


def _link_all(
    sinks: Sequence[TensorSink],
    writer: DumpWriter,
    plan: ActivationPlan,
    from_padding: Sequence[TensorSink],
    late: Collection[str],
    store: StoreOptions,
    note: Note,
) -> dict[str, str]:
    """Link the complete tensors; return the addresses of those that only some batches gave, with the reasons."""
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
    partial |= dict.fromkeys(sorted(late), "not called in the first batch")
    for address, reason in partial.items():
        note(f"not captured: {address} ({reason})")
    tell_storing([sink for sink in sinks if sink.info.address not in partial], store, note)
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
