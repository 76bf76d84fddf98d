"""From a gradient probe, a source and a plan to a dump: a pass over the batches, and what is linked at the end."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfdump.byte_sizes import show_bytes
from tfdump.dump import layout
from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.journal import Journal
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.source import Source, padded
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress
from tfdump.run.gradients.plan import GradientPlan
from tfdump.run.gradients.sinks import RowsSink, SumSink
from tfdump.run.gradients.store import GradientStore
from tfdump.run.gradients.weight_sink import WeightSink, keep_weights
from tfdump.run.pipeline import Compute, run_batches
from tfdump.run.resume import Kept
from tfdump.run.tensor_notes import tell_kinds
from tfdump.tensors import Array, Batch, NotCaptured, Note, TensorInfo, Value

if TYPE_CHECKING:
    from tfdump.model.gradients.per_example import PerExampleProbe
    from tfdump.model.gradients.probe import GradientProbe, GradientProbeBase
    from tfdump.model.gradients.wrt import Target

Sink = RowsSink | SumSink


@dataclass(frozen=True)
class Loss:
    """The value of what was differentiated: a scalar, one a step, or one an example; float64.

    `regularization` is the part of it that regularizes weights, `left_out` what of that kind belongs to no example and
    is not in it; None where there is none.
    """

    values: npt.NDArray[np.float64]
    regularization: float | None
    dtype: str
    left_out: float | None = None


class GradientDump:
    """The sinks of one dump of gradients, and what is linked when they are full."""

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
        self.summed_lookups: dict[str, int] = {}

    def _sink(self, target: "Target", axis0: str | None) -> Sink:
        if axis0 in (EXAMPLE, BATCH):
            padded_to = self._plan.fixed
            return RowsSink(target.group, target.info, axis0, self._store, self._open, target.half, padded_to)
        store = self._store if target.selected else GradientStore()
        return SumSink(target.group, target.info, store, self._open if target.selected else _nothing, target.half)

    def _open(self, info: TensorInfo, value: Value, axis0: str) -> Any:
        return self._writer.collector(
            info,
            value,
            axis0=axis0,
            examples=self._source.examples,
            batches=len(self._plan.batches),
            dtype=self._store.for_info(info).dtype,
            values=self._store.store.values,
            steps=self._steps,
        )

    def run_batches(self, probe: "GradientProbe", progress: Progress, step: int) -> npt.NDArray[np.float64]:
        """Run every batch once; return the sums of the terms of the loss and, last, of what layers add to it."""
        plan, count = self._plan, self._source.examples

        def compute(batch: Batch, start: int, stop: int) -> tuple[list[Value | None], Array]:
            found = plan.take_first() if start == 0 else None
            if found is None:
                fed = padded(batch, plan.fixed) if plan.fixed else batch
                found = probe.run(fed, plan.divisors, stop - start)
            return found.values, np.array([*found.sums, found.added])

        def progress_of_all(done: int, total: int) -> None:
            progress(step * count + done, (self._steps or 1) * total)

        sums = np.zeros(len(probe.terms) + 1)
        for found in self._run(compute, progress_of_all):
            sums += found
        return sums

    def run_examples(self, probe: "PerExampleProbe", progress: Progress) -> npt.NDArray[np.float64]:
        """Run every batch of a per-example probe; return the loss of each example."""

        def compute(batch: Batch, start: int, stop: int) -> tuple[list[Value | None], Array]:
            losses, values = probe.run(batch)
            return values, np.array(losses)

        return np.concatenate(self._run(compute, progress))

    def _run(self, compute: Compute, progress: Progress) -> list[Array]:
        kept = None
        if self._journal is not None:
            kept = Kept(self._journal, self.sinks, self._probe.late, self._note)
        return run_batches(self._source, self._plan.batches, compute, self.sinks, self._writer.check, progress, kept)

    def keep_weights(self) -> None:
        """Store the selected weights as they are before a step."""
        chosen = [target for target in self._probe.targets if target.weight is not None and target.selected]
        if not self._weights:
            self._weights = {t.info.address: WeightSink(t.info, self._store.store, self._open) for t in chosen}
        keep_weights(chosen, self._weights)

    def end_step(self) -> None:
        """Close the sums of one step."""
        for sink in self.sinks:
            sink.end_step()

    def link(
        self, loss: Loss, root: Mapping[str, Any], config: str | None, not_loaded: Sequence[NotCaptured] = ()
    ) -> None:
        """Give everything its name: the gradients, the loss, the weights, and the attributes of the root."""
        missing = [*not_loaded, *self._probe.not_captured]
        chosen = [(t, s) for t, s in zip(self._probe.targets, self.sinks, strict=True) if t.selected]
        late = dict.fromkeys(sorted(self._probe.late), "not connected with the loss in the first batch")
        kinds = [(target.info.address, sink.kind) for target, sink in chosen if isinstance(sink, RowsSink)]
        depends_on_batch = self._plan.depends_on_batch + tell_kinds(kinds, len(self._plan.batches), self._note)
        for target, sink in chosen:
            collector, extra = sink.finish()
            if collector is None:
                late[target.info.address] = sink.lost or "not connected with the loss in any batch"
                continue
            self._writer.link(target.group, sink.info, collector, extra | _aliases(target))
        for target in self._probe.unconnected:
            if target.selected:
                self._writer.unconnected(target.group, target.info, _aliases(target))
        for target in (target for target, _ in chosen if target.info.address in self._weights):
            collector, extra = self._weights[target.info.address].finish()
            if target.weight is not None and collector is not None:
                self._writer.link(layout.WEIGHTS, target.info, collector, extra | _aliases(target))
        attributes: dict[str, Any] = {"dtype": loss.dtype}
        if loss.regularization is not None:
            attributes["regularization"] = np.float64(loss.regularization)
        if loss.left_out is not None:
            attributes["regularization_left_out"] = np.float64(loss.left_out)
        attributes["axis0"] = "step" if self._steps else EXAMPLE if loss.values.ndim else NONE
        self._writer.loss(loss.values, attributes)
        self._tell(loss, [sink for _, sink in chosen], late, root.get("loss_scale"))
        missing += [NotCaptured(address, reason) for address, reason in late.items()]
        described = dict(root) | {
            "batch_size": np.int64(self._plan.batch_size),
            "examples": np.int64(self._source.examples),
        }
        if self.summed_lookups:
            described["summed_lookups"] = json.dumps(list(self.summed_lookups))
        if depends_on_batch:
            described[layout.DEPENDS_ON_BATCH] = json.dumps(depends_on_batch)
        norms = [sink.norm for target, sink in chosen if target.weight is not None and isinstance(sink, SumSink)]
        if norms and not self._steps:
            wide = np.array([norm or 0.0 for norm in norms], np.longdouble)  # squares may overflow float64
            described["gradient_norm"] = np.float64(np.sqrt(np.sum(np.square(wide))))
        self._writer.describe(described, config, tuple(missing))
        raise_waiting()

    def _tell(self, loss: Loss, sinks: Sequence[Sink], late: Mapping[str, str], loss_scale: float | None) -> None:
        """Say what the numbers need to be read: NaN, zeros of float16, values that overflowed, what is missing."""
        if not np.isfinite(loss.values).all():
            bad = np.flatnonzero(~np.isfinite(loss.values.reshape(-1)))
            where = f", first at {'step' if self._steps else 'example'} {bad[0]}" if loss.values.ndim else ""
            self._note(f"the loss is not finite ({loss.values.reshape(-1)[bad[0]]}{where}), nor are its gradients")
        else:
            infinite = [sink for sink in sinks if not sink.finite]
            if infinite:
                why = f"; --loss-scale {loss_scale:g} may be too large" if loss_scale is not None else ""
                self._note(f"the loss is finite, but NaN or infinite are gradients of {_named(infinite)}{why}")
        half = [sink for sink in sinks if sink.zeros]
        if half:
            total = sum(sink.zeros for sink in half)
            self._note(
                f"float16: {total} gradient values that passed through it are zero, in {_named(half)}; some may have "
                "vanished on the way (compare with --loss-scale 1024)"
            )
        if self._store.sparse and not any(isinstance(sink, SumSink) and sink.is_table for sink in sinks):
            self._note("--sparse: no table is looked up here, so every gradient is stored whole")
        overflowed = sum(sink.overflowed for sink in [*sinks, *self._weights.values()])
        if overflowed:
            self._note(f"{overflowed} finite values are too large for --dtype {self._store.store.dtype}")
        for address, size in self.summed_lookups.items():
            self._note(
                f"the optimizer got the rows of {address} as sums, one for each id, not one by one as in fit: all of "
                f"them take {show_bytes(size)} (raise --memory, which is for one batch too)"
            )
        for address, reason in late.items():
            self._note(f"not captured: {address} ({reason})")


def _named(sinks: Sequence[Sink]) -> str:
    names = list(dict.fromkeys(sink.info.address for sink in sinks))
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _aliases(target: "Target") -> dict[str, Any]:
    return {"aliases": json.dumps(list(target.aliases))} if target.aliases else {}


class _Nowhere:
    """Takes what a descent needs and nobody wants to see."""

    def append(self, value: Any) -> None:
        """Forget it."""

    def finish(self) -> Any:
        """Never called."""
        raise AssertionError("nothing was to be stored")


def _nothing(info: TensorInfo, value: Value, axis0: str) -> Any:
    return _Nowhere()
