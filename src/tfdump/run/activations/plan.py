"""What is found out before the run proper: the batch size, and which tensors have a row an example."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tfdump.dump import layout
from tfdump.dump.axis0 import BATCH, EXAMPLE
from tfdump.inputs.source import Source
from tfdump.run.batching import Batches, choose_batch_size
from tfdump.run.example_axis import AxisFinding
from tfdump.run.first_looks import Looks
from tfdump.run.options import RunOptions, StoreOptions
from tfdump.run.planned import Planned
from tfdump.run.sinks import stored_bytes
from tfdump.tensors import Note, TensorInfo, Value, listed

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe


@dataclass
class Plan:
    """The batches, what each tensor is, and the addresses whose values depend on the batch.

    `fixed` is the number of examples to which every call is padded, or None; `padding` how many copies of its last
    example the last batch gets.
    """

    batches: Batches
    fixed: int | None
    tensors: list[Planned]
    depends_on_batch: list[str]
    padding: int
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
    looks = Looks(probe, source, fixed)
    bytes_at = _cost(probe, source, looks.glance, looks.few, store)
    size = choose_batch_size(
        run.batch_size, fixed, run.training, run.memory, bytes_at, probe.largest_batch, source.examples
    )
    batches = Batches(size, source.examples)
    many = fixed or min(size, source.examples)
    probe.forget()
    if probe.eager:  # what there is, is known only when the first batch has run
        probe.start()
        probe.run(source.first(many))
    first, findings = looks.compare(many)
    padding = -source.examples % fixed if fixed else 0
    if fixed is not None and padding:
        unpadded = looks.findings_unpadded(first, findings, fixed - padding, fixed)
        if unpadded is not None:
            findings, fixed, padding = unpadded, None, 0
        first = looks.first(fixed or min(size, source.examples))
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
    if padding:
        note(
            f"the model takes batches of {fixed} examples only: the last one is padded to {fixed} examples with "
            f"{padding} {'copy' if padding == 1 else 'copies'} of its last one, whose rows are dropped"
        )
    dependent = _tell_dependence(probe, findings, run, padding, note)
    return Plan(batches, fixed, tensors, dependent, padding, first)


def _declared(info: TensorInfo, axis0: str) -> TensorInfo:
    """Return the record of an eagerly computed tensor with its example axis open, as a graph declares it."""
    if axis0 != EXAMPLE or not info.shape:
        return info
    return replace(info, shape=(-1, *info.shape[1:]))


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


def names_of_tensors(tensors: Sequence[tuple[str, str]]) -> list[str]:
    """Return the addresses of tensors, given with their groups; that of an output is left out behind an activation's.

    An output of which no activation bears the name is `outputs/NAME`.
    """
    activations = [address for group, address in tensors if group == layout.ACTIVATIONS]
    others = [f"{group}/{address}" for group, address in tensors if group != layout.ACTIVATIONS]
    known = {f"{layout.OUTPUTS}/{address}" for address in activations}
    return activations + [name for name in others if name not in known]


def listed_layers(names: Sequence[str]) -> str:
    """Return names as a note lists them: outputs, which layers computed, only where they are all there is."""
    activations = [name for name in names if not name.startswith(f"{layout.OUTPUTS}/")]
    return listed(activations or names)


def _tell_dependence(
    probe: "RunnableProbe", findings: list[AxisFinding], run: RunOptions, padding: int, note: Note
) -> list[str]:
    """Name the tensors whose values depend on the batch size (promise 2 does not hold for them).

    With `--training`, where all may, those that mix examples are returned where the last batch has `padding`.
    """
    groups = [layout.OUTPUTS if p.is_output else layout.ACTIVATIONS for p in probe.probed]

    def named(axis0: str) -> list[str]:
        return names_of_tensors(
            [
                (group, probed.info.address)
                for group, probed, finding in zip(groups, probe.probed, findings, strict=True)
                if finding.depends_on_batch and finding.axis0 == axis0
            ]
        )

    stacked = named(BATCH)
    if stacked:
        note(f"stored batch by batch, because they have no row per example: {listed_layers(stacked)}")
    mixing = named(EXAMPLE)
    if run.training:
        note("--training: the values may depend on the batch size (batch statistics, random numbers)")
        return stacked + mixing if padding else stacked
    if probe.assigned:
        changed = listed(probe.assigned)
        note(f"the model changes variables while it runs, so values may depend on the batch size: {changed}")
    if mixing:
        note(f"the values depend on the other examples of the batch: {listed_layers(mixing)}")
    return stacked + mixing
