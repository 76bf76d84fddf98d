"""The options of a gradient run: of what, with respect to what, and how much of the gradients is stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tfdump.address import Selection
from tfdump.argument_kinds import flag, one_of, positive_number, text, texts, whole_number
from tfdump.dump.compression import COMPRESSIONS
from tfdump.errors import ModelError, TfdumpError
from tfdump.inputs.source import ReadingOptions
from tfdump.run.gradients.store import GradientStore
from tfdump.run.options import DumpOptions, RunOptions, seed_number, store_options

WRT = ("weights", "activations", "inputs")
"""What gradients can be taken with respect to."""

DEFAULT_OPTIMIZER = "SGD"


@dataclass(frozen=True)
class Steps:
    """Gradient descent: how many steps, with which optimizer, and whether the weights are stored at each of them."""

    count: int
    learning_rate: float
    optimizer: str = DEFAULT_OPTIMIZER
    save_weights: bool = False


@dataclass(frozen=True, kw_only=True)
class GradientOptions(DumpOptions):
    """Everything that decides which gradients are computed, of what, and what is stored of them.

    `losses` are names of losses (`NAME`, `OUTPUT=NAME` or `compiled`). Without them and without `objective`, the loss
    is the compiled one. `ops` adds the operations inside layers to the activations. `reduction` None is the default:
    `mean` for losses, `sum` for objectives.
    """

    wrt: tuple[str, ...] = ("weights",)
    losses: tuple[str, ...] = ()
    objective: str | None = None
    from_logits: bool = False
    reduction: str | None = None
    per_example: bool = False
    ops: bool = False
    steps: Steps | None = None
    loss_scale: float = 1.0
    store: GradientStore = field(default_factory=GradientStore)

    @property
    def stores_values(self) -> bool:
        """Whether values are stored, and not statistics alone."""
        return self.store.tensors.values

    def check(self, resume: bool = False) -> None:
        """Raise ModelError for options that exclude each other."""
        store = self.store
        if resume and self.steps is not None:
            raise ModelError("--resume and --steps exclude each other (leave --resume out, or take fewer steps)")
        unknown = [name for name in self.wrt if name not in WRT]
        if unknown or not self.wrt:
            raise ModelError(f"wrt {unknown or 'nothing'}: choose from {', '.join(WRT)}")
        has_steps = self.steps is not None
        for pair, both, why in (
            ("--per-example and --steps", self.per_example and has_steps, "a step needs the gradient of all examples"),
            ("--sparse and --per-example", store.sparse and self.per_example, "--sparse stores sums over the examples"),
            ("--sparse and --steps", store.sparse and has_steps, "--sparse stores one gradient, not one per step"),
            ("--norms-only and --sparse", store.norms_only and store.sparse, "a norm has no rows"),
        ):
            if both:
                raise ModelError(f"{pair} exclude each other, because {why} (leave one of them out)")
        if self.ops and "activations" not in self.wrt:
            raise ModelError("--ops adds operations to the gradients of activations (add --wrt activations)")
        if store.sparse and "weights" not in self.wrt:
            raise ModelError("--sparse is for the gradients of tables, which are weights (add --wrt weights)")
        if not store.tensors.values and (store.norms_only or store.sparse):
            option = "--norms-only" if store.norms_only else "--sparse"
            raise ModelError(f"{option} needs values, and --stats-only stores none (leave one of the options out)")
        store.tensors.check(self.compression)
        if self.steps is not None and "weights" not in self.wrt:
            raise ModelError("--steps needs --wrt weights (other kinds can be added to it)")


def gradient_options(
    selection: Selection,
    run: RunOptions,
    *,
    reading: ReadingOptions | None = None,
    wrt: Any = ("weights",),
    losses: Sequence[str] = (),
    objective: Any = None,
    from_logits: Any = False,
    reduction: Any = None,
    per_example: Any = False,
    ops: Any = False,
    norms_only: Any = False,
    sparse: Any = False,
    steps: Steps | None = None,
    loss_scale: Any = 1.0,
    seed: Any = 0,
    eager: Any = False,
    dtype: Any = None,
    compression: Any = "none",
    checksums: Any = False,
    stats: Any = False,
    stats_only: Any = False,
) -> GradientOptions:
    """Return the options of a gradient run; raises TfdumpError for an argument that is not valid.

    The arguments are those of the command line and of `tfdump.gradients`. Which of them exclude each other,
    `GradientOptions.check` tells.
    """
    return GradientOptions(
        selection=selection,
        wrt=tuple(dict.fromkeys(texts("wrt", wrt, "weights"))),
        losses=tuple(losses),
        objective=text("objective", objective, "sum"),
        from_logits=flag("from_logits", from_logits),
        reduction=one_of("reduction", reduction, ("mean", "sum")),
        per_example=flag("per_example", per_example),
        ops=flag("ops", ops),
        steps=steps,
        loss_scale=positive_number("loss_scale", loss_scale),
        seed=seed_number(seed),
        eager=flag("eager", eager),
        compression=one_of("compression", compression, COMPRESSIONS) or "none",
        checksums=flag("checksums", checksums),
        reading=reading or ReadingOptions(),
        run=run,
        store=GradientStore(
            store_options(None, dtype, stats, stats_only),
            norms_only=flag("norms_only", norms_only),
            sparse=flag("sparse", sparse),
        ),
    )


def descent_steps(
    count: Any, learning_rate: Any, optimizer: str | None, save_weights: Any, as_options: bool = False
) -> Steps | None:
    """Return the gradient descent of these arguments, None without a `count` of steps.

    `optimizer` None is the default one. `as_options` spells the arguments as on the command line in errors. Raises
    TfdumpError for an argument that is not valid, and where only a part of a descent is given.
    """

    def spelled(name: str) -> str:
        return f"--{name.replace('_', '-')}" if as_options else name

    weights = flag("save_weights", save_weights)
    number = whole_number("steps", count)
    if number is None:
        parts = {
            "learning_rate": learning_rate is not None,
            "optimizer": optimizer is not None,
            "save_weights": weights,
        }
        for name in [name for name, is_set in parts.items() if is_set]:
            raise TfdumpError(f"{spelled(name)} is for a gradient descent (add {spelled('steps')})")
        return None
    if learning_rate is None:
        raise TfdumpError(f"{spelled('steps')} needs {spelled('learning_rate')} (for example 0.01)")
    rate = positive_number(spelled("learning_rate"), learning_rate)
    return Steps(number, rate, DEFAULT_OPTIMIZER if optimizer is None else optimizer, weights)
