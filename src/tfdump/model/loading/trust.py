"""A check of a model's configuration before Keras builds anything from it: everything that it names must be harmless.

It refuses everything that is not known to be fine, so that it also refuses new ways to name code (docs/trust.md).
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfdump.errors import ModelError, UntrustedModelError
from tfdump.model.loading.allowed_objects import ACTIVATION, Verdict, judge, reads_files
from tfdump.model.loading.user_code import LaterCode, UserCode

_TRUST = "(add --trust-model if you trust its author)"

_DEEPEST = 200
"""Levels of lists and objects. A sub-model takes four levels, for which Keras needs a dozen frames of Python."""

_VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__")
"""Class names of plain values."""

_ARRAYS = ("__tensor__", "__numpy__")
_LARGEST_ITEM = 16
_FILES = ("vocabulary", "merges", "proto")
"""Arguments of layers and tokenizers that take the path of a file, where they are text."""

_COMPILED = "compile_config"


@dataclass(frozen=True)
class _Place:
    """A JSON object and its place: the key that leads to it, and the names of the layers around it.

    `named` tells that the last name is its own. `idle` tells that it is part of the compile configuration of the model
    itself, from which nothing is built.
    """

    node: dict[str, Any]
    key: str
    layers: tuple[str, ...]
    named: bool
    idle: bool

    @property
    def text(self) -> str:
        """The name of the place in a message."""
        if self.idle:
            return f"{_COMPILED} ({self.key})"
        layer = f"layer '{'.'.join(self.layers)}'" if self.layers else "the model"
        return f"{layer} ({self.key})" if self.key and not self.named else layer


def check_config(config: Mapping[str, Any], where: str, trust: bool, custom: Mapping[str, Any]) -> None:
    """Raise UntrustedModelError when a configuration names anything but parts of Keras and of the user's own modules.

    `custom` holds the latter by name. With `trust`, only the depth is checked. Lambda layers over functions of
    `keras.ops` and `keras.activations` are not the model's own code. The compile configuration of the model itself is
    not built here (see `tfdump.model.losses.compiled`), so it may name a custom loss. Raises ModelError for a
    configuration that is nested too deeply to be built.
    """
    for place in _places(config, where):
        if not trust and "class_name" in place.node:
            _check_object(place, where, custom)


def check_saved_model(where: str, trust: bool) -> None:
    """Raise UntrustedModelError for a SavedModel when `trust` is False: its graph may read and write files."""
    if not trust:
        raise UntrustedModelError(
            f"{where} is a SavedModel, a program that can read and write files when it is loaded or run {_TRUST}"
        )


def _places(config: Mapping[str, Any], where: str) -> Iterator[_Place]:
    """Yield every JSON object of a configuration in the order of the file, at any depth."""
    waiting: list[tuple[Any, str, tuple[str, ...], bool, int]] = [(config, "", (), False, 0)]
    while waiting:
        node, key, layers, idle, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ModelError(f"{where} is damaged: its architecture is nested more than {_DEEPEST} levels deep")
        if isinstance(node, list):
            waiting.extend((item, key, layers, idle, depth + 1) for item in reversed(node))
        if not isinstance(node, dict):
            continue
        inner, is_object = node.get("config"), isinstance(node.get("class_name"), str)
        name = inner.get("name") if isinstance(inner, dict) else None
        named = is_object and depth > 0 and isinstance(name, str) and key != "dtype" and not idle
        around = (*layers, str(name)) if named else layers
        yield _Place(node, key, around, named, idle)
        for below, value in reversed(node.items()):
            compiled = idle or (depth == 0 and below == _COMPILED)
            inherits_key = compiled and not is_object and key and key != _COMPILED  # losses of several outputs, by name
            key_below = key if inherits_key or (is_object and below == "config") else str(below)
            waiting.append((value, key_below, around, compiled, depth + 1))


def _check_object(place: _Place, where: str, custom: Mapping[str, Any]) -> None:
    """Raise UntrustedModelError when a serialized object is not one of Keras or of the user that fits its place."""
    node, name = place.node, place.node["class_name"]
    if not isinstance(name, str) or not isinstance(node.get("module"), (str, type(None))):
        raise ModelError(f"{where} is damaged: {place.text} has a class name or a module that is not a string")
    if name in _VALUES:
        _check_value(place, where)
        return
    if name == "__lambda__":
        if not place.idle:
            raise _refused(where, place, "is Python code in the model file")
        return
    verdict = judge(node, place.key, custom)
    if verdict is Verdict.LAMBDA and not _calls_keras(node):
        raise _refused(where, place, "is a Lambda layer, which runs code from the model file")
    if verdict is Verdict.PROGRAM:
        raise _refused(where, place, f"is a {name}, which runs a program that the file contains or names")
    if verdict is Verdict.MISPLACED:
        raise _refused(where, place, f"names {_spelled(node)}, which does not belong there")
    if verdict is Verdict.UNKNOWN:
        _check_unknown(place, where, custom)
    elif verdict is Verdict.FINE and name != "function":
        _check_files(place, where, custom)


def _check_unknown(place: _Place, where: str, custom: Mapping[str, Any]) -> None:
    """Refuse what is neither in Keras nor imported; if the file names no module, Keras itself raises the error."""
    module = place.node.get("module")
    if module is None or (place.idle and module.split(".")[0] not in sys.stdlib_module_names - {"builtins"}):
        return
    message = f"{where}: {place.text} needs {_spelled(place.node)}, {_how_to_import(module, custom)}"
    if not isinstance(custom, LaterCode):
        raise UntrustedModelError(message)
    names = [place.node.get("registered_name"), _name_of(place.node)]
    known = [name for name in names if isinstance(name, str)]
    custom.left.append({"names": known, "where": f"{where}: {place.text}", "message": message})


def _how_to_import(module: str, custom: Mapping[str, Any]) -> str:
    """Return advice on what to import; `module` is that of a class in the file, or `builtins` for functions."""
    package, code = module.split(".", maxsplit=1)[0], custom if isinstance(custom, UserCode) else UserCode(())
    if code.covers(module):
        return f"which it does not define (is this the version of {package} that the model was saved with?)"
    packages = [root.__name__ for root in code.modules if hasattr(root, "__path__")]
    if module == "builtins" and packages:
        return (
            f"which {' and '.join(packages)} did not import (import the module that defines it: --import "
            f"{packages[0]}.MODULE, or --import FILE.py; --trust-model alone imports nothing)"
        )
    how = "MODULE" if package in ("builtins", "__main__") or package in sys.stdlib_module_names else package
    return (
        "which is not part of Keras (import the code that defines it, if you have it and trust it: "
        f"--import {how} or --import FILE.py; --trust-model alone imports nothing)"
    )


def _check_value(place: _Place, where: str) -> None:
    """Raise ModelError for an array whose items are objects, or are too large."""
    inner = place.node.get("config")
    if place.node["class_name"] not in _ARRAYS or not isinstance(inner, dict):
        return
    try:
        dtype = np.dtype(inner.get("dtype"))
    except (TypeError, ValueError):  # a dtype that NumPy lacks, or not a dtype
        return
    if dtype.hasobject or (dtype.kind not in "SU" and dtype.itemsize > _LARGEST_ITEM) or dtype.itemsize > 1 << 16:
        raise ModelError(f"{where} is damaged: {place.text} holds an array of the dtype {inner.get('dtype')!r}")


def _check_files(place: _Place, where: str, custom: Mapping[str, Any]) -> None:
    """Raise UntrustedModelError for a layer that reads its vocabulary from a file outside of the model."""
    inner = place.node.get("config")
    for argument in _FILES:
        file = inner.get(argument) if isinstance(inner, dict) else None
        if isinstance(file, str) and reads_files(place.node, custom):
            raise _refused(where, place, f"reads its {argument} from '{file}', a file outside of the model")


def _calls_keras(node: Mapping[str, Any]) -> bool:
    """Tell whether all functions of a Lambda layer are from `keras.ops` and `keras.activations`."""
    inner = node.get("config")
    if not isinstance(inner, dict) or not isinstance(inner.get("function"), dict):
        return False
    functions = [inner["function"]]
    waiting = [value for key, value in inner.items() if key != "function"]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and value.get("class_name") == "function":
            functions.append(value)
        waiting.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    return all(
        one.get("class_name") == "function" and judge(one, ACTIVATION, {}) is Verdict.FINE and not _registered(one)
        for one in functions
    )


def _registered(function: Mapping[str, Any]) -> bool:
    """Tell whether the user registered something under the name of a function, which Keras would use instead."""
    return keras.saving.get_registered_object(str(function.get("config"))) is not None


def _name_of(node: Mapping[str, Any]) -> Any:
    """Return the name of the class or function that an object of the file names."""
    return node.get("config") if node["class_name"] == "function" else node["class_name"]


def _spelled(node: Mapping[str, Any]) -> str:
    """Return the name of an object in the file, for messages."""
    function = node["class_name"] == "function"
    what = f"the {'function' if function else 'class'} '{_name_of(node)}'"
    return f"{what} of the module '{node['module']}'" if node.get("module") not in (None, "builtins") else what


def _refused(where: str, place: _Place, why: str) -> UntrustedModelError:
    return UntrustedModelError(f"{where}: {place.text} {why} {_TRUST}")
