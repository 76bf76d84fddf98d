"""The classes of the user in a Keras model that is in memory."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LIBRARIES = ("keras", "keras_hub", "tensorflow")
"""Packages whose classes a saved model finds by itself."""


def custom_classes(model: Any) -> dict[str, type]:
    """Return the classes of the layers of a model that are not those of Keras, by their names."""
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    return {name: own for name, own in classes.items() if own.__module__.split(".")[0] not in _LIBRARIES}


def import_options(classes: Mapping[str, type], folder: Path) -> list[str]:
    """Return the options that import the modules of classes, with the paths of single files as seen from a folder."""
    options: list[str] = []
    for module in dict.fromkeys(own.__module__ for own in classes.values()):
        file = getattr(sys.modules.get(module), "__file__", None)
        single = file is not None and "." not in module
        name = os.path.relpath(os.path.realpath(file), os.path.realpath(folder)) if single and file else module
        options += ["--import", name]
    return options
