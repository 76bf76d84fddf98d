"""Writing a dump of gradients: passes over the batches, then the gradients are linked under their addresses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfdump.byte_sizes import show_bytes
from tfdump.dump import layout
from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE, STEP
from tfdump.dump.journal import Journal
from tfdump.dump.kinds.kind_notes import tell_kinds
from tfdump.dump.shards.gradient_sums import norm_of_all
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.source import Source, pad_batch
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress
from tfdump.run.batching import Compute
from tfdump.run.example_identity import write_identity
from tfdump.run.gradients.plan import GradientPlan
from tfdump.run.gradients.sinks import RowsSink, SumSink
from tfdump.run.gradients.store import GradientStore
from tfdump.run.gradients.weight_sink import WeightSink, store_weights
from tfdump.run.pipeline import BatchOutput, run_in_order
from tfdump.run.resume import JournaledBatches
from tfdump.tensors import Array, Batch, NotCaptured, Note, TensorInfo, Value

if TYPE_CHECKING:
    from tfdump.model.gradients.per_example import PerExampleProbe
    from tfdump.model.gradients.probe import GradientProbe, GradientProbeBase
    from tfdump.model.gradients.wrt import Target

GradientSink = RowsSink | SumSink


@dataclass(frozen=True)
class Loss:
    """The loss that was differentiated: one number, one per step, or one per example; float64.

    `regularization` is the part of the loss that regularizes the weights. `left_out` is the regularization that is not
    in the losses per example. Both are None where there is none.
    """

    values: npt.NDArray[np.float64]
    regularization: float | None
    dtype: str
    left_out: float | None = None


class GradientDump:
    """The sinks of one dump of gradients, and how their datasets are linked at the end.

    `numbers` has a row for each batch of the last step: the sum of each term of the loss, and the sum of what layers
    add. It is None for gradients per example.
    """

    def __init__(
        self,
        probe: "GradientProbeBase",
        source: Source,
        plan: GradientPlan,
        store: GradientStore,
        steps: int | None,
        writer: DumpWriter,
        note: Note,
        journal: Journal | None = None,
    ) -> None:
        self._probe = probe
        self._source = source
        self._plan = plan
        self._store = store
        self._steps = steps
        self._writer = writer
        self._note = note
        self._journal = journal
        axes = {(tensor.group, tensor.info.address): tensor.axis0 for tensor in plan.tensors}
        self.sinks = [self._sink(target, axes.get(target.key)) for target in probe.targets]
        self._weights: dict[str, WeightSink] = {}
        self.numbers: npt.NDArray[np.float64] | None = None
        self.summed_lookups: dict[str, int] = {}

    def _sink(self, target: "Target", axis0: str | None) -> GradientSink:
        if axis0 in (EXAMPLE, BATCH):
            padded_to = self._plan.fixed
            before = self._plan.batches.before
            return RowsSink(target.group, target.info, axis0, self._store, self._open, target.half, padded_to, before)
        store = self._store if target.selected else GradientStore()
        return SumSink(target.group, target.info, store, self._open if target.selected else _discarded, target.half)

    def _open(self, info: TensorInfo, value: Value, axis0: str) -> Any:
        return self._writer.collector(
            info,
            value,
            axis0=axis0,
            examples=self._source.examples,
            batches=len(self._plan.batches),
            dtype=self._store.for_info(info).dtype,
            values=self._store.tensors.values,
            steps=self._steps,
        )

    def run_batches(self, probe: "GradientProbe", progress: Progress, step: int) -> npt.NDArray[np.float64]:
        """Run every batch once; return the `numbers`."""
        plan, count = self._plan, self._source.examples

        def compute(batch: Batch, start: int, stop: int) -> tuple[list[Value | None], Array]:
            result = plan.take_first() if start == 0 else None
            if result is None:
                fed = pad_batch(batch, plan.fixed) if plan.fixed else batch
                result = probe.run(fed, plan.divisors, stop - start)
            return result.values, np.array([*result.sums, result.added])

        def progress_of_all(done: int, total: int) -> None:
            progress(step * count + done, (self._steps or 1) * total)

        self.numbers = np.array(self._run(compute, progress_of_all))
        return self.numbers

    def run_examples(self, probe: "PerExampleProbe", progress: Progress) -> npt.NDArray[np.float64]:
        """Run every batch of a per-example probe; return the loss of each example."""

        def compute(batch: Batch, start: int, stop: int) -> tuple[list[Value | None], Array]:
            losses, values = probe.run(batch)
            return values, np.array(losses)

        return np.concatenate(self._run(compute, progress))

    def _run(self, compute: Compute, progress: Progress) -> list[Array]:
        journaled = None
        if self._journal is not None:
            journaled = JournaledBatches(self._journal, self.sinks, self._probe.late, self._note)
        output = BatchOutput(self.sinks, self._writer.check, progress)
        return run_in_order(self._source, self._plan.batches, compute, output, journaled)

    def store_weights(self) -> None:
        """Store the selected weights as they are before a step."""
        targets = [target for target in self._probe.targets if target.weight is not None and target.selected]
        if not self._weights:
            self._weights = {t.info.address: WeightSink(t.info, self._store.tensors, self._open) for t in targets}
        store_weights(targets, self._weights)

    def end_step(self) -> None:
        """End one step in every sink."""
        for sink in self.sinks:
            sink.end_step()

    def link(
        self, loss: Loss, root: Mapping[str, Any], config: str | None, not_loaded: Sequence[NotCaptured] = ()
    ) -> None:
        """Link the gradients, the weights and the loss, and write the attributes of the root."""
        missing = [*not_loaded, *self._probe.not_captured]
        selected = [(t, s) for t, s in zip(self._probe.targets, self.sinks, strict=True) if t.selected]
        late = dict.fromkeys(sorted(self._probe.late), "not connected with the loss in the first batch")
        kinds = [(target.info.address, sink.kind) for target, sink in selected if isinstance(sink, RowsSink)]
        depends_on_batch = self._plan.depends_on_batch + tell_kinds(kinds, len(self._plan.batches), self._note)
        for target, sink in selected:
            collector, extra = sink.finish()
            if collector is None:
                late[target.info.address] = sink.lost or "not connected with the loss in any batch"
                continue
            self._writer.link(target.group, sink.info, collector, extra | _aliases(target))
        for target in self._probe.unconnected:
            if target.selected:
                self._writer.unconnected(target.group, target.info, _aliases(target))
        for target in (target for target, _ in selected if target.info.address in self._weights):
            collector, extra = self._weights[target.info.address].finish()
            if target.weight is not None and collector is not None:
                self._writer.link(layout.WEIGHTS, target.info, collector, extra | _aliases(target))
        attributes: dict[str, Any] = {"dtype": loss.dtype}
        if loss.regularization is not None:
            attributes["regularization"] = np.float64(loss.regularization)
        if loss.left_out is not None:
            attributes["regularization_left_out"] = np.float64(loss.left_out)
        attributes["axis0"] = STEP if self._steps else EXAMPLE if loss.values.ndim else NONE
        self._writer.loss(loss.values, attributes)
        self._tell(loss, [sink for _, sink in selected], late, root.get("loss_scale"))
        missing += [NotCaptured(address, reason) for address, reason in late.items()]
        described = dict(root) | {
            "batch_size": np.int64(self._plan.batch_size),
            "examples": np.int64(self._source.examples),
        }
        if self.summed_lookups:
            described["summed_lookups"] = json.dumps(list(self.summed_lookups))
        if depends_on_batch:
            described[layout.DEPENDS_ON_BATCH] = json.dumps(depends_on_batch)
        norms = [sink.norm for target, sink in selected if target.weight is not None and isinstance(sink, SumSink)]
        if norms and not self._steps:
            described["gradient_norm"] = norm_of_all(norms)
        write_identity(self._source, self._writer)
        self._writer.describe(described, config, tuple(missing))
        raise_waiting()

    def _tell(
        self, loss: Loss, sinks: Sequence[GradientSink], late: Mapping[str, str], loss_scale: float | None
    ) -> None:
        """Tell what a reader of the numbers must know: NaN, zeros of float16, overflow, and what is missing."""
        if not np.isfinite(loss.values).all():
            bad = np.flatnonzero(~np.isfinite(loss.values.reshape(-1)))
            where = f", first at {'step' if self._steps else 'example'} {bad[0]}" if loss.values.ndim else ""
            self._note(f"the loss is not finite ({loss.values.reshape(-1)[bad[0]]}{where}), nor are its gradients")
        else:
            infinite = [sink for sink in sinks if not sink.finite]
            if infinite:
                why = f"; --loss-scale {loss_scale:g} may be too large" if loss_scale is not None else ""
                self._note(f"the loss is finite, but gradients are NaN or infinite: {_named(infinite)}{why}")
        half = [sink for sink in sinks if sink.zeros]
        if half:
            total = sum(sink.zeros for sink in half)
            self._note(
                f"{total} gradient values that passed through float16 are zero, some perhaps by underflow (compare "
                f"with --loss-scale 1024): {_named(half)}"
            )
        if self._store.sparse and not any(isinstance(sink, SumSink) and sink.is_table for sink in sinks):
            self._note("--sparse: the model looks up no table, so every gradient is stored whole")
        overflowed = sum(sink.overflowed for sink in [*sinks, *self._weights.values()])
        if overflowed:
            self._note(
                f"{overflowed} finite values are too large for --dtype {self._store.tensors.dtype} and became infinite"
            )
        for address, size in self.summed_lookups.items():
            self._note(
                f"the optimizer applied the rows of {address} summed by id, and not one by one as fit does, because "
                f"they take {show_bytes(size)} (raise --memory, which also limits one batch)"
            )
        for address, reason in late.items():
            self._note(f"not captured: {address} ({reason})")


def _named(sinks: Sequence[GradientSink]) -> str:
    names = list(dict.fromkeys(sink.info.address for sink in sinks))
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _aliases(target: "Target") -> dict[str, Any]:
    return {"aliases": json.dumps(list(target.aliases))} if target.aliases else {}


class _Discarding:
    """Takes the gradients that a descent needs and that are not stored."""

    def append(self, value: Any) -> None:
        """Do nothing."""

    def finish(self) -> Any:
        """Raise AssertionError: it is never called."""
        raise AssertionError("this gradient is not stored")


def _discarded(info: TensorInfo, value: Value, axis0: str) -> Any:
    return _Discarding()
