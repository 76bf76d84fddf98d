"""Tensors to capture beside the outputs of the layers: the capture options of `tfdump activations`."""

from dataclasses import dataclass, fields

_WORDS = {
    "attention": "attention_scores",
    "rnn_steps": "states",
    "rnn_gates": "gates",
    "preactivation": "preactivation",
    "layer_inputs": "input",
    "ops": "op",
}


@dataclass(frozen=True)
class Captures:
    """The tensors with a reserved suffix that are captured, each of them or not.

    They are attention scores, the states and gates of recurrent layers, the input of the activation function of a layer
    (`preactivation`), the inputs of layers, and the operations inside them.
    """

    attention: bool = False
    rnn_steps: bool = False
    rnn_gates: bool = False
    preactivation: bool = False
    layer_inputs: bool = False
    ops: bool = False

    @property
    def options(self) -> dict[str, str]:
        """The options of the command line that are set, each with the reserved word of its suffix."""
        names = [field.name for field in fields(self) if getattr(self, field.name)]
        return {_option(name): _WORDS[name] for name in names}

    @property
    def advice(self) -> str:
        """How to list the tensors of a model, these among them."""
        return " ".join(["list them: tfdump layers MODEL", *self.options])


def option_for(suffix: str) -> str | None:
    """Return the option that captures the tensors with a suffix, such as `states.0`; None for any other suffix."""
    word = suffix.partition(".")[0]
    return next((_option(name) for name, known in _WORDS.items() if known == word), None)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


NOTHING_MORE = Captures()
