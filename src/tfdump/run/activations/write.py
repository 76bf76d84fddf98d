"""Writing a dump of activations: all batches run, then the tensors are linked under their addresses."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.journal import Journal
from tfdump.dump.layout import stored_dtype
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.source import Source, pad_batch
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress, silent_progress
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.options import StoreOptions
from tfdump.run.pipeline import BatchOutput, run_at_once, run_in_order
from tfdump.run.planned import PlannedTensor
from tfdump.run.resume import JournaledBatches
from tfdump.run.sinks import TensorSink
from tfdump.run.tensor_notes import tell_changes, tell_padding, tell_storing
from tfdump.tensors import Array, Batch, NotCaptured, Note, TensorInfo, Value, listed

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
    sinks = _open_sinks(probe, source, plan, store, writer)
    inputs = _saved_inputs(source, store)

    def compute(batch: Batch, start: int, stop: int) -> tuple[list[Value | None], Array]:
        values = plan.take_first() if start == 0 else None
        if values is None:
            values = probe.run(pad_batch(batch, plan.fixed) if plan.fixed else batch)
        return [*values, *(batch[name] for name in inputs)], np.zeros(0)

    def feed(batch: Batch) -> Batch:
        return batch if inputs or plan.fixed else probe.feed(batch)  # arrays that are stored or padded stay arrays

    output = BatchOutput(sinks, writer.check, progress)
    if journal is not None:
        journaled = JournaledBatches(journal, sinks, probe.late, note)
        run_in_order(source, plan.batches, compute, output, journaled)
    elif probe.independent:
        run_at_once(source, plan.batches, compute, output, feed)
    else:
        run_in_order(source, plan.batches, compute, output)
    depends_on_batch = plan.depends_on_batch + tell_changes(sinks, plan, note)
    from_padding = tell_padding(source, sinks, plan, depends_on_batch, note)
    missing = _link_all(probe, sinks, writer, plan, from_padding, store, note)
    _write_lengths(source, writer)
    described = dict(root) | {
        "batch_size": np.int64(plan.batch_size),
        "examples": np.int64(source.examples),
    }
    if plan.padding:
        described[layout.PADDING] = np.int64(plan.padding)
    if depends_on_batch:
        described[layout.DEPENDS_ON_BATCH] = json.dumps(depends_on_batch)
    writer.describe(described, config, (*not_loaded, *missing))
    raise_waiting()


def _saved_inputs(source: Source, store: StoreOptions) -> list[str]:
    return [column.name for column in source.columns] if store.save_inputs else []


def planned_inputs(source: Source, store: StoreOptions) -> list[PlannedTensor]:
    """Return the inputs that will be stored, as they are fed; none without `save_inputs`."""
    planned = []
    for order, name in enumerate(_saved_inputs(source, store)):
        column = next(column for column in source.columns if column.name == name)
        info = TensorInfo(name, name, name, ("InputLayer",), order, column.dtype, (-1, *column.shape[1:]))
        size = math.prod(column.shape[1:]) * stored_dtype(column.dtype).itemsize * source.examples
        planned.append(PlannedTensor(layout.INPUTS, info, EXAMPLE, (-1, *column.shape[1:]), size))
    return planned


def _open_sinks(
    probe: "RunnableProbe", source: Source, plan: ActivationPlan, store: StoreOptions, writer: DumpWriter
) -> list[TensorSink]:
    def open_collector(info: TensorInfo, value: Value, axis0: str) -> Any:
        return writer.collector(
            info,
            value,
            axis0=axis0,
            examples=source.examples,
            batches=len(plan.batches),
            dtype=store.dtype,
            values=store.values,
        )

    sinks = [TensorSink(t.group, t.info, t.axis0, store, open_collector, plan.fixed) for t in plan.tensors]
    as_fed = StoreOptions(statistics=store.statistics)
    for saved in planned_inputs(source, store):
        sinks.append(TensorSink(saved.group, saved.info, EXAMPLE, as_fed, open_collector))
    return sinks


def _link_all(
    probe: "RunnableProbe",
    sinks: list[TensorSink],
    writer: DumpWriter,
    plan: ActivationPlan,
    from_padding: list[TensorSink],
    store: StoreOptions,
    note: Note,
) -> tuple[NotCaptured, ...]:
    """Link the complete tensors; return those that were not captured, or that only some batches gave."""
    missing = {item.address: item.reason for item in probe.not_captured}
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
    partial |= dict.fromkeys(sorted(probe.late), "not called in the first batch")
    for address, reason in partial.items():
        note(f"not captured: {address} ({reason})")
    tell_storing([sink for sink in sinks if sink.info.address not in partial], store, note)
    if writer.texts_as_bytes:
        note(f"stored as bytes, because some of the text is not UTF-8 or contains NUL: {listed(writer.texts_as_bytes)}")
    return tuple(NotCaptured(address, reason) for address, reason in (missing | partial).items())


def _write_lengths(source: Source, writer: DumpWriter) -> None:
    """Store the lengths of the rows of ragged inputs."""
    for order, (name, lengths) in enumerate(source.lengths.items()):
        info = TensorInfo(f"{name}:lengths", name, f"{name}:lengths", (), order, "int64", (-1,))
        collector = writer.collector(
            info, lengths, axis0=EXAMPLE, examples=source.examples, batches=1, dtype=None, values=True
        )
        collector.append(lengths)
        writer.link(layout.INPUTS, info, collector, {})
