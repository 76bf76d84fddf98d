"""The variables of an optimizer: which of them belongs to which weight, and their values in memory or in a file.

A file numbers the variables of an optimizer and does not name them. They are in the order in which the optimizer
creates them, so an optimizer of the same configuration is built for the same weights, and watched.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from keras import Variable
from keras.optimizers import Optimizer

from tfdump.address import Candidate, encode
from tfdump.dump import layout
from tfdump.errors import ModelError
from tfdump.model.any_backend_internals import serialization_lib
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.free_names import free_name
from tfdump.model.gradients.weights import Weight
from tfdump.model.keras_internals import legacy_h5_format
from tfdump.model.loading.archive import opened_weights
from tfdump.model.loading.formats import is_of_keras_2
from tfdump.model.recording.ownership import class_names
from tfdump.model.recording.patching import replaced
from tfdump.model.weights.quantized import numbers
from tfdump.model.weights.records import WeightTensor
from tfdump.model.weights.stored_variables import StoredVariable, stored_variables
from tfdump.model.weights.weight_files import is_weight_file
from tfdump.tensors import Note, TensorInfo

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

_LEGACY = "optimizer_weights"
"""The group of a legacy HDF5 file that holds the variables of the optimizer."""

_MADE_UP = re.compile(r"variable(_[0-9]+)?")
"""What Keras calls a variable for which it got no name."""

_OWN = "optimizer/vars/"
"""How the paths of the variables of the optimizer begin in the other files."""


@dataclass(frozen=True)
class _Slot:
    """What a variable of an optimizer is: the name of its slot, and the weight, None for one without a weight."""

    name: str
    weight: Variable | None = None


def optimizer_tensors(loaded: "LoadedModel", weights: Sequence[Weight], note: Note) -> list[WeightTensor]:
    """Return the variables of the optimizer of a model: its own first, then slot by slot.

    Raises ModelError for a model without an optimizer, and where the variables in the file do not fit it.
    """
    optimizer, values = _optimizer_and_values(loaded)
    variables = optimizer.variables
    untrained = len(variables)
    slots = _build(optimizer, loaded.model.trainable_weights)
    if len(values) == untrained < len(optimizer.variables):
        note(f"the optimizer of {loaded.name} has taken no step, so it holds nothing about the weights yet")
    else:
        variables = optimizer.variables
    _check_fit(loaded.name, optimizer, variables, values)
    by_variable = {id(weight.variable): weight for weight in weights}
    names: dict[str, set[str]] = {layout.OPTIMIZER: set()}
    tensors = []
    for variable, value in zip(variables, values, strict=True):
        slot = slots.get(id(variable), _Slot(str(variable.name)))
        tensors.append(_tensor(slot, by_variable.get(id(slot.weight)), value, class_names(optimizer), names))
    groups = list(names)
    return sorted(tensors, key=lambda tensor: groups.index(tensor.group))


def _tensor(
    slot: _Slot, weight: Weight | None, value: StoredVariable, classes: tuple[str, ...], names: dict[str, set[str]]
) -> WeightTensor:
    """Return one variable of an optimizer of these `classes`; `names` are those in use in each group."""
    group = layout.OPTIMIZER if weight is None else f"{layout.OPTIMIZER}/{encode(slot.name)}"
    used = names.setdefault(group, set())
    address = free_name(encode(slot.name) if weight is None else weight.address, used)
    used.add(address)
    if weight is None:
        info = TensorInfo(address, address, address, classes, len(used) - 1, value.dtype, value.shape)
        candidate = Candidate(address, classes)
    else:
        info = TensorInfo(
            address, weight.layer, weight.structure, weight.classes, len(used) - 1, value.dtype, value.shape
        )
        candidate = weight.candidate
    return WeightTensor(info, candidate, value.read, group)


def _optimizer_and_values(loaded: "LoadedModel") -> tuple[Optimizer, list[StoredVariable]]:
    """Return a new optimizer of the configuration of the model, which is not built, and the values of its variables."""
    if loaded.path is None:
        optimizer = getattr(loaded.model, "optimizer", None)
        if not isinstance(optimizer, Optimizer):
            raise ModelError(f"--optimizer: the model '{loaded.name}' has no optimizer (compile it)")
        return _like(optimizer), [_in_memory(variable) for variable in optimizer.variables]
    alone = is_weight_file(loaded.path)
    compiled = loaded.compile_config
    config = compiled.get("optimizer") or compiled.get("optimizer_config")
    like = getattr(loaded.model, "optimizer", None) if alone else None
    if alone and not config and not isinstance(like, Optimizer):
        raise ModelError(
            f"--optimizer: the model of --like has no optimizer, which would tell what the variables in {loaded.name} "
            "are (pass a model that was compiled before it was saved)"
        )
    if not config and like is None:
        raise ModelError(
            f"--optimizer: {loaded.name} was saved without an optimizer (compile the model before you save it)"
        )
    if not alone and is_of_keras_2(loaded.path):
        raise ModelError(
            f"--optimizer: Keras 2 saved {loaded.name}, and its optimizers have other variables (leave it out)"
        )
    values = _in_file(loaded.path)
    if not values:
        how = "compile the model before you save its weights" if alone else "save it with include_optimizer=True"
        raise ModelError(f"--optimizer: {loaded.name} holds no variables of an optimizer ({how})")
    return _deserialized(loaded, config) if config else _like(like), values


def _like(optimizer: Any) -> Optimizer:
    """Return a new optimizer of the configuration of another one."""
    return type(optimizer).from_config(optimizer.get_config())


def _deserialized(loaded: "LoadedModel", config: Any) -> Optimizer:
    try:
        with serialization_lib.SafeModeScope(not loaded.trusted):
            deserialize = serialization_lib.deserialize_keras_object if config.get("module") else _by_name
            optimizer = deserialize(config, dict(loaded.custom))
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is no optimizer of Keras 3")
    except Exception as cause:  # Keras raises almost any class of error for a bad configuration
        raise_interruption(cause)
        raise ModelError(
            f"--optimizer: the optimizer of {loaded.name} cannot be created ({first_line(cause)})"
        ) from cause
    return optimizer


_by_name = keras.optimizers.deserialize
"""Finds an optimizer by the name of its class alone, but not each one that Keras has."""


def _in_memory(variable: Variable) -> StoredVariable:
    dtype = str(keras.backend.standardize_dtype(variable.dtype))
    return StoredVariable(dtype, tuple(int(size) for size in variable.shape), partial(numbers, variable))


def _in_file(path: Path) -> list[StoredVariable]:
    """Return the variables of the optimizer in a file, in the order in which it has them."""
    stored = stored_variables(path)
    if any(name.startswith(f"{_LEGACY}/") for name in stored):
        with opened_weights(path) as (file, _):
            names = legacy_h5_format.load_attributes_from_hdf5_group(file[_LEGACY], "weight_names")
        return [stored[f"{_LEGACY}/{name}"] for name in names if f"{_LEGACY}/{name}" in stored]
    numbered = {name.removeprefix(_OWN): value for name, value in stored.items() if name.startswith(_OWN)}
    return [numbered[str(number)] for number in range(len(numbered)) if str(number) in numbered]


def _build(optimizer: Optimizer, weights: Sequence[Variable]) -> dict[int, _Slot]:
    """Build an optimizer for weights; return the slots by the identities of its variables."""
    slots: dict[int, _Slot] = {}
    original = Optimizer.add_variable_from_reference

    def watched(self: Optimizer, reference_variable: Any, name: str | None = None, *args: Any, **options: Any) -> Any:
        variable = original(self, reference_variable, name, *args, **options)
        slots[id(variable)] = _Slot(name or "var", reference_variable)
        return variable

    with replaced(Optimizer, "add_variable_from_reference", watched):
        optimizer.build(list(weights))
    for part in _parts(optimizer):
        for variable, slot in _listed_slots(part):
            slots.setdefault(id(variable), slot)
    return slots


def _parts(optimizer: Optimizer) -> Iterator[Optimizer]:
    """Yield an optimizer and those that it wraps."""
    yield optimizer
    inner = getattr(optimizer, "inner_optimizer", None)
    for other in [*([] if inner is None else [inner]), *getattr(optimizer, "optimizers", [])]:
        yield from _parts(other)


def _listed_slots(optimizer: Optimizer) -> Iterator[tuple[Variable, _Slot]]:
    """Yield the variables in lists with one item per weight and its name, whose slot has the name of the list.

    Adafactor has such variables, whose shapes are not those of the weights. A variable that is an attribute, and for
    which Keras made up a name that differs from run to run, has the name of the attribute, as in Nadam.
    """
    own = {id(variable) for variable in optimizer.variables}
    weights = optimizer._trainable_variables
    for name, items in vars(optimizer).items():
        if isinstance(items, Variable) and id(items) in own and _MADE_UP.fullmatch(items.name):
            yield items, _Slot(name.strip("_"))
        if isinstance(items, list) and len(items) == len(weights) and items is not weights:
            for item, weight in zip(items, weights, strict=True):
                if isinstance(item, Variable) and id(item) in own and item.name == weight.name:
                    yield item, _Slot(name.strip("_"), weight)


def _check_fit(
    name: str, optimizer: Optimizer, variables: Sequence[Variable], values: Sequence[StoredVariable]
) -> None:
    """Raise ModelError where the values in a file are not those of the variables of its optimizer."""
    kind = type(optimizer).__name__
    if len(variables) != len(values):
        raise ModelError(
            f"--optimizer: {name} holds {len(values)} variables of its optimizer, and {kind} has {len(variables)} for "
            "the trainable weights of the model (were layers frozen after compile? then compile again before saving)"
        )
    for number, (variable, value) in enumerate(zip(variables, values, strict=True)):
        shape = tuple(int(size) for size in variable.shape)
        if shape != value.shape:
            raise ModelError(
                f"--optimizer: variable {number} of the optimizer in {name} has the shape {value.shape}, and that of "
                f"{kind} for the trainable weights of the model has {shape}"
            )
