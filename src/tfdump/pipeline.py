"""From a probe, a source and a plan to a dump: the batches, then what is linked at the end."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.batch_run import run_batches
from tfdump.dump import layout
from tfdump.dump.journal import Journal
from tfdump.dump.layout import stored_dtype
from tfdump.dump.writer import DumpWriter
from tfdump.example_axis import EXAMPLE
from tfdump.inputs.source import Source, padded
from tfdump.interrupts import raise_waiting
from tfdump.planning import Plan, Planned
from tfdump.progress import Progress, silent_progress
from tfdump.resuming import Kept
from tfdump.sinks import StoreOptions, TensorSink
from tfdump.tensors import Array, Batch, NotCaptured, Note, TensorInfo, Value, listed

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe


def write_dump(
    probe: "RunnableProbe",
    source: Source,
    plan: Plan,
    store: StoreOptions,
    writer: DumpWriter,
    root: Mapping[str, Any],
    config: str | None,
    note: Note,
    progress: Progress = silent_progress,
    journal: Journal | None = None,
) -> None:
    """Run every batch and write what the plan says, then the attributes of the root and of each tensor.

    A `journal` that was begun gives the batches that it keeps, and takes the others.
    """
    sinks = _open_sinks(probe, source, plan, store, writer)
    inputs = _saved_inputs(source, store)

    def compute(batch: Batch, start: int, stop: int) -> tuple[list[Value | None], Array]:
        values = plan.take_first() if start == 0 else None
        if values is None:
            values = probe.run(padded(batch, plan.fixed) if plan.fixed else batch)
        return [*values, *(batch[name] for name in inputs)], np.zeros(0)

    def feed(batch: Batch) -> Batch:
        return batch if inputs or plan.fixed else probe.feed(batch)  # what is stored, or padded, stays an array

    kept = Kept(journal, sinks, probe.late, note) if journal is not None else None
    run_batches(source, plan.batches, compute, sinks, writer.check, progress, kept, probe.independent, feed)
    missing = _link_all(probe, sinks, writer, len(plan.batches), store, note)
    _write_lengths(source, writer)
    described = dict(root) | {
        "batch_size": np.int64(plan.batch_size),
        "examples": np.int64(source.examples),
    }
    if plan.depends_on_batch:
        described[layout.DEPENDS_ON_BATCH] = json.dumps(plan.depends_on_batch)
    writer.describe(described, config, missing)
    raise_waiting()


def _saved_inputs(source: Source, store: StoreOptions) -> list[str]:
    return [column.name for column in source.columns] if store.save_inputs else []


def planned_inputs(source: Source, store: StoreOptions) -> list[Planned]:
    """Return what will be stored of the inputs: the values as fed, if asked for, and the lengths of ragged rows."""
    planned = []
    for order, name in enumerate(_saved_inputs(source, store)):
        column = next(column for column in source.columns if column.name == name)
        info = TensorInfo(name, name, name, ("InputLayer",), order, column.dtype, (-1, *column.shape[1:]))
        size = math.prod(column.shape[1:]) * stored_dtype(column.dtype).itemsize * source.examples
        planned.append(Planned(layout.INPUTS, info, EXAMPLE, (-1, *column.shape[1:]), size))
    return planned


def _open_sinks(
    probe: "RunnableProbe", source: Source, plan: Plan, store: StoreOptions, writer: DumpWriter
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

    sinks = [TensorSink(t.group, t.info, t.axis0, store, open_collector) for t in plan.tensors]
    as_fed = StoreOptions(statistics=store.statistics)
    for saved in planned_inputs(source, store):
        sinks.append(TensorSink(saved.group, saved.info, EXAMPLE, as_fed, open_collector))
    return sinks


def _link_all(
    probe: "RunnableProbe", sinks: list[TensorSink], writer: DumpWriter, batches: int, store: StoreOptions, note: Note
) -> tuple[NotCaptured, ...]:
    """Link what is complete; return what was not captured, with what only some batches gave."""
    missing = {item.address: item.reason for item in probe.not_captured}
    partial = {}
    writer.group(layout.ACTIVATIONS)
    overflowed = 0
    for sink in sinks:
        raise_waiting()
        collector, extra = sink.finish()
        if collector is None or sink.batches != batches:
            partial[sink.info.address] = sink.changed or f"given by {sink.batches} of {batches} batches"
            continue
        overflowed += sink.overflowed
        writer.link(sink.group, sink.info, collector, extra)
    partial |= dict.fromkeys(sorted(probe.late), "not called in the first batch")
    for address, reason in partial.items():
        note(f"not captured: {address} ({reason})")
    whole = [
        sink.info.address
        for sink in sinks
        if sink.group != layout.INPUTS and store.reduction is not None and not sink.reduced
    ]
    whole = [address for address in whole if address not in partial]
    if whole:
        note(f"stored whole, because they have no such axes to reduce ({store.reduction}): {listed(whole)}")
    if writer.texts_as_bytes:
        note(
            f"stored as bytes, because the text is not UTF-8 everywhere, or holds NUL: {listed(writer.texts_as_bytes)}"
        )
    if overflowed:
        note(f"{overflowed} finite values are too large for --dtype {store.dtype} and became infinite")
    return tuple(NotCaptured(address, reason) for address, reason in (missing | partial).items())


def _write_lengths(source: Source, writer: DumpWriter) -> None:
    """Keep the lengths of the rows of ragged inputs."""
    for order, (name, lengths) in enumerate(source.lengths.items()):
        info = TensorInfo(f"{name}:lengths", name, f"{name}:lengths", (), order, "int64", (-1,))
        collector = writer.collector(
            info, lengths, axis0=EXAMPLE, examples=source.examples, batches=1, dtype=None, values=True
        )
        collector.append(lengths)
        writer.link(layout.INPUTS, info, collector, {})
