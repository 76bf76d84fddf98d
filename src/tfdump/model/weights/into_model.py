"""The weights of a file in a model: `--like`. What does not fit is named before Keras loads anything."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from keras import Layer, Variable
from keras.optimizers import Optimizer

from tfdump.errors import ModelError
from tfdump.files.limits import allowed, default_max_bytes
from tfdump.files.paths import check_path
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.gradients.weights import weights_of
from tfdump.model.keras_internals import H5IOStore, legacy_h5_format, load_weights_only, save_state
from tfdump.model.loading.archive import opened_weights
from tfdump.model.loading.formats import sha256_of
from tfdump.model.loading.keras2.order import orders_of
from tfdump.model.loading.keras2.weights import load_legacy_weights, load_weights
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.recording.patching import replaced
from tfdump.model.recording.recorder import Recorder
from tfdump.model.weights.stored_variables import StoredVariable, stored_variables
from tfdump.model.weights.weight_files import LEGACY_LAYERS, checked_files, has_legacy_layers, is_weight

_KERAS_ENDINGS = ("weights.h5", "weights.json")
"""How the name of a file must end so that Keras reads it."""


@contextmanager
def with_weights_of_file(like: LoadedModel, path: Path, max_bytes: int | None = None) -> Iterator[LoadedModel]:
    """Give a Keras model the weights of a file; yield it as the model of that file.

    Afterwards, the model has the weights that it had. Raises ModelError where the file is damaged, and where it does
    not fit the model, with the first weight that does not.
    """
    check_path(path, "file", ModelError)
    model = like.model
    if not isinstance(model, Layer):
        raise ModelError(f"--like needs a Keras model, but {like.name} is not one (pass a .keras file)")
    limit = default_max_bytes() if max_bytes is None else max_bytes
    beside = [file for file in checked_files(path, limit) if file != path]
    before = [(variable, np.asarray(variable.value.numpy()).copy()) for variable in model.variables]
    try:
        with allowed(limit):
            _load(model, path, like)
        yield replace(like, name=path.name, sha256=sha256_of(path, beside), path=path, max_bytes=limit)
    finally:
        for variable, value in before:
            variable.assign(value)


def _load(model: Layer, path: Path, like: LoadedModel) -> None:
    stored = stored_variables(path)
    try:
        if _is_legacy(path):
            _load_legacy(model, path, like)
            return
        misfit = _misfit(model, stored)
        if misfit is None:
            _load_by_keras(model, path)
        elif any(value.layer_name for value in stored.values()) or not _load_of_keras_2(model, path, like):
            raise ModelError(misfit)
    except ModelError as cause:
        raise ModelError(
            f"{path.name} does not fit {like.name}: {cause} (pass the model from which it was saved)"
        ) from cause


def _load_by_keras(model: Layer, path: Path) -> None:
    if not path.name.endswith(_KERAS_ENDINGS):
        raise ModelError(f"Keras reads weights only from files called NAME.weights.h5 (rename {path.name})")
    try:
        with replaced(Optimizer, "load_own_variables", _leave_as_it_is):
            load_weights_only(model, path)
    except Exception as cause:  # layers of the user may raise anything
        raise_interruption(cause)
        raise ModelError(first_line(cause)) from cause


def _leave_as_it_is(_optimizer: Optimizer, _stored: Any) -> None:
    """Load nothing into the optimizer of a model of the user."""


def _is_legacy(path: Path) -> bool:
    if path.name.endswith(".json"):
        return False
    with opened_weights(path) as (file, _):
        return has_legacy_layers(file)


def _load_legacy(model: Layer, path: Path, like: LoadedModel) -> None:
    """Load a file of weights of Keras 2, which names the layers."""
    names = {layer.name for layer in model._flatten_layers()}
    with opened_weights(path) as (file, _):
        for name in legacy_h5_format.load_attributes_from_hdf5_group(file, LEGACY_LAYERS):
            if name not in names and len(file[name]):
                raise ModelError(f"the file holds a layer '{name}', and the model has none of this name")
        load_legacy_weights(model, orders_of(json.loads(like.config or "{}")), file)


def _load_of_keras_2(model: Layer, path: Path, like: LoadedModel) -> bool:
    """Load a file that Keras 2 may have written, whose paths are others; return whether it fits."""
    if path.name.endswith(".json"):
        return False
    try:
        with opened_weights(path) as (file, _):
            load_weights(model, orders_of(json.loads(like.config or "{}")), file, None)
    except ModelError:
        return False
    return True


class _Places(H5IOStore):  # type: ignore[misc]  # Keras has no types
    """Takes the place of a file to which Keras saves a model: what it would hold, by path."""

    def __init__(self) -> None:
        self.saved: dict[str, tuple[str, dict[str, Any]]] = {}

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
        """Return the place of the variables of one object."""
        return self.saved.setdefault(path, (str((metadata or {}).get("name", path)), {}))[1]


def _misfit(model: Layer, stored: dict[str, StoredVariable]) -> str | None:
    """Return the first weight of a model that a file does not hold as it is, in words; None where all fit."""
    places = _Places()
    save_state(model, places, None, "", set())
    addresses = {id(weight.variable): weight.address for weight in weights_of(model, Recorder(model))}
    expected: set[str] = set()
    for path, (name, variables) in places.saved.items():
        for key, value in variables.items():
            place = "/".join(filter(None, [path, "vars", key]))
            expected.add(place)
            if not is_weight(place):
                continue
            own = getattr(value, "name", key) if isinstance(value, Variable) else key
            address = addresses.get(id(value), f"{name}.{own}")
            shape = tuple(int(size) for size in value.shape)
            if place not in stored:
                return f"the file has no value for {address} ({place})"
            if stored[place].shape != shape:
                return f"{address} has the shape {shape} in the model, and {stored[place].shape} in the file ({place})"
    for place, value in stored.items():
        if place not in expected and is_weight(place):
            layer = f" of the layer '{value.layer_name}'" if value.layer_name else ""
            return f"the file holds {place}{layer}, and the model has no such weight"
    return None
