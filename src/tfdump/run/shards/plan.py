"""The plan of a whole run as a record and back, and the plan and the states of one shard."""

from dataclasses import replace
from typing import Any, TypeVar

from tfdump.dump import layout
from tfdump.dump.shards.manifest import Manifest, ShardedPlan
from tfdump.errors import DumpError
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.batching import Batches
from tfdump.run.planned import RunPlan
from tfdump.run.sinks import TensorSink
from tfdump.tensors import PlannedTensor

AnyPlan = TypeVar("AnyPlan", bound=RunPlan)  # type: ignore[type-arg]  # a plan of any kind of run


def record_of_activations(plan: ActivationPlan, planned: list[PlannedTensor]) -> ShardedPlan:
    """Return the record of a plan; `planned` are all tensors of the run, the inputs that are stored included."""
    return ShardedPlan(
        tensors=tuple(planned),
        fixed=plan.fixed,
        padding=plan.padding,
        depends_on_batch=tuple(plan.depends_on_batch),
    )


def plan_of_activations(manifest: Manifest) -> ActivationPlan:
    """Return the plan that a manifest records, without the values of the first batch."""
    record = manifest.plan
    return ActivationPlan(
        batches=Batches(manifest.batch_size, manifest.examples),
        fixed=record.fixed,
        tensors=[tensor for tensor in record.tensors if tensor.group != layout.INPUTS],
        depends_on_batch=list(record.depends_on_batch),
        padding=record.padding,
    )


def batches_of_part(batches: Batches, start: int, stop: int) -> Batches:
    """Return the batches of the examples from `start` up to `stop`, counted from the first one of the whole run."""
    return Batches(batches.size, stop - start, before=start // batches.size, whole=len(batches))


def plan_of_part(plan: AnyPlan, start: int, stop: int) -> AnyPlan:
    """Return the plan of these examples, counted from the first one of the whole run.

    The values of the first batch, where they are at hand, go with the first part and are forgotten with any other.
    """
    first = plan.take_first()
    return replace(plan, batches=batches_of_part(plan.batches, start, stop), first=first if start == 0 else None)


def activations_of_part(plan: ActivationPlan, start: int, stop: int) -> ActivationPlan:
    """Return the same of an activation run: only the last part has the padding of the last batch."""
    padding = plan.padding if stop == plan.batches.examples else 0
    return replace(plan_of_part(plan, start, stop), padding=padding)


def check_same_tensors(model: str, here: list[tuple[str, str]], planned: list[tuple[str, str]]) -> None:
    """Raise DumpError where the tensors that a model has here, by group and address, are not those of the plan."""
    if here == planned:
        return
    names = ["/".join(item) for item in planned if item not in here] or ["/".join(x) for x in here if x not in planned]
    which = f"'{names[0]}'" if names else "their order"
    raise DumpError(
        f"the plan in the manifest has other tensors than {model} has here, first {which} (make the shards in another "
        "folder)"
    )


def sink_state(planned: PlannedTensor, sink: TensorSink) -> dict[str, Any]:
    """Return what a shard records of the sink of a planned tensor."""
    return {
        "group": planned.group,
        "address": planned.info.address,
        "constant": sink.constant,
        **sink.state(),
    }
