"""The gradients of a model over its inputs and targets: planned, and written to a dump."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dump import layout
from tfdump.dump.axis0 import BATCH, NONE, STEP
from tfdump.dump.journal import Journal
from tfdump.dump.writer import DumpWriter
from tfdump.errors import ModelError
from tfdump.files.limits import allowed
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.source import Source
from tfdump.inputs.targets import Argument
from tfdump.process.stages import Progress, Stage, silent_stage
from tfdump.run.gradients.findings import tell_unconnected
from tfdump.run.gradients.options import GradientOptions
from tfdump.run.gradients.plan import GradientPlan, plan_gradients, plan_per_example
from tfdump.run.gradients.source import supervised_source
from tfdump.run.gradients.steps import AllExamples, EachExample, Passes
from tfdump.run.gradients.write import GradientDump, Loss
from tfdump.run.not_captured import tell_not_captured
from tfdump.run.pixel_ranges import tell_pixel_ranges
from tfdump.run.planned import PlannedRun
from tfdump.run.sinks import stored_size
from tfdump.tensors import InputSpec, Note, PlannedTensor

if TYPE_CHECKING:
    from tfdump.model.gradients.per_example import PerExampleProbe
    from tfdump.model.gradients.probe import GradientProbe
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.losses.scalar import Scalar


@dataclass(kw_only=True)
class GradientRun(PlannedRun[GradientOptions, Loss]):
    """A model with its inputs and targets, looked at and ready to be dumped."""

    kind = layout.GRADIENTS

    passes: Passes
    plan: GradientPlan
    scalar: "Scalar"

    @property
    def planned(self) -> list[PlannedTensor]:
        """Every tensor that the dump will hold, the weights at each step included."""
        if self.options.steps is None:
            return self.plan.tensors
        tensors = [*self.plan.tensors, *self._step_weights]
        return [tensor if tensor.axis0 == BATCH else replace(tensor, axis0=STEP) for tensor in tensors]

    @property
    def _step_weights(self) -> list[PlannedTensor]:
        """The weights before each step, where they are stored."""
        steps = self.options.steps
        if steps is None or not steps.save_weights:
            return []
        weights = [target for target in self.passes.probe.targets if target.weight is not None and target.selected]
        return [
            PlannedTensor(layout.WEIGHTS, target.info, NONE, (steps.count, *(target.info.shape or ())), size)
            for target in weights
            for size in [steps.count * stored_size(target.info, self.options.store.tensors)]
        ]

    @property
    def batch_size(self) -> int:
        """The number of examples that a call has."""
        return self.plan.batch_size

    @property
    def chunked(self) -> int:
        """The number of tensors that are stored in chunks: not the sums over the examples."""
        return sum(tensor.axis0 != NONE for tensor in self.plan.tensors)

    @property
    def filling(self) -> int:
        """The number of tensors among which the memory for unfinished chunks is divided: all of them."""
        return len(self.planned)

    @property
    def journal_bytes(self) -> int:
        """About how many bytes a journal of all batches will take: a sum is written once per batch."""
        batches = len(self.plan.batches)
        return sum(tensor.bytes * (batches if tensor.axis0 == NONE else 1) for tensor in self.planned)

    def _attributes(self) -> dict[str, Any]:
        from tfdump.model.gradients.descent import keras_optimizer_name

        options = self.options
        attributes: dict[str, Any] = {
            "loss": self.scalar.description,
            "reduction": self.scalar.reduction,
            "wrt": json.dumps(list(options.wrt)),
            "per_example": options.per_example,
        }
        if options.loss_scale != 1:
            attributes["loss_scale"] = np.float64(options.loss_scale)
        if options.steps is not None:
            attributes |= {
                "steps": np.int64(options.steps.count),
                "optimizer": keras_optimizer_name(options.steps.optimizer),
                "learning_rate": np.float64(options.steps.learning_rate),
            }
        return attributes

    def _fill(self, writer: DumpWriter, root: Mapping[str, Any], progress: Progress, journal: Journal | None) -> Loss:
        """Write the dump; return the loss."""
        steps = self.options.steps.count if self.options.steps is not None else None
        probe, store = self.passes.probe, self.options.store
        dump = GradientDump(probe, self.source, self.plan, store, steps, writer, self.note, journal)
        loss = self.passes.write(dump, progress)
        dump.link(loss, root, self.loaded.config, self.loaded.not_loaded)
        return loss


@dataclass
class OpenedGradients:
    """A model, its inputs and targets, opened: the probe is traced, and any number of runs can be planned with it.

    `fixed` is the batch size that the model requires, or None.
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
        tell_not_captured(self.loaded.not_loaded, self.note)
        plan = self._planned(stage)
        tell_unconnected(self.probe, self.note)
        return self.run_of(plan)

    def run_of(self, plan: GradientPlan) -> GradientRun:
        """Return the run of a plan."""
        passes = self._passes(plan)
        return GradientRun(
            loaded=self.loaded,
            source=self.source,
            probe=passes.probe,
            options=self.options,
            note=self.note,
            passes=passes,
            plan=plan,
            scalar=self.scalar,
        )

    def _planned(self, stage: Stage) -> GradientPlan:
        from tfdump.model.gradients.probe import GradientProbe

        options, source, probe = self.options, self.source, self.probe
        if not isinstance(probe, GradientProbe):
            return plan_per_example(probe, source, options.run, options.store)
        steps = options.steps.count if options.steps is not None else None
        return plan_gradients(probe, source, self.fixed, options.run, options.store, steps, self.note, stage)

    def _passes(self, plan: GradientPlan) -> Passes:
        from tfdump.model.gradients.descent import Descent, Regularization
        from tfdump.model.gradients.probe import GradientProbe

        options, probe = self.options, self.probe
        if not isinstance(probe, GradientProbe):
            left_out = Regularization(self.loaded.model).loss if self.scalar.regularized else None
            if left_out is not None:
                self.note(
                    f"--per-example leaves the regularization ({left_out:.4g}) out of the losses and gradients, "
                    "because it belongs to the weights and not to an example"
                )
            return EachExample(probe, left_out)
        steps, descent, save_weights = None, None, False
        if options.steps is not None:
            steps, save_weights = options.steps.count, options.steps.save_weights
            descent = partial(Descent, options.steps.optimizer, options.steps.learning_rate)
        regularization = Regularization(self.loaded.model) if self.scalar.regularized else None
        return AllExamples(probe, plan, regularization, steps, descent, save_weights, options.run.memory)


