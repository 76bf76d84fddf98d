"""What was asked for of gradients: of what, with respect to what, and how much of them is stored."""

from dataclasses import dataclass, field

from tfdump.address import Selection
from tfdump.errors import ModelError
from tfdump.inputs.source import ReadingOptions
from tfdump.run.gradients.store import GradientStore
from tfdump.run.options import RunOptions

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
    checksums: bool = False
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    run: RunOptions = field(default_factory=RunOptions)
    store: GradientStore = field(default_factory=GradientStore)

    def check(self, resume: bool = False) -> None:
        """Raise ModelError for options that exclude each other."""
        if resume and self.steps is not None:
            raise ModelError("--resume and --steps exclude each other (a descent is not kept; take fewer steps)")
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
