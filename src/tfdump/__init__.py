"""tfdump shows every tensor inside a saved Keras model.

    acts = tfdump.activations(model, x, layers="encoder.*")   # {address: NumPy array}
    grads = tfdump.gradients(model, x, y, wrt=("weights", "inputs"))
    with tfdump.open("dump.h5") as dump:
        dump["encoder.dense"][:4]
    model.fit(x, y, callbacks=[tfdump.DumpCallback("run/", x[:8], y[:8], wrt="weights")])
    tfdump.diff("golden.h5", "new.h5").first   # the first diverging layer, or None

Importing this package is light; TensorFlow is imported when a model is first run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfdump.analysis.checks import check as check
    from tfdump.analysis.diff import diff as diff
    from tfdump.analysis.verdict import DiffReport as DiffReport
    from tfdump.analysis.verdict import TensorDiff as TensorDiff
    from tfdump.api import Gradients as Gradients
    from tfdump.api import activations as activations
    from tfdump.api import gradients as gradients
    from tfdump.api import layers as layers
    from tfdump.dump.reader import Dump as Dump
    from tfdump.dump.reader import Tensor as Tensor
    from tfdump.dump.reader import open_dump

    open = open_dump
    from tfdump.errors import TfdumpError as TfdumpError
    from tfdump.errors import TfdumpWarning as TfdumpWarning
    from tfdump.training import DumpCallback as DumpCallback

__version__ = "0.1.0"

_HOMES = {
    "activations": ("tfdump.api", "activations"),
    "diff": ("tfdump.analysis.diff", "diff"),
    "gradients": ("tfdump.api", "gradients"),
    "layers": ("tfdump.api", "layers"),
    "check": ("tfdump.analysis.checks", "check"),
    "open": ("tfdump.dump.reader", "open_dump"),
    "DumpCallback": ("tfdump.training", "DumpCallback"),
    "Gradients": ("tfdump.api", "Gradients"),
    "DiffReport": ("tfdump.analysis.verdict", "DiffReport"),
    "TensorDiff": ("tfdump.analysis.verdict", "TensorDiff"),
    "Dump": ("tfdump.dump.reader", "Dump"),
    "Tensor": ("tfdump.dump.reader", "Tensor"),
    "TfdumpError": ("tfdump.errors", "TfdumpError"),
    "TfdumpWarning": ("tfdump.errors", "TfdumpWarning"),
}

__all__ = ["__version__", *(name for name in _HOMES if name != "open")]  # noqa: PLE0604 - the names are strings
"""What `from tfdump import *` gives: not `open`, which would hide the builtin."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tfdump' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    if name == "DumpCallback" and _lacks_keras():
        from tfdump.no_training import DumpCallback

        return DumpCallback
    return getattr(import_module(module), attribute)


def _lacks_keras() -> bool:
    from tfdump.requirements import STACK, complaint

    return complaint(STACK) is not None


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
