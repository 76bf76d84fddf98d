"""The tensors to capture besides the outputs of layers: the capture options of `tfdump activations`."""

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
    """Tensors with reserved suffixes: attention scores, states and gates of recurrent layers, and inputs of layers.

    `preactivation` is the input of a layer's fused activation.
    """

    attention: bool = False
    rnn_steps: bool = False
    rnn_gates: bool = False
    preactivation: bool = False
    layer_inputs: bool = False

    @property
    def options(self) -> dict[str, str]:
        """The options of the command line that are on, with the reserved words of the suffixes of their tensors."""
        names = [field.name for field in fields(self) if getattr(self, field.name)]
        return {_option(name): _WORDS[name] for name in names}


def option_for(suffix: str) -> str | None:
    """Return the option that captures tensors with a suffix, such as `states.0`; None if the suffix is not reserved."""
    word = suffix.partition(".")[0]
    return next((_option(name) for name, known in _WORDS.items() if known == word), None)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


NOTHING_MORE = Captures()
