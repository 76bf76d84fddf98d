"""The names for the code of Lambda layers in a trusted file, which Keras saves without them."""

import builtins
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any

import keras
import numpy as np

from tfdump.model.any_backend_internals import python_utils
from tfdump.model.loading.user_code import UserCode
from tfdump.model.recording.patching import replaced

_HOME = "lambda layers of a model file"
"""The name of the module in which the code believes to run."""


@contextmanager
def names_for_lambdas(code: UserCode) -> Iterator[None]:
    """While the body loads a file, let the code in it use `keras`, `tf`, `np` and the names of the user's modules.

    `tf` is there only where Keras runs on TensorFlow.

    Without this, Keras gives the code the names of the module that builds it, `keras.src.utils.python_utils`.
    """
    build: Callable[..., Any] = python_utils.func_load
    with replaced(python_utils, "func_load", partial(build, globs=_globals(code))):
        yield


def advice_on_names(error: BaseException) -> str:
    """Return advice on the name that the code of a Lambda layer lacks, if that is the cause of an error, else ""."""
    for one in _chain(error):
        if isinstance(one, NameError) and one.name is not None and _is_of_lambda(one.__traceback__):
            return (
                f"the code of a Lambda layer uses '{one.name}', which the file does not define (import the module that "
                "defines it: --import MODULE or --import FILE.py)"
            )
    return ""


def _globals(code: UserCode) -> dict[str, Any]:
    """Return the names that most code of Lambda layers expects; those of the user's modules take precedence."""
    names = {
        "__builtins__": builtins,
        "__name__": _HOME,
        "keras": keras,
        "layers": keras.layers,
        "math": math,
        "np": np,
        "numpy": np,
        "ops": keras.ops,
    }
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        names |= {"K": tf.keras.backend, "tensorflow": tf, "tf": tf}
    for module in code.modules:
        package = module.__name__.partition(".")[0]
        names |= {package: sys.modules.get(package, module)}
        names |= {name: value for name, value in vars(module).items() if not name.startswith("__")}
    return names | {name: value for name, value in code.items() if name.isidentifier()}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes and contexts, including those that Keras hides behind its own errors."""
    visited: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and all(one is not other for other in visited):
            visited.append(one)
            yield one
            waiting += [one.__context__, one.__cause__]


def _is_of_lambda(traceback: TracebackType | None) -> bool:
    """Tell whether an error was raised in the code of a Lambda layer."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals.get("__name__") == _HOME
