"""A look at a model's configuration before Keras builds anything of it: does it want to run code?"""

from collections.abc import Iterator
from typing import Any

import keras

from tfdump.errors import UntrustedModelError

_CODE_LAYERS = {"Lambda": "a Lambda layer", "TFSMLayer": "a TFSMLayer, which runs a SavedModel"}
_HARMLESS_MODULES = ("builtins", "keras.ops", "keras.activations")


def check_config(config: dict[str, Any], where: str, trust: bool) -> None:
    """Raise UntrustedModelError when a configuration names code to run and `trust` is False.

    Lambda layers over functions of `keras.ops` and `keras.activations` are no code of the model's own.
    """
    if trust:
        return
    for node in _objects(config):
        class_name = node.get("class_name")
        if class_name not in _CODE_LAYERS:
            continue
        inner = node.get("config")
        inner = inner if isinstance(inner, dict) else {}
        if class_name == "Lambda" and _harmless(inner.get("function")):
            continue
        name = inner.get("name", class_name)
        raise UntrustedModelError(
            f"{where}: layer '{name}' is {_CODE_LAYERS[class_name]} and runs code from the model file "
            "(add --trust-model if you trust its author)"
        )


def check_saved_model(where: str, trust: bool) -> None:
    """Raise UntrustedModelError for a SavedModel when `trust` is False: its graph may read and write files."""
    if not trust:
        raise UntrustedModelError(
            f"{where} is a SavedModel, a program that can read and write files when it is loaded or run "
            "(add --trust-model if you trust its author)"
        )


def _harmless(function: Any) -> bool:
    """Tell whether a serialised function is one of `keras.ops` or `keras.activations`."""
    if not isinstance(function, dict) or function.get("class_name") != "function":
        return False
    module, name = function.get("module"), function.get("config")
    known = isinstance(name, str) and (hasattr(keras.ops, name) or hasattr(keras.activations, name))
    return known and module in _HARMLESS_MODULES


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict of a configuration, however deep."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
