"""The informative line of an error of Keras or TensorFlow, and the interruption that may have caused it."""

import re

from tfdump.process.signals import interruption_behind, waiting

_COLORS = re.compile(r"\x1b\[[0-9;]*m")
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
"""How the lines begin that Keras and TensorFlow put around the reason of an error."""


def first_line(error: BaseException) -> str:
    """Return the first informative line of an error of Keras or TensorFlow, cut after 400 characters."""
    plain = _COLORS.sub("", str(error))
    lines = [_NODE.sub("", line).strip() for line in plain.splitlines()]
    informative = [line for line in lines if line and not line.startswith(_UNINFORMATIVE)]
    text = (informative or [type(error).__name__])[0]
    return text if len(text) <= 400 else text[:400] + " ..."


def raise_interruption(error: BaseException) -> None:
    """Raise the Ctrl-C or the signal that made other code raise `error`, or one that is still waiting, if any."""
    interruption = interruption_behind(error) or waiting()
    if interruption is not None:
        raise interruption
