"""What Keras would build from a serialized object of a configuration, looked up as Keras does but without any import.

This follows `_retrieve_class_or_fn` of `keras.src.saving.serialization_lib` and, for files without modules, the tables
of `keras.src.legacy.saving`.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import keras

from tfdump.model.any_backend_internals import BUILTIN_MODULES, KerasSaveable, api_export, layers
from tfdump.model.any_backend_internals import models as models_of_keras

ACTIVATION = "activation"

_PROGRAMS = (keras.layers.TFSMLayer, keras.layers.JaxLayer, keras.layers.FlaxLayer, keras.layers.TorchModuleWrapper)
"""Layers that run a program which their configuration contains or names."""

_POLICIES = (keras.DTypePolicy, keras.dtype_policies.DTypePolicyMap)
_BUILDING_BLOCKS: tuple[type, ...] = (
    KerasSaveable,
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    *_POLICIES,
    keras.Quantizer,
    keras.quantizers.QuantizationConfig,
    keras.distillation.DistillationLoss,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.random.SeedGenerator,
    keras.InputSpec,
)
"""The parts of a model; other things in Keras (callbacks, downloads, plots) do not belong in a file."""

_PLACES: Mapping[str, tuple[tuple[type, ...], tuple[str, ...]]] = {
    ACTIVATION: ((keras.Operation,), ("keras.activations", "keras.ops")),
    "initializer": ((keras.Initializer,), ()),
    "regularizer": ((keras.Regularizer,), ()),
    "constraint": ((keras.constraints.Constraint,), ()),
    "dtype": (_POLICIES, ()),
    "optimizer": ((keras.Optimizer, keras.optimizers.schedules.LearningRateSchedule), ()),
    "loss": ((keras.Loss,), ("keras.losses", "keras.metrics")),
    "metrics": ((keras.Metric, keras.Loss), ("keras.losses", "keras.metrics")),
}
"""By the end of a key: the classes that it may hold, and the modules whose functions it may name."""

_ANYWHERE = (_BUILDING_BLOCKS, ("keras.activations", "keras.ops", "keras.losses", "keras.metrics"))
_ACCESS = ("get", "serialize", "deserialize")
"""Functions of these modules that work on configurations instead of tensors."""

_TABLES = ("initializers", "regularizers", "constraints", "losses", "metrics", "optimizers", "dtype_policies")
_PACKAGES = ("keras", "keras_hub", "keras_cv", "keras_nlp")


class Verdict(Enum):
    """Whether an object may be built: `FINE`, or the reason against it."""

    FINE = "a part of Keras, or of the user's own modules, that belongs there"
    LAMBDA = "a Lambda layer, which calls a function"
    PROGRAM = "a layer that runs a program of another framework, or a SavedModel"
    MISPLACED = "in Keras, but not what belongs there"
    UNKNOWN = "neither in Keras nor in the user's own modules"


@dataclass(frozen=True)
class _NamedObject:
    """A class, a function, or what the user registered (`own`), with the name that leads to it."""

    value: Any
    name: str
    own: bool = False


def judge(node: Mapping[str, Any], key: str, custom: Mapping[str, Any]) -> Verdict:
    """Return whether a serialized object may be built under `key`; `custom` is the user's own code by name.

    An object that Keras could resolve in several ways must be fine in each of them.
    """
    candidates = list(_candidates(node, custom))
    verdicts = {_verdict(one, key) for one in candidates}
    for worst in (Verdict.LAMBDA, Verdict.PROGRAM):
        if worst in verdicts:
            return worst
    if node.get("module") is None and Verdict.FINE in verdicts:
        return Verdict.FINE  # a name in several tables, of which Keras uses the one that fits the key
    return Verdict.MISPLACED if Verdict.MISPLACED in verdicts else Verdict.FINE if candidates else Verdict.UNKNOWN


def reads_files(node: Mapping[str, Any], custom: Mapping[str, Any]) -> bool:
    """Tell whether an object is of a class of Keras or derived from one, which may read its vocabulary from a file."""
    classes = [one.value for one in _candidates(node, custom) if isinstance(one.value, type)]
    return any(base.__module__.split(".")[0] in _PACKAGES for value in classes for base in value.__mro__)


def _candidates(node: Mapping[str, Any], custom: Mapping[str, Any]) -> Iterator[_NamedObject]:
    """Yield everything that Keras might resolve a serialized object to."""
    kind, module = node["class_name"], node.get("module")
    function = kind == "function"
    name = node.get("config") if function else kind
    if not isinstance(name, str):
        return
    registered = node.get("registered_name")  # anything, in a damaged file
    names = {name, registered} if not function and isinstance(registered, str) else {name}
    for known in sorted(names):
        value = keras.saving.get_registered_object(known, dict(custom))
        if value is not None:
            yield _NamedObject(value, known, own=True)
    if not function:
        yield from _in_legacy_table(name)
    if module is None and not function:
        yield from _in_tables(name)
    elif module == "builtins" and function:
        for part in sorted(BUILTIN_MODULES):
            yield from _public(f"keras.{part}.{name}")
        yield from (_NamedObject(value, key, own=True) for key, value in custom.items() if key.endswith(f">{name}"))
    elif isinstance(module, str) and module.split(".")[0] in _PACKAGES:
        yield from _public(f"{module}.{name}")
        value = vars(sys.modules[module]).get(name) if module in sys.modules else None
        if isinstance(value, type):
            yield _NamedObject(value, f"{module}.{name}")


def _public(name: str) -> Iterator[_NamedObject]:
    value = api_export.get_symbol_from_name(name)
    if value is not None:
        yield _NamedObject(value, name)


def _in_legacy_table(name: str) -> Iterator[_NamedObject]:
    """Yield what the legacy loader finds under this name in any module, unless it is a plain layer."""
    value = vars(layers).get(name)
    if value is not None and not (isinstance(value, type) and not issubclass(value, (keras.layers.Lambda, *_PROGRAMS))):
        yield _NamedObject(value, name)


def _in_tables(name: str) -> Iterator[_NamedObject]:
    """Yield what this name may mean in a file without modules, as Keras 2 wrote it."""
    for table in (vars(layers), vars(models_of_keras), *(vars(getattr(keras, part)) for part in _TABLES)):
        if name in table:
            yield _NamedObject(table[name], name)


def _verdict(candidate: _NamedObject, key: str) -> Verdict:
    value = candidate.value
    if isinstance(value, type):
        if issubclass(value, keras.layers.Lambda):
            return Verdict.LAMBDA
        if issubclass(value, _PROGRAMS):
            return Verdict.PROGRAM
    if candidate.own:
        return Verdict.FINE
    classes, modules = next((place for end, place in _PLACES.items() if key.endswith(end)), _ANYWHERE)
    if isinstance(value, type):
        return Verdict.FINE if issubclass(value, classes) else Verdict.MISPLACED
    module, _, last = candidate.name.rpartition(".")
    inside = any(module == allowed or module.startswith(f"{allowed}.") for allowed in modules)
    return Verdict.FINE if inside and last not in _ACCESS else Verdict.MISPLACED
