"""What is decided before a gradient run: the batch size, the divisors of the loss, and how each gradient is stored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfdump.byte_sizes import show_bytes
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.layout import stored_dtype
from tfdump.errors import ModelError
from tfdump.inputs.source import Source, pad_batch
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Stage, silent_stage
from tfdump.run.batching import Batches, choose_batch_size
from tfdump.run.first_looks import FEW, examples_at, first_places, last_places, moved_places
from tfdump.run.gradients.findings import GradientLook, check_classes, coupling, finding, tell_mixing, tell_ranges
from tfdump.run.gradients.store import GradientStore
from tfdump.run.options import RunOptions
from tfdump.run.planned import RunPlan
from tfdump.run.sinks import stored_bytes
from tfdump.tensors import Note, PlannedTensor, Sparse, TensorInfo, Value

if TYPE_CHECKING:
    from tfdump.model.gradients.per_example import PerExampleProbe
    from tfdump.model.gradients.probe import GradientBatch, GradientProbe
    from tfdump.model.gradients.wrt import Target


@dataclass(kw_only=True)
class GradientPlan(RunPlan["GradientBatch"]):
    """The plan of a gradient run.

    `divisors` divide the terms of the loss, None for gradients per example. `coupled` tells why the loss cannot be
    split over batches; None if it can.
    """

    divisors: npt.NDArray[np.float64] | None
    coupled: str | None = None


def plan_gradients(
    probe: "GradientProbe",
    source: Source,
    fixed: int | None,
    run: RunOptions,
    store: GradientStore,
    steps: int | None,
    note: Note,
    stage: Stage = silent_stage,
) -> GradientPlan:
    """Look at a few examples, choose the batch size, count the divisors of the loss, and run the first batch.

    `fixed` is the batch size that the model requires, or None. Raises ModelError for a loss that couples the examples
    where they do not all fit into one batch.
    """
    few = fixed or FEW
    examples = source.examples
    if fixed is not None:
        source.check_padded(fixed)
    check_classes(probe, source)
    glance = None
    if probe.eager or probe.largest_batch is not None:  # the graph alone does not tell all sizes
        glance = probe.run(source.first(few), None, few)
        check_classes(probe, source)
    cost = _cost(probe, source, glance, few)
    size = choose_batch_size(run.batch_size, fixed, run.training, run.memory, cost, probe.largest_batch)
    if probe.coupled:
        size, fixed = _whole(probe.coupled, probe, size, examples, fixed, run, cost)
    plan, coupled = _look(probe, source, fixed, size, run, store, steps, note, stage)
    if coupled:
        size, fixed = _whole(coupled, probe, size, examples, fixed, run, cost)
        plan, _ = _look(probe, source, fixed, size, run, store, steps, note, stage)
    plan.coupled = probe.coupled or coupled
    if fixed is not None and examples % fixed:
        counts = "which enter only its batch statistics" if run.training else "which do not count"
        note(f"the last batch is padded to {fixed} examples with copies of its last example, {counts}")
    return plan


def plan_per_example(probe: "PerExampleProbe", source: Source, run: RunOptions, store: GradientStore) -> GradientPlan:
    """Choose how many examples run at once. Every gradient has one row per example."""
    check_classes(probe, source)
    probe.run(source.first(1))
    probe.forget()  # the first call of a model may create its weights
    size = choose_batch_size(
        run.batch_size,
        None,
        False,
        run.memory,
        lambda batch: source.example_bytes * batch + probe.live_bytes(batch),
        probe.largest_batch,
    )
    _, values = probe.run(source.first(1))
    tensors = []
    for target, value in zip(probe.targets, values, strict=True):
        size_in_file = 0 if value is None else _stored(value, EXAMPLE, Batches(1, source.examples), target.info, store)
        shape = () if value is None else (-1, *(() if store.norms_only else value.shape[1:]))
        tensors.append(PlannedTensor(target.group, target.info, EXAMPLE, shape, size_in_file))
    probe.start()
    batches = Batches(size, source.examples)
    return GradientPlan(batches=batches, fixed=None, divisors=None, tensors=tensors, depends_on_batch=[])


def _look(
    probe: "GradientProbe",
    source: Source,
    fixed: int | None,
    size: int,
    run: RunOptions,
    store: GradientStore,
    steps: int | None,
    note: Note,
    stage: Stage,
) -> tuple[GradientPlan, str | None]:
    """Look at some examples, and run the first batch; return the plan, and why the examples are coupled, or None."""
    examples = source.examples
    batches = Batches(size, examples)
    many = fixed or min(size, examples)
    probe.forget()
    if probe.eager:  # an eager model tells its gradients only when the first batch has run
        probe.start()
        probe.run(source.first(many), None, many)
    divisors = _divisors(probe, source, batches, fixed, note, stage)
    every_places = [moved_places(fixed)] if fixed else [last_places(many, examples), first_places(examples)]
    looks = []
    for places in every_places:
        probe.start()
        looks.append(GradientLook(places, probe.run(examples_at(source, places), divisors, len(places))))
    probe.start()
    first = probe.run(source.first(many), divisors, many)
    findings = [finding(target, number, first, looks, many, fixed) for number, target in enumerate(probe.targets)]
    tensors = [
        PlannedTensor(
            target.group, target.info, finding.axis0, *_planned(target, value, finding.axis0, batches, store, steps)
        )
        for target, value, finding in zip(probe.targets, first.values, findings, strict=True)
        if target.selected
    ]
    coupled = None
    if not run.training and (len(batches) > 1 or (examples < size and fixed is not None)):
        coupled = coupling(probe, source, fixed, divisors, looks, first, many)
    dependent = []
    if coupled is None:  # otherwise another look follows, or an error
        tell_ranges(probe, first, note)
        dependent = tell_mixing(probe, findings, run, note)
    reusable = fixed is None or (
        len(batches) == 1 and examples >= fixed
    )  # otherwise copies counted, or the state moved
    if not reusable:
        probe.start()
    plan = GradientPlan(
        batches=batches,
        fixed=fixed,
        divisors=divisors,
        tensors=tensors,
        depends_on_batch=dependent,
        first=first if reusable else None,
    )
    return plan, coupled


def _divisors(
    probe: "GradientProbe", source: Source, batches: Batches, fixed: int | None, note: Note, stage: Stage
) -> npt.NDArray[np.float64]:
    """Return the divisors of the terms of the loss for all examples, from a forward pass where they must be counted."""
    from tfdump.model.gradients.probe import ROWS
    from tfdump.model.losses.terms import divisors_of

    if all(term.per_example is not None for term in probe.terms):
        return divisors_of(probe.terms, None, source.examples)
    probe.start()
    stage(f"Counting the divisor of the loss over {source.examples:,} examples")
    counting = probe.counting(note, fixed)
    counts = np.zeros(())
    for start, stop in batches:
        raise_waiting()
        batch = source.read(start, stop)
        fed = pad_batch(batch, fixed) if fixed else batch
        counts = counts + np.asarray(counting.run({**fed, ROWS: np.array(stop - start, np.int32)}))
    stage("Looking at the first batches")
    return divisors_of(probe.terms, counts, source.examples)


def _whole(
    reason: str,
    probe: "GradientProbe",
    size: int,
    examples: int,
    fixed: int | None,
    run: RunOptions,
    cost: Callable[[int], int],
) -> tuple[int, int | None]:
    """Return the size of one batch of all examples, and the size to which it is padded, or None.

    `reason` tells why they must be in one batch. Raises ModelError where they cannot be, or only with copies.
    """
    if fixed is not None and examples < fixed:
        if probe.takes(examples):
            return examples, examples
        raise ModelError(
            f"the loss couples the examples of a batch: {reason}. The model takes only batches of {fixed} examples, so "
            f"copies of the last of the {examples} examples would count (give {fixed} examples)"
        )
    if size >= examples:
        return size, fixed
    if fixed is None and run.batch_size is None and cost(examples) <= run.memory:
        return examples, fixed
    remedy = f"--batch-size {examples}, or fewer --examples" if fixed is None else f"at most {fixed} --examples"
    raise ModelError(
        f"the loss couples the examples of a batch: {reason}. All {examples} examples must be in one batch, which "
        f"takes about {show_bytes(cost(examples))} ({remedy})"
    )


def _cost(probe: "GradientProbe", source: Source, glance: "GradientBatch | None", few: int) -> Callable[[int], int]:
    """Return a function from a batch size to the bytes that live at once, by the graph and by the first look."""
    returned = 0
    if glance is not None:
        pairs = zip(glance.values, probe.targets, strict=True)
        returned = sum(value.nbytes for value, target in pairs if value is not None and target.weight is None)

    def at(batch: int) -> int:
        return source.example_bytes * batch + max(probe.live_bytes(batch), returned * batch // few)

    return at


def _planned(
    target: "Target", value: Value | None, axis0: str, batches: Batches, store: GradientStore, steps: int | None
) -> tuple[tuple[int, ...], int]:
    """Return the shape that will be stored, with -1 for the examples, and its bytes."""
    if value is None:
        return (), 0
    size = _stored(value, axis0, batches, target.info, store) * (steps or 1)
    shape: tuple[int, ...] = tuple(value.shape)
    if axis0 == EXAMPLE:
        shape = (-1, *(() if store.norms_only else shape[1:]))
    elif store.norms_only:
        shape = ()
    return ((steps, *shape) if steps else shape), size


def _stored(value: Value, axis0: str, batches: Batches, info: TensorInfo, store: GradientStore) -> int:
    examples = batches.examples
    if store.norms_only:
        count = examples if axis0 == EXAMPLE else 1
        return count * stored_dtype(info.dtype, store.for_info(info).dtype).itemsize if store.tensors.values else 0
    if isinstance(value, Sparse):
        whole = np.broadcast_to(np.zeros((), value.dtype), value.dense_shape)
        size = stored_bytes(whole, axis0, examples, store.for_info(info))
        if not store.sparse:
            return size
        most = max(1, value.dense_shape[0])
        touched = min(len(np.unique(value.indices)) * len(batches), most)  # every batch may touch other rows
        return touched * (size // most + value.indices.itemsize)
    return stored_bytes(value, axis0, examples, store.for_info(info))
