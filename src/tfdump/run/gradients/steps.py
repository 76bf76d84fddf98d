"""The passes of a gradient run: one for every example's own gradient, or one per step for all examples together."""

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tfdump.dump.shards.gradient_sums import loss_of
from tfdump.process.stages import Progress
from tfdump.run.gradients.lookups import LookupRows
from tfdump.run.gradients.plan import GradientPlan
from tfdump.run.gradients.sinks import SumSink
from tfdump.run.gradients.write import GradientDump, Loss

if TYPE_CHECKING:
    from tfdump.model.gradients.descent import Descent, Regularization
    from tfdump.model.gradients.per_example import PerExampleProbe
    from tfdump.model.gradients.probe import GradientProbe, GradientProbeBase


class Passes(Protocol):
    """A probe, and how it is run over all examples."""

    @property
    def probe(self) -> "GradientProbeBase":
        """The probe that computes the gradients of a batch."""

    def write(self, dump: GradientDump, progress: Progress) -> Loss:
        """Fill the sinks of a dump, and return the loss."""


@dataclass(frozen=True)
class EachExample:
    """One pass, in which every example has its own gradient, without the regularization, whose loss is `left_out`."""

    probe: "PerExampleProbe"
    left_out: float | None = None

    def write(self, dump: GradientDump, progress: Progress) -> Loss:
        """Fill the sinks of a dump, and return the loss of each example."""
        losses = dump.run_examples(self.probe, progress)
        dump.end_step()
        return Loss(losses, None, _dtype(self.probe), self.left_out)


@dataclass(frozen=True)
class AllExamples:
    """One pass over all batches, or one per step of `steps`, between which the `descent` changes the weights.

    The descent receives the gradients of tables row by row, as in Keras, while the rows take at most `lookup_bytes`.
    """

    probe: "GradientProbe"
    plan: GradientPlan
    regularization: "Regularization | None"
    steps: int | None = None
    descent: "Callable[[Sequence[Any]], Descent] | None" = None
    save_weights: bool = False
    lookup_bytes: int = 0

    def write(self, dump: GradientDump, progress: Progress) -> Loss:
        """Fill the sinks of a dump, and return the loss, or one loss per step."""
        pairs = list(zip(self.probe.targets, dump.sinks, strict=True))
        weights = [target.weight for target, _ in pairs if target.weight is not None]
        sums = [sink for target, sink in pairs if target.weight is not None]
        descent = self.descent(weights) if self.descent is not None else None
        lookups = LookupRows(self.lookup_bytes)
        for sink in sums:
            if isinstance(sink, SumSink) and descent is not None and descent.takes_rows:
                sink.lookups = lookups
        losses = []
        own = None
        with closing(descent) if descent is not None else nullcontext():
            for step in range(self.steps or 1):
                if self.save_weights:
                    dump.store_weights()
                numbers = dump.run_batches(self.probe, progress, step)
                if self.regularization is not None:
                    own, gradients = self.regularization.run(weights)
                    for sink, gradient in zip(sums, gradients, strict=True):
                        if gradient is not None:
                            sink.add(gradient, 0)
                dump.end_step()
                losses.append(loss_of(numbers, self.plan.divisors, [term.weight for term in self.probe.terms], own))
                if descent is not None:
                    descent.apply([sink.take_for_optimizer() for sink in sums if isinstance(sink, SumSink)])
        dump.summed_lookups = lookups.summed
        values = np.array(losses if self.steps else losses[0], np.float64)
        return Loss(values, own if not self.steps else None, _dtype(self.probe))


def _dtype(probe: "GradientProbeBase") -> str:
    return probe.terms[0].dtype if probe.terms else "float32"
