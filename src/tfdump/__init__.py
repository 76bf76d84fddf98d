"""tfdump shows every tensor inside a saved Keras model.

    acts = tfdump.activations(model, x, layers="encoder.*")   # {address: NumPy array}
    grads = tfdump.gradients(model, x, y, wrt=("weights", "inputs"))
    with tfdump.open("dump.h5") as dump:
        dump["encoder.dense"][:4]
    model.fit(x, y, callbacks=[tfdump.DumpCallback("run/", x[:8], y[:8], wrt="weights")])
    tfdump.diff("golden.h5", "new.h5").first   # the first diverging layer, or None
    tfdump.compare("model.keras", "model.tflite", x).first   # the same without dumps

Importing this package is light; TensorFlow is imported when a model is first run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfdump.version import __version__

if TYPE_CHECKING:
    from tfdump.api.compared_models import compare_models

    compare = compare_models
    from tfdump.api.device_dump import import_dump as import_dump
    from tfdump.api.functions import activations as activations
    from tfdump.api.functions import layers as layers
    from tfdump.api.gradients import Gradients as Gradients
    from tfdump.api.gradients import gradients as gradients
    from tfdump.api.merging import merge as merge
    from tfdump.api.result import Activations as Activations
    from tfdump.api.weights import Weights as Weights
    from tfdump.api.weights import weights as weights
    from tfdump.checks import check as check
    from tfdump.comparison.diff import diff as diff
    from tfdump.comparison.verdict import DiffReport as DiffReport
    from tfdump.comparison.verdict import TensorDiff as TensorDiff
    from tfdump.dump.reader import Dump as Dump
    from tfdump.dump.reader import Tensor as Tensor
    from tfdump.dump.reader import open_dump

    open = open_dump
    from tfdump.api.callback import DumpCallback as DumpCallback
    from tfdump.errors import TfdumpError as TfdumpError
    from tfdump.errors import TfdumpWarning as TfdumpWarning
    from tfdump.inputs.data_options import DataOptions as DataOptions
    from tfdump.quantization.losses import LossReport as LossReport
    from tfdump.quantization.losses import TensorLoss as TensorLoss
    from tfdump.quantization.losses import quantization_losses as quantization_losses
    from tfdump.quantization.ranges import ranges as ranges
    from tfdump.quantization.records import RangesReport as RangesReport
    from tfdump.quantization.records import TensorRange as TensorRange

_HOMES = {
    "activations": ("tfdump.api.functions", "activations"),
    "compare": ("tfdump.api.compared_models", "compare_models"),
    "diff": ("tfdump.comparison.diff", "diff"),
    "gradients": ("tfdump.api.gradients", "gradients"),
    "import_dump": ("tfdump.api.device_dump", "import_dump"),
    "layers": ("tfdump.api.functions", "layers"),
    "weights": ("tfdump.api.weights", "weights"),
    "check": ("tfdump.checks", "check"),
    "merge": ("tfdump.api.merging", "merge"),
    "open": ("tfdump.dump.reader", "open_dump"),
    "ranges": ("tfdump.quantization.ranges", "ranges"),
    "quantization_losses": ("tfdump.quantization.losses", "quantization_losses"),
    "DumpCallback": ("tfdump.api.callback", "DumpCallback"),
    "Activations": ("tfdump.api.result", "Activations"),
    "Gradients": ("tfdump.api.gradients", "Gradients"),
    "Weights": ("tfdump.api.weights", "Weights"),
    "DataOptions": ("tfdump.inputs.data_options", "DataOptions"),
    "DiffReport": ("tfdump.comparison.verdict", "DiffReport"),
    "TensorDiff": ("tfdump.comparison.verdict", "TensorDiff"),
    "LossReport": ("tfdump.quantization.losses", "LossReport"),
    "TensorLoss": ("tfdump.quantization.losses", "TensorLoss"),
    "RangesReport": ("tfdump.quantization.records", "RangesReport"),
    "TensorRange": ("tfdump.quantization.records", "TensorRange"),
    "Dump": ("tfdump.dump.reader", "Dump"),
    "Tensor": ("tfdump.dump.reader", "Tensor"),
    "TfdumpError": ("tfdump.errors", "TfdumpError"),
    "TfdumpWarning": ("tfdump.errors", "TfdumpWarning"),
}

__all__ = ["__version__", *(name for name in _HOMES if name != "open")]  # noqa: PLE0604 - the names are strings
"""What `from tfdump import *` gives: not `open`, which would hide the builtin."""


if not TYPE_CHECKING:  # for type checkers, a name that is not imported above is an error

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'tfdump' has no attribute '{name}'")
        module, attribute = _HOMES[name]
        if name == "DumpCallback" and _lacks_keras():
            from tfdump.api.no_training import DumpCallback

            return DumpCallback
        return getattr(import_module(module), attribute)


def _lacks_keras() -> bool:
    from tfdump.process.requirements import STACK, complaint

    return complaint(STACK) is not None


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
