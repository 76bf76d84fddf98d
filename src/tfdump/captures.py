"""Which tensors to take beside the layers' outputs: the capture options of `tfdump activations`."""

from dataclasses import dataclass, fields

_WORDS = {
    "attention": "attention_scores",
    "rnn_steps": "states",
    "rnn_gates": "gates",
    "preactivation": "preactivation",
    "layer_inputs": "input",
}


@dataclass(frozen=True)
class Captures:
    """What goes by a reserved suffix: attention scores, states and gates of recurrent layers, what goes into layers.

    `preactivation` is what goes into a layer's fused activation.
    """

    attention: bool = False
    rnn_steps: bool = False
    rnn_gates: bool = False
    preactivation: bool = False
    layer_inputs: bool = False

    @property
    def options(self) -> dict[str, str]:
        """The options of the command line that are on, with the reserved word of the suffix of their tensors."""
        names = [field.name for field in fields(self) if getattr(self, field.name)]
        return {_option(name): _WORDS[name] for name in names}


def option_for(suffix: str) -> str | None:
    """Return the option that gives the tensors of a suffix, such as `states.0`; None where it is no reserved one."""
    word = suffix.partition(".")[0]
    return next((_option(name) for name, known in _WORDS.items() if known == word), None)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


NOTHING_MORE = Captures()
