"""The gradients of a model over its inputs and targets: planned, and written to a dump."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dump import layout
from tfdump.dump.axis0 import BATCH, NONE
from tfdump.dump.journal import Journal
from tfdump.dump.writer import DumpWriter
from tfdump.errors import ModelError
from tfdump.files.limits import allowed
from tfdump.inputs.arguments import Given
from tfdump.inputs.source import Source
from tfdump.inputs.targets import Argument
from tfdump.process.stages import Progress, Stage, silent_progress, silent_stage
from tfdump.run.gradients.findings import tell_unconnected
from tfdump.run.gradients.options import GradientOptions
from tfdump.run.gradients.plan import GradientPlan, plan_gradients, plan_per_example
from tfdump.run.gradients.source import supervised_source
from tfdump.run.gradients.steps import AllExamples, EachExample, Passes
from tfdump.run.gradients.write import GradientDump, Loss
from tfdump.run.output import open_writer, overhead_bytes, provenance, tell_not_captured
from tfdump.run.planned import Planned
from tfdump.run.resume import begin
from tfdump.run.sinks import stored_size
from tfdump.tensors import InputSpec, NotCaptured, Note

if TYPE_CHECKING:
    from tfdump.model.gradients.per_example import PerExampleProbe
    from tfdump.model.gradients.probe import GradientProbe
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.losses.scalar import Scalar


@dataclass
class GradientRun:
    """A model with its inputs and targets, looked at and ready to be dumped."""

    loaded: "LoadedModel"
    source: Source
    passes: Passes
    plan: GradientPlan
    scalar: "Scalar"
    options: GradientOptions
    note: Note

    @property
    def planned(self) -> list[Planned]:
        """Every tensor that the dump will hold, the weights at each step included."""
        if self.options.steps is None:
            return self.plan.tensors
        return [t if t.axis0 == BATCH else replace(t, axis0="step") for t in [*self.plan.tensors, *self._kept]]

    @property
    def _kept(self) -> list[Planned]:
        """The weights before each step, where they are stored."""
        steps = self.options.steps
        if steps is None or not steps.save_weights:
            return []
        weights = [target for target in self.passes.probe.targets if target.weight is not None and target.selected]
        return [
            Planned(layout.WEIGHTS, target.info, NONE, (steps.count, *(target.info.shape or ())), size)
            for target in weights
            for size in [steps.count * stored_size(target.info, self.options.store.store)]
        ]

    @property
    def value_bytes(self) -> int:
        """About how many bytes the values will take without compression."""
        return sum(tensor.bytes for tensor in self.planned)

    @property
    def file_bytes(self) -> int:
        """About how many bytes the file will take without compression."""
        rows = sum(tensor.axis0 != NONE for tensor in self.plan.tensors)
        return self.value_bytes + overhead_bytes(rows, self.loaded.config, len(self.planned) - rows)

    def open_writer(self, path: Path | None, force: bool, alone: bool = False) -> DumpWriter:
        """Return the writer of the dump; None makes it in memory. `alone`: no other run can write the same one."""
        options = self.options
        count = len(self.planned)
        return open_writer(path, force, options.compression, options.run.memory, count, options.checksums, alone)

    @property
    def not_captured(self) -> tuple[NotCaptured, ...]:
        """What cannot be differentiated and will not be in the dump."""
        return (*self.loaded.not_loaded, *self.passes.probe.not_captured)

    @property
    def kept_bytes(self) -> int:
        """About how many bytes a journal of all batches will take: of a sum, every batch adds one."""
        batches = len(self.plan.batches)
        return sum(tensor.bytes * (batches if tensor.axis0 == NONE else 1) for tensor in self.planned)

    def write(
        self,
        writer: DumpWriter,
        command: str,
        progress: Progress = silent_progress,
        journal: Journal | None = None,
        further: Mapping[str, Any] | None = None,
    ) -> Loss:
        """Run the model over all examples and write the dump; the caller closes the writer. Returns the loss.

        A `journal` gives the batches that an interrupted run left, and keeps the others. `further` are more
        attributes of the root. Raises DumpError where the journal is that of another run.
        """
        from tfdump.model.gradients.descent import keras_optimizer_name

        options = self.options
        steps = options.steps.count if options.steps is not None else None
        values = options.store.store.values
        root = provenance(layout.GRADIENTS, self.loaded, self.source, options.run, options.seed, values, command) | {
            "loss": self.scalar.description,
            "reduction": self.scalar.reduction,
            "wrt": json.dumps(list(options.wrt)),
            "per_example": options.per_example,
        }
        if options.loss_scale != 1:
            root["loss_scale"] = np.float64(options.loss_scale)
        if options.steps is not None:
            root |= {
                "steps": np.int64(options.steps.count),
                "optimizer": keras_optimizer_name(options.steps.optimizer),
                "learning_rate": np.float64(options.steps.learning_rate),
            }
        probe, size = self.passes.probe, self.plan.batch_size
        journal = begin(journal, probe, options.run.training, root, self.source, size, self.note)
        dump = GradientDump(probe, self.source, self.plan, options.store, steps, writer, self.note, journal)
        loss = self.passes.write(dump, progress)
        dump.link(loss, root | dict(further or {}), self.loaded.config, self.loaded.not_loaded)
        return loss


@dataclass
class OpenedGradients:
    """A model, its inputs and targets, opened: the probe is traced, and any number of runs can be planned with it.

    `fixed` is the batch size that the model insists on, or None.
    """

    loaded: "LoadedModel"
    source: Source
    probe: "GradientProbe | PerExampleProbe"
    fixed: int | None
    scalar: "Scalar"
    options: GradientOptions
    note: Note

    def plan(self, stage: Stage = silent_stage) -> GradientRun:
        """Look at a few examples, and return the run; raises ModelError where the model fails on them."""
        return GradientRun(self.loaded, self.source, *self._passes(stage), self.scalar, self.options, self.note)

    def _passes(self, stage: Stage) -> tuple[Passes, GradientPlan]:
        from tfdump.model.gradients.descent import Descent, Regularization
        from tfdump.model.gradients.probe import GradientProbe

        options, source, probe = self.options, self.source, self.probe
        tell_not_captured(self.loaded.not_loaded, self.note)
        if not isinstance(probe, GradientProbe):
            plan = plan_per_example(probe, source, options.run, options.store)
            tell_unconnected(probe, self.note)
            left_out = Regularization(self.loaded.model).loss if self.scalar.regularized else None
            if left_out is not None:
                self.note(
                    f"--per-example leaves the regularization ({left_out:.4g}) out of the losses and gradients: it is "
                    "of the weights, and belongs to no example"
                )
            return EachExample(probe, left_out), plan
        steps, descent, save_weights = None, None, False
        if (chosen := options.steps) is not None:
            steps, save_weights = chosen.count, chosen.save_weights
            descent = partial(Descent, chosen.optimizer, chosen.learning_rate)
        plan = plan_gradients(probe, source, self.fixed, options.run, options.store, steps, self.note, stage)
        tell_unconnected(probe, self.note)
        regularization = Regularization(self.loaded.model) if self.scalar.regularized else None
        return AllExamples(probe, plan, regularization, steps, descent, save_weights, options.run.memory), plan


def probe_gradients(
    loaded: "LoadedModel",
    arguments: Sequence[Argument],
    targets: Sequence[Given] | None,
    weights: Sequence[Given],
    options: GradientOptions,
    note: Note,
) -> OpenedGradients:
    """Open a model, its inputs and targets; closing the probe leaves the model as it was.

    Without `targets`, where the loss needs them, the last of `arguments` is taken for them. Raises InputError where
    files do not fit, SelectionError where a pattern matches nothing, and ModelError where there is nothing to
    differentiate.
    """
    from tfdump.model.gradients.descent import changes_statistics, make_optimizer
    from tfdump.model.gradients.differentiation import Differentiation
    from tfdump.model.gradients.per_example import PerExampleProbe
    from tfdump.model.gradients.probe import GradientProbe
    from tfdump.model.gradients.saved_model_layer import differentiable_model
    from tfdump.model.gradients.wrt import GradientRequest
    from tfdump.model.losses.compiled import scalar_of
    from tfdump.model.losses.scalar import LossChoice

    options.check()
    loaded = differentiable_model(loaded, options.wrt, options.run.training, options.eager)
    if options.steps is not None:
        make_optimizer(options.steps.optimizer, options.steps.learning_rate)
    model = loaded.model
    choice = LossChoice(options.losses, options.objective, options.from_logits, options.reduction)
    scalar = scalar_of(loaded, choice)
    if options.per_example and options.run.training and (name := changes_statistics(model)) is not None:
        raise ModelError(f"--per-example with --training: '{name}' normalises with the statistics of its batch")
    source, supervised, signature = supervised_source(
        loaded, scalar, arguments, targets, weights, options.reading, note
    )
    request = GradientRequest(
        options.selection,
        options.wrt,
        options.run.training,
        options.seed,
        options.eager,
        options.loss_scale,
        every_weight=options.steps is not None,
    )
    inputs = [column.name for column in source.columns if column.name in {spec.name for spec in signature.specs}]
    pass_over = Differentiation(model, signature, inputs, scalar, supervised, request)
    fixed = signature.batch_size
    specs = [InputSpec(c.name, (fixed, *c.shape[1:]), c.dtype) for c in source.columns]
    kind = PerExampleProbe if options.per_example else GradientProbe
    return OpenedGradients(loaded, source, kind(pass_over, specs, fixed, note), fixed, scalar, options, note)


@contextmanager
def open_gradients(
    loaded: "LoadedModel",
    arguments: Sequence[Argument],
    targets: Sequence[Given] | None,
    weights: Sequence[Given],
    options: GradientOptions,
    note: Note,
    stage: Stage = silent_stage,
) -> Iterator[GradientRun]:
    """Open as `probe_gradients` does, and plan the run; raises ModelError where the model fails on the inputs too.

    `stage` is called with what goes on, which can take minutes.
    """
    with allowed(loaded.max_bytes):
        stage("Tracing the model")
        opened = probe_gradients(loaded, arguments, targets, weights, options, note)
        with opened.probe:
            stage("Looking at the first batches")
            yield opened.plan(stage)
