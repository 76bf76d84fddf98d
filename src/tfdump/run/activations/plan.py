"""What is decided before an activation run: the batch size, and which tensors have one row per example."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tfdump.dump import layout
from tfdump.dump.axis0 import BATCH, EXAMPLE
from tfdump.dump.kinds.kind_notes import names_of_tensors
from tfdump.inputs.source import Source
from tfdump.run.batching import Batches, choose_batch_size
from tfdump.run.dependence import tell_dependence
from tfdump.run.example_axis import AxisFinding
from tfdump.run.first_looks import FirstLooks
from tfdump.run.options import RunOptions, StoreOptions
from tfdump.run.planned import RunPlan
from tfdump.run.sinks import stored_bytes
from tfdump.tensors import Note, PlannedTensor, TensorInfo, Value

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe


@dataclass(kw_only=True)
class ActivationPlan(RunPlan[list[Value | None]]):
    """The plan of an activation run; `padding` is the number of copies of its last example that the last batch gets."""

    padding: int


def plan_activations(
    probe: "RunnableProbe", source: Source, fixed: int | None, run: RunOptions, store: StoreOptions, note: Note
) -> ActivationPlan:
    """Look at a few examples, choose the batch size, run the first batch, and compare the two.

    `fixed` is the batch size that the model requires, or None.
    """
    looks = FirstLooks(probe, source, fixed)
    bytes_at = _cost(probe, source, looks.glance, looks.few, store)
    size = choose_batch_size(
        run.batch_size, fixed, run.training, run.memory, bytes_at, probe.largest_batch, source.examples
    )
    batches = Batches(size, source.examples)
    many = fixed or min(size, source.examples)
    probe.forget()
    if probe.eager:  # an eager model tells its tensors only when the first batch has run
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
        PlannedTensor(
            layout.OUTPUTS if probed.is_output else layout.ACTIVATIONS,
            _declared(probed.info, finding.axis0) if probe.eager else probed.info,
            finding.axis0,
            _planned_shape(value, finding.axis0),
            0 if value is None else stored_bytes(value, finding.axis0, source.examples, store),
            finding.depends_on_batch,
        )
        for probed, value, finding in zip(probe.probed, first, findings, strict=True)
    ]
    if padding:
        note(
            f"the model takes only batches of {fixed} examples: the last batch is padded to {fixed} examples with "
            f"{padding} {'copy' if padding == 1 else 'copies'} of its last one, and the rows of the copies are dropped"
        )
    dependent = _tell_dependence(probe, findings, run, padding, note)
    return ActivationPlan(
        batches=batches, fixed=fixed, tensors=tensors, depends_on_batch=dependent, padding=padding, first=first
    )


def _declared(info: TensorInfo, axis0: str) -> TensorInfo:
    """Return the record of an eagerly computed tensor with an open example axis, as a graph declares it."""
    if axis0 != EXAMPLE or not info.shape:
        return info
    return replace(info, shape=(-1, *info.shape[1:]))


def _cost(
    probe: "RunnableProbe", source: Source, small: list[Value | None], few: int, store: StoreOptions
) -> Callable[[int], int]:
    """Return a function from a batch size to the bytes that live at once.

    The shapes in the graph tell the bytes of the intermediates. Where they are open, the values of the first look are
    measured. Inputs that are saved live twice: as arrays and as the tensors that the model takes.
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


def _tell_dependence(
    probe: "RunnableProbe", findings: list[AxisFinding], run: RunOptions, padding: int, note: Note
) -> list[str]:
    """Tell which tensors depend on the batch size, and return their names."""
    groups = [layout.OUTPUTS if p.is_output else layout.ACTIVATIONS for p in probe.probed]

    def named(axis0: str) -> list[str]:
        return names_of_tensors(
            [
                (group, probed.info.address)
                for group, probed, finding in zip(groups, probe.probed, findings, strict=True)
                if finding.depends_on_batch and finding.axis0 == axis0
            ]
        )

    return tell_dependence("values", named(BATCH), named(EXAMPLE), probe.assigned, run.training, padding, note)
