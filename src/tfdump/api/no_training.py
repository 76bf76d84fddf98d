"""The callback where TensorFlow and Keras are missing, or of versions that tfdump does not support.

It lets `help(tfdump)` and `from tfdump import *` work where only dumps are read.
"""

from typing import Any

from tfdump.errors import ModelError
from tfdump.process.requirements import STACK, complaint


class DumpCallback:
    """Writes dumps while a model is trained. It needs TensorFlow and Keras in versions that tfdump supports."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ModelError(
            complaint(STACK) or "TensorFlow and Keras were installed after Python started (restart Python)"
        )