def probe_gradients(
    loaded: "LoadedModel",
    arguments: Sequence[Argument],
    targets: Sequence[InputArray] | None,
    weights: Sequence[InputArray],
    options: GradientOptions,
    note: Note,
) -> OpenedGradients:
    """Open a model, its inputs and targets. Closing the probe leaves the model as it was before.

    Without `targets`, the last of `arguments` has the targets where the loss needs them. Raises InputError where files
    do not fit, SelectionError where a pattern matches nothing, and ModelError where there is nothing to
    differentiate.
    """
    from tfdump.model.runnable import check_gradients

    options.check()
    check_gradients(loaded.model, loaded.name)  # the modules below import TensorFlow, without which some formats run
    from tfdump.model.gradients.descent import changes_statistics, make_optimizer
    from tfdump.model.gradients.differentiation import Differentiation
    from tfdump.model.gradients.per_example import PerExampleProbe
    from tfdump.model.gradients.probe import GradientProbe
    from tfdump.model.gradients.saved_model_layer import differentiable_model
    from tfdump.model.gradients.wrt import GradientRequest
    from tfdump.model.losses.compiled import scalar_of
    from tfdump.model.losses.scalar import LossChoice

    loaded = differentiable_model(loaded, options.wrt, options.run.training, options.eager)
    if options.steps is not None:
        make_optimizer(options.steps.optimizer, options.steps.learning_rate)
    model = loaded.model
    choice = LossChoice(options.losses, options.objective, options.from_logits, options.reduction)
    scalar = scalar_of(loaded, choice)
    if options.per_example and options.run.training and (name := changes_statistics(model)) is not None:
        raise ModelError(
            f"--per-example with --training: '{name}' normalizes with the statistics of its batch (leave one of the "
            "options out)"
        )
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
        ops=options.ops,
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
    targets: Sequence[InputArray] | None,
    weights: Sequence[InputArray],
    options: GradientOptions,
    note: Note,
    stage: Stage = silent_stage,
) -> Iterator[GradientRun]:
    """Open a model, its inputs and targets, and plan the run. At the end, the model is as it was before.

    `stage` is called with the name of each stage, which can take minutes. Raises the errors of `probe_gradients`, and
    ModelError where the model fails on the inputs.
    """
    with allowed(loaded.max_bytes):
        stage("Tracing the model")
        opened = probe_gradients(loaded, arguments, targets, weights, options, note)
        tell_pixel_ranges(loaded, opened.source, note)
        with opened.probe:
            stage("Looking at the first batches")
            yield opened.plan(stage)
