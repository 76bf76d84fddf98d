"""The options of a callback: those of activations, or with `wrt` those of gradients."""

from dataclasses import dataclass
from typing import Any

from tfdump.address import Selection
from tfdump.api.arguments import loss_names, refuse_arguments
from tfdump.argument_kinds import flag
from tfdump.captures import Captures
from tfdump.dump.writer import storage_for
from tfdump.run.activations.options import ActivationOptions, activation_options
from tfdump.run.gradients.options import GradientOptions, gradient_options
from tfdump.run.options import RunOptions


@dataclass(frozen=True)
class ActivationArguments:
    """The arguments of a callback that are for activations only."""

    captures: Captures
    outputs: bool | None
    reduce: str | None

    def refuse(self) -> None:
        """Raise TfdumpError where one of them is set."""
        refuse_arguments(
            vars(self.captures) | {"outputs": self.outputs is not None, "reduce": self.reduce is not None},
            "activations, and wrt asks for gradients (leave one out, or use two callbacks)",
        )


@dataclass(frozen=True)
class GradientArguments:
    """The arguments of a callback that are for gradients only; the arrays themselves are not needed here."""

    y: bool
    sample_weight: bool
    loss: Any
    objective: str | None
    from_logits: bool
    norms_only: bool

    def refuse(self) -> None:
        """Raise TfdumpError where one of them is set."""
        refuse_arguments(
            {
                "y": self.y,
                "loss": self.loss is not None,
                "objective": self.objective is not None,
                "from_logits": flag("from_logits", self.from_logits),
                "sample_weight": self.sample_weight,
                "norms_only": flag("norms_only", self.norms_only),
            },
            "gradients, and without wrt activations are dumped (add wrt='weights', or leave it out)",
        )


def callback_options(
    wrt: Any,
    selection: Selection,
    run: RunOptions,
    of_activations: ActivationArguments,
    of_gradients: GradientArguments,
    **common: Any,
) -> tuple[ActivationOptions | GradientOptions, dict[str, Any]]:
    """Return the options of a callback, and the loss objects of the user by name.

    `common` are the options of both kinds of dumps. Raises TfdumpError for arguments that are not valid, or that are
    not for this kind of dump.
    """
    if wrt is None:
        of_gradients.refuse()
        own = of_activations
        options: ActivationOptions | GradientOptions = activation_options(
            selection, run, captures=own.captures, outputs=own.outputs, reduce=own.reduce, **common
        )
        custom: dict[str, Any] = {}
    else:
        of_activations.refuse()
        names, custom = loss_names(of_gradients.loss)
        options = gradient_options(
            selection,
            run,
            wrt=wrt,
            losses=names,
            objective=of_gradients.objective,
            from_logits=of_gradients.from_logits,
            norms_only=of_gradients.norms_only,
            **common,
        )
        options.check()
    storage_for(options.compression)
    return options, custom
