"""The library that runs TFLite models: LiteRT where it is installed, which is light, else TensorFlow."""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from tfdump.errors import ModelError
from tfdump.model.error_text import first_line
from tfdump.model.runnable import Runtime
from tfdump.process.requirements import complaint, installed_version

TENSORFLOW, LITERT = "tensorflow", "ai-edge-litert"
"""The packages that have an interpreter."""

_LITERT_MODULE = "ai_edge_litert"

_SIZES = (16, 64, 256)
"""Sizes of open axes with which a graph is tried."""

_THREADS = 1
"""One thread, because some kernels add in another order with more."""


def litert_is_installed() -> bool:
    """Tell whether LiteRT is installed; raises ModelError for a version that does not fit."""
    with suppress(ImportError):
        import ai_edge_litert  # noqa: F401 - it tells its version in less time than the list of packages
    if installed_version(_LITERT_MODULE) is None:
        return False
    wrong = complaint([_LITERT_MODULE])
    if wrong is not None:
        raise ModelError(wrong)
    return True


def open_interpreter(path: Path) -> tuple[Any, Runtime]:
    """Return an interpreter that preserves all tensors of a file, and what it is part of.

    Raises ModelError for a file that it cannot run.
    """
    interpreter_class, kernels, runtime = _library()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that of TensorFlow warns that it will move to another package
            interpreter = interpreter_class(
                str(path),
                num_threads=_THREADS,
                experimental_op_resolver_type=kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
        _allocate(interpreter)
    except (RuntimeError, ValueError) as cause:
        raise ModelError(f"the TFLite interpreter cannot run {path}: {first_line(cause)}") from cause
    return interpreter, runtime


def _allocate(interpreter: Any) -> None:
    """Give all tensors their memory; raises RuntimeError or ValueError for a graph that the interpreter cannot run.

    Open axes begin with the size 1, which is too small for some layers: then larger sizes are tried.
    """
    try:
        interpreter.allocate_tensors()
        return
    except (RuntimeError, ValueError) as cause:
        open_inputs = [item for item in interpreter.get_input_details() if -1 in item["shape_signature"][1:]]
        failure = cause
    for size in _SIZES if open_inputs else ():
        for item in open_inputs:
            first, *rest = (int(axis) for axis in item["shape_signature"])
            interpreter.resize_tensor_input(item["index"], [abs(first), *(size if n == -1 else n for n in rest)])
        with suppress(RuntimeError, ValueError):
            interpreter.allocate_tensors()
            return
    raise failure


def _library() -> tuple[Any, Any, Runtime]:
    """Return the classes of the interpreter and of its ways to find kernels, and the package that they are part of."""
    if litert_is_installed():
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        return Interpreter, OpResolverType, Runtime(LITERT, installed_version(_LITERT_MODULE) or "")
    import tensorflow as tf

    return tf.lite.Interpreter, tf.lite.experimental.OpResolverType, Runtime(TENSORFLOW, tf.__version__)
