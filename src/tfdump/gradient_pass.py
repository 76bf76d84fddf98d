"""From a gradient probe, a source and a plan to a dump: one pass over the batches a step."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfdump.dump import layout
from tfdump.dump.writer import DumpWriter
from tfdump.example_axis import BATCH, EXAMPLE, NONE
from tfdump.gradient_planning import GradientPlan
from tfdump.gradient_sinks import GradientStore, RowsSink, SumSink
from tfdump.inputs.source import Source, padded
from tfdump.interrupts import raise_waiting
from tfdump.pipeline import Progress, Worker
from tfdump.tensors import NotCaptured, Note, TensorInfo, Value

if TYPE_CHECKING:
    from tfdump.model.descent import Descent, Regularization
    from tfdump.model.gradient import GradientProbe, Gradients
    from tfdump.model.gradient_sources import Target
    from tfdump.model.per_example import PerExampleProbe

Sink = RowsSink | SumSink


@dataclass(frozen=True)
class Loss:
    """The value of what was differentiated: a scalar, one a step, or one an example; float64."""

    values: npt.NDArray[np.float64]
    regularization: float | None
    dtype: str


class GradientDump:
    """The sinks of one dump of gradients, and what is linked when they are full."""

    def __init__(
        self,
        probe: "Gradients",
        source: Source,
        plan: GradientPlan,
        store: GradientStore,
        steps: int | None,
        writer: DumpWriter,
        note: Note,
    ) -> None:
        self._probe = probe
        self._source = source
        self._plan = plan
        self._store = store
        self._steps = steps
        self._writer = writer
        self._note = note
        axes = {(tensor.group, tensor.info.address): tensor.axis0 for tensor in plan.tensors}
        self.sinks = [self._sink(target, axes.get(target.key)) for target in probe.targets]

    def _sink(self, target: "Target", axis0: str | None) -> Sink:
        if axis0 in (EXAMPLE, BATCH):
            return RowsSink(target.group, target.info, axis0, self._store, self._open, target.half)
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
        sums = np.zeros(len(probe.terms) + 1)
        worker = Worker(self.sinks, self._writer.check)
        examples = self._source.examples
        try:
            for start, stop in self._plan.batches:
                raise_waiting()
                if worker.failed:
                    break
                found = self._plan.take_first() if start == 0 else None
                if found is None:
                    batch = self._source.read(start, stop)
                    fixed = self._plan.fixed
                    found = probe.run(padded(batch, fixed) if fixed else batch, self._plan.divisors, stop - start)
                sums += [*found.sums, found.added]
                worker.give(found.values, stop - start)
                del found
                progress(step * examples + stop, (self._steps or 1) * examples)
            worker.finish()
        except BaseException:
            worker.stop()
            raise
        return sums

    def run_examples(self, probe: "PerExampleProbe", progress: Progress) -> npt.NDArray[np.float64]:
        """Run every batch of a per-example probe; return the loss of each example."""
        losses = []
        worker = Worker(self.sinks, self._writer.check)
        try:
            for start, stop in self._plan.batches:
                raise_waiting()
                if worker.failed:
                    break
                found, values = probe.run(self._source.read(start, stop))
                losses.append(np.array(found))
                worker.give(values, stop - start)
                del values
                progress(stop, self._source.examples)
            worker.finish()
        except BaseException:
            worker.stop()
            raise
        return np.concatenate(losses)

    def keep_weights(self, kept: dict[str, Any]) -> None:
        """Store the selected weights as they are before a step; `kept` has their collectors by address."""
        for target in self._probe.targets:
            if target.weight is None or not target.selected:
                continue
            value = np.asarray(target.weight.value.numpy())
            if target.info.address not in kept:
                kept[target.info.address] = self._open(target.info, value, NONE)
            kept[target.info.address].append(value)

    def end_step(self) -> None:
        """Close the sums of one step."""
        for sink in self.sinks:
            sink.end_step()

    def link(self, loss: Loss, weights: Mapping[str, Any], root: Mapping[str, Any], config: str | None) -> None:
        """Give everything its name: the gradients, the loss, `weights` by address, and the attributes of the root."""
        missing = list(self._probe.not_captured)
        chosen = [(t, s) for t, s in zip(self._probe.targets, self.sinks, strict=True) if t.selected]
        late = dict.fromkeys(sorted(self._probe.late), "not connected with the loss in the first batch")
        for target, sink in chosen:
            collector, extra = sink.finish()
            if collector is None:
                late[target.info.address] = "not connected with the loss in any batch"
                continue
            self._writer.link(target.group, target.info, collector, extra | _aliases(target))
        for target in self._probe.unconnected:
            if target.selected:
                self._writer.unconnected(target.group, target.info, _aliases(target))
        for address, collector in weights.items():
            target = next(target for target, _ in chosen if target.info.address == address)
            self._writer.link(layout.WEIGHTS, target.info, collector, _aliases(target))
        attributes: dict[str, Any] = {"dtype": loss.dtype}
        if loss.regularization is not None:
            attributes["regularization"] = np.float64(loss.regularization)
        attributes["axis0"] = "step" if self._steps else EXAMPLE if loss.values.ndim else NONE
        self._writer.loss(loss.values, attributes)
        self._tell(loss, [sink for _, sink in chosen], late)
        missing += [NotCaptured(address, reason) for address, reason in late.items()]
        described = dict(root) | {
            "batch_size": np.int64(self._plan.fixed or min(self._plan.batches.size, self._source.examples)),
            "examples": np.int64(self._source.examples),
        }
        if self._plan.depends_on_batch:
            described[layout.DEPENDS_ON_BATCH] = json.dumps(self._plan.depends_on_batch)
        norms = [sink.norm for target, sink in chosen if target.weight is not None and isinstance(sink, SumSink)]
        if norms and not self._steps:
            described["gradient_norm"] = np.float64(np.sqrt(np.sum(np.square([norm or 0.0 for norm in norms]))))
        self._writer.describe(described, config, tuple(missing))
        raise_waiting()

    def _tell(self, loss: Loss, sinks: Sequence[Sink], late: Mapping[str, str]) -> None:
        """Say what the numbers need to be read: NaN, zeros of float16, values that overflowed, what is missing."""
        if not np.isfinite(loss.values).all():
            bad = np.flatnonzero(~np.isfinite(loss.values.reshape(-1)))
            where = f", first at {'step' if self._steps else 'example'} {bad[0]}" if loss.values.ndim else ""
            self._note(f"the loss is not finite ({loss.values.reshape(-1)[bad[0]]}{where}), nor are its gradients")
        half = [sink for sink in sinks if sink.zeros]
        if half:
            total = sum(sink.zeros for sink in half)
            named = ", ".join(sink.info.address for sink in half[:8]) + (", ..." if len(half) > 8 else "")
            self._note(
                f"float16: {total} gradient values that passed through it are zero, in {named}; some may have "
                "vanished on the way (compare with --loss-scale 1024)"
            )
        if self._store.sparse and not any(isinstance(sink, SumSink) and sink.is_table for sink in sinks):
            self._note("--sparse: no table is looked up here, so every gradient is stored whole")
        overflowed = sum(sink.overflowed for sink in sinks)
        if overflowed:
            self._note(f"{overflowed} finite values are too large for --dtype {self._store.store.dtype}")
        for address, reason in late.items():
            self._note(f"not captured: {address} ({reason})")


def write_gradients(
    dump: GradientDump,
    probe: "GradientProbe",
    plan: GradientPlan,
    regularization: "Regularization | None",
    descent: "Descent | None",
    steps: int | None,
    save_weights: bool,
    progress: Progress,
) -> tuple[Loss, dict[str, Any]]:
    """Run all steps; return the loss, and the collectors of the weights at each step by address."""
    weights = [target for target in probe.targets if target.weight is not None]
    sums = [sink for target, sink in zip(probe.targets, dump.sinks, strict=True) if target.weight is not None]
    kept: dict[str, Any] = {}
    losses = []
    own = None
    with closing(descent) if descent is not None else nullcontext():
        for step in range(steps or 1):
            if save_weights:
                dump.keep_weights(kept)
            found = dump.run_batches(probe, progress, step)
            with np.errstate(divide="ignore", invalid="ignore"):
                divisors = np.ones(len(probe.terms)) if plan.divisors is None else plan.divisors
                means = np.where(divisors == 0, 0.0, found[:-1] / divisors)
            loss = float(np.dot(means, [term.weight for term in probe.terms]) + found[-1])
            if regularization is not None:
                own, gradients = regularization.run([target.weight for target in weights])
                loss += own
                for sink, gradient in zip(sums, gradients, strict=True):
                    if gradient is not None:
                        sink.add(gradient, 0)
            dump.end_step()
            losses.append(loss)
            if descent is not None:
                descent.apply([sink.gradient for sink in sums if isinstance(sink, SumSink)])
    dtype = probe.terms[0].dtype if probe.terms else "float32"
    values = np.array(losses if steps else losses[0], np.float64)
    return Loss(values, own if not steps else None, dtype), kept


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
