"""What is found out before the run proper: the batch size, and which tensors have a row an example."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tfdump.batching import DEFAULT_MEMORY, Batches, choose_batch_size
from tfdump.dump import layout
from tfdump.example_axis import BATCH, EXAMPLE, AxisFinding, find_by_rolling, find_example_axis, names_of
from tfdump.inputs.source import Source
from tfdump.sinks import StoreOptions, stored_bytes
from tfdump.tensors import Batch, Note, TensorInfo, Value, listed

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe

FEW = 2
"""Examples of the first look; one more is taken where the batches have just as many."""


@dataclass(frozen=True)
class RunOptions:
    """How to run: the batch size (None for automatic), the memory for one batch in bytes, and the mode."""

    batch_size: int | None = None
    memory: int = DEFAULT_MEMORY
    training: bool = False


@dataclass(frozen=True)
class Planned:
    """One tensor that will be dumped: its record, group, axis0, shape (-1 for the examples) and bytes in the file."""

    group: str
    info: TensorInfo
    axis0: str
    shape: tuple[int, ...]
    bytes: int


@dataclass
class Plan:
    """The batches, what each tensor is, and the addresses whose values depend on the batch.

    `fixed` is the number of examples that every call must have, or None.
    """

    batches: Batches
    fixed: int | None
    tensors: list[Planned]
    depends_on_batch: list[str]
    _first: list[Value | None] | None = field(default=None, repr=False)

    @property
    def batch_size(self) -> int:
        """The number of examples that a call has."""
        return self.fixed or min(self.batches.size, self.batches.examples)

    def take_first(self) -> list[Value | None] | None:
        """Return what the first batch gave, once: the model stands behind it."""
        first, self._first = self._first, None
        return first


def make_plan(
    probe: "RunnableProbe", source: Source, fixed: int | None, run: RunOptions, store: StoreOptions, note: Note
) -> Plan:
    """Look at a few examples, choose the batch size, run the first batch, and compare the two.

    `fixed` is the batch size that the model insists on, or None.
    """
    few = fixed or FEW
    glance = probe.run(source.first(few))
    bytes_at = _cost(probe, source, glance, few, store)
    size = choose_batch_size(
        run.batch_size, fixed, run.training, run.memory, bytes_at, probe.largest_batch, source.examples
    )
    batches = Batches(size, source.examples)
    many = fixed or min(size, source.examples)
    few += fixed is None and many == few
    del glance
    probe.forget()
    if probe.eager:  # what there is, is known only when the first batch has run
        probe.start()
        probe.run(source.first(many))
    probe.start()
    look = probe.run(last_of_first_batch(source, few, many, rolled=fixed is not None))
    probe.start()
    first = probe.run(source.first(many))
    findings = []
    for probed, value, other in zip(probe.probed, first, look, strict=True):
        dtype = probed.info.dtype
        if value is None or other is None:  # an eager run whose batches differ: the shape has to do
            by_example = value is not None and value.shape[:1] == (many,)
            findings.append(AxisFinding(EXAMPLE if by_example else BATCH, depends_on_batch=False))
        elif fixed is not None:
            findings.append(find_by_rolling(value, other, fixed, dtype))
        else:
            findings.append(find_example_axis(other, value, few, many, dtype))
    tensors = [
        Planned(
            layout.OUTPUTS if probed.is_output else layout.ACTIVATIONS,
            _declared(probed.info, finding.axis0) if probe.eager else probed.info,
            finding.axis0,
            _planned_shape(value, finding.axis0),
            0 if value is None else stored_bytes(value, finding.axis0, source.examples, store),
        )
        for probed, value, finding in zip(probe.probed, first, findings, strict=True)
    ]
    if fixed is not None and source.examples % fixed:
        note(f"the last batch is padded to {fixed} examples with copies of the last one, which are dropped again")
    dependent = _tell_dependence(probe, findings, run, note)
    return Plan(batches, fixed, tensors, dependent, first)


def _declared(info: TensorInfo, axis0: str) -> TensorInfo:
    """Return the record of an eagerly computed tensor with its example axis open, as a graph declares it."""
    if axis0 != EXAMPLE or not info.shape:
        return info
    return replace(info, shape=(-1, *info.shape[1:]))


def last_of_first_batch(source: Source, count: int, many: int, rolled: bool) -> Batch:
    """Return the last `count` examples of the first batch, moved by one if `rolled`.

    The first ones would agree on too much (a cumulative sum, the number of a row). Where there are fewer, others
    are put in front of them or, without others, the first one again.
    """
    last = {}
    further = source.read(min(many, source.examples), min(count, source.examples)) if many < count else {}
    for name, rows in source.first(many).items():
        some = np.concatenate([further[name], rows]) if further else rows[-count:]
        last[name] = np.concatenate([np.repeat(some[:1], count - len(some), axis=0), some])
    return {name: np.roll(rows, 1, axis=0) for name, rows in last.items()} if rolled else last


def _cost(
    probe: "RunnableProbe", source: Source, small: list[Value | None], few: int, store: StoreOptions
) -> Callable[[int], int]:
    """Return a function from a batch size to the bytes that live at once.

    The shapes of the graph tell of the intermediates; where they are open, what the first look returned counts. Inputs
    that are saved are arrays beside the tensors that the model takes.
    """
    returned = sum(value.nbytes for value in small if value is not None)
    fed = source.example_bytes * (2 if store.save_inputs else 1)

    def at(batch: int) -> int:
        measured = returned * batch // few
        return fed * batch + max(probe.live_bytes(batch), measured)

    return at


def _planned_shape(value: Value | None, axis0: str) -> tuple[int, ...]:
    if value is None:
        return ()
    return (-1, *value.shape[1:]) if axis0 == EXAMPLE and value.shape else tuple(value.shape)


def _tell_dependence(probe: "RunnableProbe", findings: list[AxisFinding], run: RunOptions, note: Note) -> list[str]:
    """Name the tensors whose values depend on the batch size (promise 2 does not hold for them)."""
    named = [(p.info.address, f) for p, f in zip(probe.probed, findings, strict=True) if not p.is_output]
    stacked = names_of(named, BATCH)
    if stacked:
        note(f"stored batch by batch, because they have no row an example: {listed(stacked)}")
    if run.training:
        note("--training: the values may depend on the batch size (batch statistics, random numbers)")
        return stacked
    if probe.assigned:
        changed = listed(probe.assigned)
        note(f"the model changes variables while it runs, so values may depend on the batch size: {changed}")
    mixing = names_of(named, EXAMPLE)
    if mixing:
        note(f"the values depend on the other examples of the batch: {listed(mixing)}")
    return stacked + mixing
