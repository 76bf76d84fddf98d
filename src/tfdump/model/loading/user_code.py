"""The user's own modules, which `--import` names, and the code in them that a model file may name.

A file may name everything that a module or a package below it defines, or re-exports from the same package: layers,
plain classes, functions. It may not name what the module imports from elsewhere (`from os import system`), except for
classes from which Keras builds models.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from tfdump.errors import ModelError
from tfdump.files.python_files import run_python_file
from tfdump.model.any_backend_internals import KerasSaveable
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.loading.code_origin import is_library, is_of_same_author, origin

HUBS = ("keras_hub", "keras_cv", "keras_nlp")
"""Packages of the Keras team, from which Keras uses only what it can save."""

_SERIALIZABLE = (
    keras.Operation,
    keras.Loss,
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.Metric,
    keras.Optimizer,
)
"""Base classes of what a model file may name, wherever the user's module imports it from."""

_TABLES = (
    keras.activations,
    keras.constraints,
    keras.initializers,
    keras.layers,
    keras.losses,
    keras.metrics,
    keras.optimizers,
    keras.regularizers,
)


class UserCode(Mapping[str, Any]):
    """The code that the user's modules define, by the names in a model file; `modules` are these modules."""

    def __init__(self, modules: tuple[ModuleType, ...], names: Mapping[str, Any] | None = None) -> None:
        self.modules = modules
        self._names = dict(names) if names is not None else _names_in(modules)

    def __getitem__(self, name: str) -> Any:
        return self._names[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def with_names(self, names: Mapping[str, Any]) -> "UserCode":
        """Return the same code with further names, which take precedence."""
        return UserCode(self.modules, {**self._names, **names})

    def covers(self, module: str) -> bool:
        """Tell whether a module is one of the imported modules, or below one of them."""
        return bool(self._roots_of(module))

    def member(self, module: str, name: str) -> Any:
        """Return what a module defines or re-exports by this name, if the user's imports cover the module, else None.

        This imports the module, and no other one. Raises ModelError where it exists but cannot be imported.
        """
        home = _import_below(module) if self.covers(module) else None
        value = vars(home).get(name) if home is not None else None
        return value if self._is_own(value, module) else None

    def loaded_members(self) -> dict[str, list[Any]]:
        """Return the classes and functions that the imported modules at and below those of the user define, by name.

        Several may have one name.
        """
        members: dict[str, list[Any]] = {}
        names = [name for name in sorted(sys.modules) if self.covers(name) and _package(name) not in HUBS]
        for module in [sys.modules[name] for name in names]:
            for name, value in vars(module).items():
                defined_here = getattr(origin(value), "__module__", None) == module.__name__
                if defined_here and self._is_own(value, module.__name__):
                    known = members.setdefault(name, [])
                    known += [value] if all(value is not other for other in known) else []
        return members

    def _roots_of(self, module: str) -> list[ModuleType]:
        """Return the modules of the user that are, or contain, the module of this name."""
        roots = (root for root in self.modules if not is_library(root))
        return [root for root in roots if module == root.__name__ or module.startswith(f"{root.__name__}.")]

    def _is_own(self, value: Any, module: str) -> bool:
        """Tell whether a value in a module is code of the author of the module that the user named.

        A package may contain modules of another author (`requests.packages.urllib3`).
        """
        return any(_may_be_named(value, root) for root in self._roots_of(module))


class LaterCode(UserCode):
    """Stands for the user's modules where another process imports them: what is not in Keras is `left` to it."""

    def __init__(self) -> None:
        super().__init__((), {})
        self.left: list[dict[str, Any]] = []


def import_user_code(modules: tuple[str, ...]) -> UserCode:
    """Import modules by name or by file; return the layers, losses, functions and other code in them, by name.

    Raises ModelError when one cannot be imported.
    """
    return UserCode(tuple(_import(text) for text in modules))


def _package(module: str) -> str:
    return module.partition(".")[0]


def is_keras_name(name: str) -> bool:
    """Tell whether Keras has an activation, a layer or another part of a model of this name."""
    return any(name in vars(table) for table in _TABLES)


def _names_in(modules: Iterable[ModuleType]) -> dict[str, Any]:
    """Return the code in modules by name; a function that a module imports does not replace one of Keras."""
    names: dict[str, Any] = {}
    for module in modules:
        for name, value in vars(module).items():
            of_keras = isinstance(value, type) and issubclass(value, _SERIALIZABLE)
            own = inspect.isfunction(value) and value.__module__ == module.__name__
            if of_keras or (_may_be_named(value, module) and (own or not is_keras_name(name))):
                names[name] = value
    return names


def _may_be_named(value: Any, module: ModuleType) -> bool:
    """Tell whether a value in a module is code of the same author that a file may name."""
    defined = origin(value)
    if _package(module.__name__) in HUBS and not (isinstance(value, type) and issubclass(value, KerasSaveable)):
        return False
    return defined is not None and is_of_same_author(defined, module)


def _import(text: str) -> ModuleType:
    try:
        if text.endswith(".py"):
            path = Path(text)
            if not path.is_file():
                raise ModelError(f"--import {text}: no such file")
            return run_python_file(path, "imported by tfdump")
        if not text or text.startswith("."):
            raise ModelError(f"--import '{text}' is neither the name of a module nor a file with the ending .py")
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        return importlib.import_module(text)
    except ModelError:
        raise
    except (Exception, SystemExit) as cause:  # the user's own module may raise anything
        raise_interruption(cause)
        raise ModelError(f"--import {text} failed: {type(cause).__name__}: {first_line(cause)}") from cause


def _import_below(name: str) -> ModuleType | None:
    """Import a module that a file names; return None where it does not exist or has an unsuitable name."""
    if name in sys.modules:
        return sys.modules[name]
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or any(part.startswith("__") for part in parts):
        return None
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as cause:
        if cause.name is not None and (name == cause.name or name.startswith(f"{cause.name}.")):
            return None
        raise ModelError(f"the module {name}, which the file names, cannot be imported: {first_line(cause)}") from cause
    except (Exception, SystemExit) as cause:  # the module may raise anything
        raise_interruption(cause)
        raise ModelError(
            f"the module {name}, which the file names, cannot be imported: {type(cause).__name__}: {first_line(cause)}"
        ) from cause
