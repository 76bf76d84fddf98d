"""The user's own modules, which `--import` names, and what a model file may name of them.

Whatever a module or a package below it defines, or re-exports from the same package, may be named: layers and the
like, plain classes, functions. What it imports from elsewhere (`from os import system`) may not, other than classes
that Keras builds models of.
"""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from tfdump.errors import ModelError
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.keras_internals import KerasSaveable
from tfdump.model.loading.code_origin import is_library, is_of_same_author, origin

HUBS = ("keras_hub", "keras_cv", "keras_nlp")
"""Packages of Keras's own, of which Keras takes only what it can save."""

_SERIALIZABLE = (
    keras.Operation,
    keras.Loss,
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.Metric,
    keras.Optimizer,
)
"""What a model file may name by class, wherever the user's module has it from."""

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
    """What the modules of the user define, by the names that a model file has for it; `modules` are these modules."""

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
        """Return the same code with further names, which go before the others."""
        return UserCode(self.modules, {**self._names, **names})

    def covers(self, module: str) -> bool:
        """Tell whether a module is one of those that were imported, or lies below one of them."""
        return bool(self._roots_of(module))

    def member(self, module: str, name: str) -> Any:
        """Return what a module that the user's imports cover defines or re-exports by this name, else None.

        The module is imported for that, and only that one. Raises ModelError where it is there and fails.
        """
        home = _import_below(module) if self.covers(module) else None
        value = vars(home).get(name) if home is not None else None
        return value if self._is_own(value, module) else None

    def loaded_members(self) -> dict[str, list[Any]]:
        """Return the classes and functions that the modules below define, by name, as far as these are imported now.

        There may be several of one name.
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
        """Return the modules of the user at or below which a module lies by its name."""
        roots = (root for root in self.modules if not is_library(root))
        return [root for root in roots if module == root.__name__ or module.startswith(f"{root.__name__}.")]

    def _is_own(self, value: Any, module: str) -> bool:
        """Tell whether something in a module is code of the author of the module that the user named.

        A module of another author can stand below it under a name of its own (`requests.packages.urllib3`).
        """
        return any(_may_be_named(value, root) for root in self._roots_of(module))


def import_user_code(modules: tuple[str, ...]) -> UserCode:
    """Import modules by name or by file, and return the layers, losses, functions and the like in them, by name.

    Raises ModelError when one cannot be imported.
    """
    return UserCode(tuple(_import(text) for text in modules))


def _package(module: str) -> str:
    return module.partition(".")[0]


def is_keras_name(name: str) -> bool:
    """Tell whether Keras has an activation, a layer or the like of this name."""
    return any(name in vars(table) for table in _TABLES)


def _names_in(modules: Iterable[ModuleType]) -> dict[str, Any]:
    """Return what the namespaces of modules hold; a function from elsewhere never goes before one of Keras."""
    names: dict[str, Any] = {}
    for module in modules:
        for name, value in vars(module).items():
            of_keras = isinstance(value, type) and issubclass(value, _SERIALIZABLE)
            own = inspect.isfunction(value) and value.__module__ == module.__name__
            if of_keras or (_may_be_named(value, module) and (own or not is_keras_name(name))):
                names[name] = value
    return names


def _may_be_named(value: Any, module: ModuleType) -> bool:
    """Tell whether something in the namespace of a module is code of the same author that a file may name."""
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
            return _run_file(path)
        if not text or text.startswith("."):
            raise ModelError(f"--import '{text}' is neither the name of a module nor a file that ends in .py")
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        return importlib.import_module(text)
    except ModelError:
        raise
    except (Exception, SystemExit) as cause:  # whatever the user's own module raises
        raise_interruption(cause)
        raise ModelError(f"--import {text} fails: {type(cause).__name__}: {first_line(cause)}") from cause


def _run_file(path: Path) -> ModuleType:
    """Run a Python file as a module of its name, or of another one where that name is taken (`h5py.py`)."""
    name = path.stem if path.stem not in sys.modules else f"imported by tfdump: {path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"--import {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        sys.path.remove(str(path.parent))
        raise
    return module


def _import_below(name: str) -> ModuleType | None:
    """Import a module that a file names; None where there is no such module, or none that defines parts of models."""
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
    except (Exception, SystemExit) as cause:  # whatever the module raises
        raise_interruption(cause)
        raise ModelError(
            f"the module {name}, which the file names, cannot be imported: {type(cause).__name__}: {first_line(cause)}"
        ) from cause
