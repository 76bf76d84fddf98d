"""The line of code that made an operation of a graph, from the stack that TensorFlow notes with it."""

import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

_TENSORFLOW = f"{Path(tf.__file__).parent}{os.sep}"
_KERAS = f"{Path(keras.__file__).parent}{os.sep}"
_TFDUMP = f"{Path(__file__).parents[2]}{os.sep}"
_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_PACKAGES = f"{_LIBRARY}site-packages{os.sep}"
_SEPARATOR = re.compile(r"[/\\]")
"""Separates the folders of a path on any system: the code of a Lambda layer names a file of the machine it is from."""
_LAYERS, _OPS = (f"{_KERAS}src{os.sep}{folder}{os.sep}" for folder in ("layers", "ops"))
_RECORDER = f"{_TFDUMP}model{os.sep}recording{os.sep}call_stack.py"


def code_line_of(operation: Any) -> str | None:
    """Return the line that made an operation while a model was recorded, such as `my_layers.py:42`.

    It is the innermost line outside of TensorFlow and Keras. Where there is none, it is that of a layer or operation
    of Keras. A file of a package has the path from there: `keras/src/layers/core/dense.py:152`. None tells that tfdump
    made the operation itself.
    """
    lines = [frame for frame in reversed(_recorded(operation.traceback)) if not _is_plumbing(frame.filename)]
    if not lines or lines[0].filename.startswith(_TFDUMP):
        return None
    for line in lines:
        if not line.filename.startswith((_KERAS, _TFDUMP)):
            return f"{_path_in_package(line.filename)}:{line.lineno}"
    in_keras = [line for folder in (_LAYERS, _OPS) for line in lines if line.filename.startswith(folder)]
    line = [*in_keras, *lines][0]
    return f"{Path(line.filename).relative_to(Path(_KERAS).parent).as_posix()}:{line.lineno}"


@cache
def _path_in_package(path: str) -> str:
    """Return the path of a file from the outermost package of its module; its name where no package has it."""
    parts = _SEPARATOR.split(path)
    for name, module in list(sys.modules.items()):
        if getattr(module, "__dict__", {}).get("__file__") == path:
            packages = name.split(".") if "__path__" in module.__dict__ else name.split(".")[:-1]
            if packages and parts[-len(packages) - 1 : -1] == packages:
                return "/".join([*packages, parts[-1]])
    return parts[-1]


def _recorded(frames: Sequence[Any]) -> list[Any]:
    """Return the frames within the call of the model, outermost first."""
    frames = list(frames)
    first = next((number for number, frame in enumerate(frames) if frame.filename == _RECORDER), 0)
    return frames[first:]


def _is_plumbing(path: str) -> bool:
    """Tell whether a file is one of TensorFlow, or of Python's own library."""
    own = path.startswith(_LIBRARY) and not path.startswith(_PACKAGES)
    return own or path.startswith((_TENSORFLOW, "<frozen "))
