"""The origin of code: the class or function behind a value, and whether a module is of the same author."""

import site
import sys
import sysconfig
from functools import cache, partial
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

_FRAMEWORKS = ("keras", "tensorflow", "tf_keras", "numpy")
"""Packages with functions of all kinds; other modules decide which of them a model file may name."""


def origin(value: Any) -> Any:
    """Return the class or function that a value is or wraps, or None for all other values.

    A function may be wrapped by `tf.function` or `functools.partial`, and a callable object stands for its class.
    Modules and functions that are built into Python give None.
    """
    if isinstance(value, type) or isfunction(value):
        return value
    if isinstance(value, partial):
        return origin(value.func)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(value, tensorflow.types.experimental.PolymorphicFunction):
        return origin(value.python_function)
    if callable(value) and type(value).__module__ != "builtins":
        return type(value)
    return None


def is_of_same_author(code: Any, module: ModuleType) -> bool:
    """Tell whether a class or function is defined in the package of a module, or in a file beside it.

    The answer is False for modules of Python, Keras, TensorFlow and NumPy.
    """
    defined_in = str(getattr(code, "__module__", ""))
    if is_library(module):
        return False
    ours, theirs = module.__name__.split(".")[0], defined_in.split(".", maxsplit=1)[0]
    if ours == theirs:
        return True
    folder = _folder(ours)
    return folder is not None and folder == _folder(theirs) and not _holds_libraries(folder)


def is_library(module: ModuleType) -> bool:
    """Tell whether a module is part of Python, Keras, TensorFlow or NumPy."""
    if module.__name__.split(".")[0] in _FRAMEWORKS:
        return True
    folder = _folder(module.__name__.split(".")[0])
    return folder in _standard_folders() or (folder is None and module.__name__ in sys.stdlib_module_names)


def _folder(package: str) -> Path | None:
    """Return the folder that contains a top-level module or package, None where it has no file."""
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None:
        return None
    path = Path(file).resolve()
    return path.parent.parent if path.stem == "__init__" else path.parent


@cache
def _standard_folders() -> frozenset[Path]:
    paths = sysconfig.get_paths()
    folders = {Path(paths[name]).resolve() for name in ("stdlib", "platstdlib")}
    return frozenset(folders | {folder / "lib-dynload" for folder in folders})


@cache
def _holds_libraries(folder: Path) -> bool:
    """Tell whether a folder contains packages of many authors (`pip install --target` creates such folders)."""
    return folder in _library_folders() or any(folder.glob("*.dist-info"))


@cache
def _library_folders() -> frozenset[Path]:
    """Return the known folders that contain packages of many authors."""
    paths = sysconfig.get_paths()
    installed = [paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()]
    named = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return _standard_folders() | {Path(path).resolve() for path in (*installed, *named)}
