"""The one line that matters in an error of Keras or TensorFlow."""

import re

from tfdump.process.signals import interruption_behind, waiting

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NODE = re.compile(r"\{\{[^}]*\}\}|\[Op:[^\]]*\]")
_UNINFORMATIVE = (
    "Exception encountered",
    "Arguments received",
    "Graph execution error",
    "Detected at node",
    "defined at",
    "File ",
    "<stack traces unavailable>",
)
"""How the lines begin that Keras and TensorFlow print around the reason of an error."""


def first_line(error: BaseException) -> str:
    """Return the informative first line of an error of Keras or TensorFlow."""
    plain = _COLOURS.sub("", str(error))
    lines = [_NODE.sub("", line).strip() for line in plain.splitlines()]
    informative = [line for line in lines if line and not line.startswith(_UNINFORMATIVE)]
    text = (informative or [type(error).__name__])[0]
    return text if len(text) <= 400 else text[:400] + " ..."


def raise_interruption(error: BaseException) -> None:
    """Raise the Ctrl-C or the signal that made other code raise `error`, if there is one, or that waits."""
    interruption = interruption_behind(error) or waiting()
    if interruption is not None:
        raise interruption
