"""What stands for the callback where TensorFlow and Keras are not there, or in other versions.

With it `help(tfdump)` and `from tfdump import *` work also where only dumps are read.
"""

from typing import Any

from tfdump.errors import ModelError
from tfdump.process.requirements import STACK, complaint


class DumpCallback:
    """Writes dumps while a model is trained; needs TensorFlow and Keras in the versions that tfdump needs."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ModelError(complaint(STACK) or "TensorFlow and Keras were installed meanwhile (start Python anew)")
