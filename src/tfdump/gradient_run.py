"""The gradients of a model over its inputs and targets: planned, and written to a dump."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfdump.address import Selection
from tfdump.dump import layout
from tfdump.dump.writer import DumpWriter
from tfdump.errors import ModelError
from tfdump.example_axis import BATCH, NONE
from tfdump.gradient_pass import GradientDump, Loss
from tfdump.gradient_planning import GradientPlan, plan_gradients, plan_per_example
from tfdump.gradient_sinks import GradientStore
from tfdump.gradient_steps import AllExamples, EachExample, Passes
from tfdump.inputs.arguments import Given
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.inputs.targets import Argument
from tfdump.limits import allowed
from tfdump.pipeline import Progress
from tfdump.planning import Planned, RunOptions
from tfdump.sinks import stored_size
from tfdump.supervised_source import supervised_source
from tfdump.tensors import InputSpec, NotCaptured, Note
from tfdump.writing import open_writer, overhead_bytes, provenance, tell_not_captured

if TYPE_CHECKING:
    from tfdump.model.gradient import Gradients
    from tfdump.model.load import LoadedModel
    from tfdump.model.losses import Scalar

WRT = ("weights", "activations", "inputs")
"""With respect to what gradients can be had."""


@dataclass(frozen=True)
class Steps:
    """Gradient descent: how many steps, of what optimizer, and whether the weights are stored at each of them."""

    count: int
    learning_rate: float
    optimizer: str = "SGD"
    save_weights: bool = False


@dataclass(frozen=True)
class GradientOptions:
    """Everything that decides which gradients are computed, of what, and what is stored of them.

    `losses` are names of losses (`NAME`, `OUTPUT=NAME` or `compiled`); with none of them and no `objective` it is the
    compiled one. `reduction` None is the default: `mean` for losses, `sum` for objectives.
    """

    selection: Selection = field(default_factory=Selection)
    wrt: tuple[str, ...] = ("weights",)
    losses: tuple[str, ...] = ()
    objective: str | None = None
    from_logits: bool = False
    reduction: str | None = None
    per_example: bool = False
    steps: Steps | None = None
    loss_scale: float = 1.0
    seed: int = 0
    eager: bool = False
    compression: str = "none"
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    run: RunOptions = field(default_factory=RunOptions)
    store: GradientStore = field(default_factory=GradientStore)

    def check(self) -> None:
        """Raise ModelError for options that exclude each other."""
        unknown = [name for name in self.wrt if name not in WRT]
        if unknown or not self.wrt:
            raise ModelError(f"wrt {unknown or 'nothing'}: choose of {', '.join(WRT)}")
        if self.per_example and self.steps is not None:
            raise ModelError("--per-example and --steps exclude each other (a step needs the gradient of all examples)")
        if self.per_example and self.store.sparse:
            raise ModelError("--sparse keeps sums over examples, not --per-example")
        if self.steps is not None and self.store.sparse:
            raise ModelError("--sparse keeps one gradient, not one for each of --steps")
        if self.store.norms_only and self.store.sparse:
            raise ModelError("--norms-only and --sparse exclude each other")
        if self.store.sparse and "weights" not in self.wrt:
            raise ModelError("--sparse is about the gradients of tables, which are weights (add --wrt weights)")
        if not self.store.store.values and (self.store.norms_only or self.store.sparse):
            name = "--norms-only" if self.store.norms_only else "--sparse"
            raise ModelError(
                f"{name} says which values are stored, and --stats-only stores none (leave one of them out)"
            )
        self.store.store.check(self.compression)
        if self.steps is not None and "weights" not in self.wrt:
            raise ModelError("--steps needs --wrt weights (other kinds may be given beside it)")


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

    def open_writer(self, path: Path | None, force: bool) -> DumpWriter:
        """Return the writer of the dump; None makes it in memory."""
        return open_writer(path, force, self.options.compression, self.options.run.memory, len(self.planned))

    @property
    def not_captured(self) -> tuple[NotCaptured, ...]:
        """What cannot be differentiated and will not be in the dump."""
        return self.passes.probe.not_captured

    def write(self, writer: DumpWriter, command: str, progress: Progress = lambda done, total: None) -> Loss:
        """Run the model over all examples and write the dump; the caller closes the writer. Returns the loss."""
        from tfdump.model.descent import optimizer_name

        options = self.options
        steps = options.steps.count if options.steps is not None else None
        dump = GradientDump(self.passes.probe, self.source, self.plan, options.store, steps, writer, self.note)
        loss = self.passes.write(dump, progress)
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
                "optimizer": optimizer_name(options.steps.optimizer),
                "learning_rate": np.float64(options.steps.learning_rate),
            }
        dump.link(loss, root, self.loaded.config)
        return loss


@contextmanager
def open_gradients(
    loaded: "LoadedModel",
    arguments: Sequence[Argument],
    targets: Sequence[Given] | None,
    weights: Sequence[Given],
    options: GradientOptions,
    note: Note,
) -> Iterator[GradientRun]:
    """Open a model, its inputs and targets, and plan the run; the model is left as it was at the end.

    Without `targets`, where the loss needs them, the last of `arguments` is taken for them. Raises InputError where
    files do not fit, SelectionError where a pattern matches nothing, and ModelError where there is nothing to
    differentiate or the model fails.
    """
    with allowed(loaded.max_bytes), _opened(loaded, arguments, targets, weights, options, note) as run:
        yield run


@contextmanager
def _opened(
    loaded: "LoadedModel",
    arguments: Sequence[Argument],
    targets: Sequence[Given] | None,
    weights: Sequence[Given],
    options: GradientOptions,
    note: Note,
) -> Iterator[GradientRun]:
    """Do what `open_gradients` says."""
    from tfdump.model.compiled import chosen_scalar
    from tfdump.model.descent import Descent, Regularization, changes_statistics, make_optimizer
    from tfdump.model.differentiation import Differentiation
    from tfdump.model.gradient import GradientProbe
    from tfdump.model.gradient_sources import GradientRequest
    from tfdump.model.losses import LossChoice
    from tfdump.model.signature_layer import differentiable

    options.check()
    loaded = differentiable(loaded, options.wrt, options.run.training, options.eager)
    if options.steps is not None:
        make_optimizer(options.steps.optimizer, options.steps.learning_rate)
    model = loaded.model
    choice = LossChoice(options.losses, options.objective, options.from_logits, options.reduction)
    scalar = chosen_scalar(loaded, choice)
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
    specs = [InputSpec(c.name, (signature.batch_size, *c.shape[1:]), c.dtype) for c in source.columns]
    fixed = signature.batch_size
    if options.per_example:
        from tfdump.model.per_example import PerExampleProbe

        with PerExampleProbe(pass_over, specs, fixed, note) as each:
            plan = plan_per_example(each, source, options.run, options.store)
            _tell(each, note)
            yield GradientRun(loaded, source, EachExample(each), plan, scalar, options, note)
        return
    steps, descent, save_weights = None, None, False
    if (chosen := options.steps) is not None:
        steps, save_weights = chosen.count, chosen.save_weights
        descent = partial(Descent, chosen.optimizer, chosen.learning_rate)
    with GradientProbe(pass_over, specs, fixed, note) as probe:
        plan = plan_gradients(probe, source, fixed, options.run, options.store, steps, note)
        _tell(probe, note)
        regularization = Regularization(model) if scalar.regularised else None
        passes = AllExamples(probe, plan, regularization, steps, descent, save_weights)
        yield GradientRun(loaded, source, passes, plan, scalar, options, note)


def _tell(probe: "Gradients", note: Note) -> None:
    """Say what has no gradient."""
    tell_not_captured(probe.not_captured, note)
    behind = probe.behind_logits
    keys = {target.key for target in behind}
    other = [target for target in probe.unconnected if target.selected and target.key not in keys]
    for unconnected, why in (
        (other, ""),
        (behind, " (Keras computes the crossentropy from the logits behind this softmax or sigmoid)"),
    ):
        if unconnected:
            addresses = ", ".join(target.info.address for target in unconnected)
            note(f"not connected with the loss, so without a gradient: {addresses}{why}")
