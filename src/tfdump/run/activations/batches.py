"""Computing the batches of an activation run: the values of the planned tensors and of the inputs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfdump.inputs.source import Source, pad_batch
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.batching import BatchResult
from tfdump.run.pipeline import BatchOutput, run_at_once, run_in_order
from tfdump.run.resume import JournaledBatches
from tfdump.tensors import Batch

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe


def run_batches(
    probe: "RunnableProbe",
    source: Source,
    plan: ActivationPlan,
    inputs: Sequence[str],
    output: BatchOutput,
    journaled: JournaledBatches | None = None,
    with_late: bool = False,
) -> None:
    """Compute every batch, and give its values to the sinks of `output`: planned tensors, then these `inputs`.

    The batches run at once where no run of the model affects another one. `with_late` adds one more value: the
    addresses that an eager model has called up to this batch, and not in the first one. The `journaled` batches of an
    interrupted run are not computed again.
    """

    def compute(batch: Batch, start: int, stop: int) -> BatchResult:
        values = plan.take_first() if start == 0 else None
        if values is None:
            values = probe.run(pad_batch(batch, plan.fixed) if plan.fixed else batch)
        late = [frozenset(probe.late)] if with_late else []
        return [*values, *(batch[name] for name in inputs), *late], np.zeros(0)

    def feed(batch: Batch) -> Batch:
        return batch if inputs or plan.fixed else probe.feed(batch)  # arrays that are stored or padded stay arrays

    if journaled is None and probe.independent:
        run_at_once(source, plan.batches, compute, output, feed)
    else:
        run_in_order(source, plan.batches, compute, output, journaled)
