"""Loading models of Keras 2, and legacy HDF5 models of Keras 3, from a translated configuration."""

import io
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import keras
from keras import Layer

from tfdump.files.formats import KERAS_WEIGHTS
from tfdump.model.any_backend_internals import serialization_lib
from tfdump.model.keras_internals import legacy_h5_format, saving_options, saving_utils, serialization
from tfdump.model.loading.keras2.config import HARD_SIGMOID, modernize
from tfdump.model.loading.keras2.masks import masks_beside_states
from tfdump.model.loading.keras2.operations import OPERATIONS
from tfdump.model.loading.keras2.order import orders_of
from tfdump.model.loading.keras2.weights import load_legacy_weights, load_weights

_ASSETS = "assets"


def load_hdf5(path: Path, config: dict[str, Any], custom: Mapping[str, Any], *, old: bool, safe_mode: bool) -> Layer:
    """Return the model of a legacy HDF5 file, uncompiled; `config` is its architecture, which is changed in place.

    `old` tells that Keras 2 wrote it; `without_modules` must be called first then. Raises the errors of Keras, and
    ModelError for features that only Keras 2 has.
    """
    modernize(config, old)
    orders = orders_of(config)
    with masks_beside_states() if old else nullcontext():
        model = _model(config, custom, safe_mode)
    with h5py.File(path, "r") as file:
        weights = legacy_h5_format.safe_get_h5_group(file, "model_weights")
        if old:
            load_legacy_weights(model, orders, weights)
        else:
            legacy_h5_format.load_weights_from_hdf5_group(weights, model)
    return model


def load_archive(path: Path, config: dict[str, Any], custom: Mapping[str, Any], *, safe_mode: bool) -> Layer:
    """Return the model of a `.keras` archive of Keras 2 or of its folder, uncompiled.

    `config` is its architecture without modules (`without_modules`), which is changed in place. Raises the errors of
    Keras, and ModelError for features that only Keras 2 has and for weights that do not fit.
    """
    modernize(config, old=True)
    orders = orders_of(config)
    with masks_beside_states():
        model = _model(config, custom, safe_mode)
    if path.is_dir():
        with h5py.File(path / KERAS_WEIGHTS, "r") as file:
            load_weights(model, orders, file, path / _ASSETS)
        return model
    with (
        zipfile.ZipFile(path) as archive,
        h5py.File(io.BytesIO(archive.read(KERAS_WEIGHTS)), "r") as file,
        tempfile.TemporaryDirectory() as folder,
    ):
        assets = [name for name in archive.namelist() if name.startswith(f"{_ASSETS}/")]
        archive.extractall(folder, assets)
        load_weights(model, orders, file, Path(folder) / _ASSETS)
    return model


def _model(config: dict[str, Any], custom: Mapping[str, Any], safe_mode: bool) -> Layer:
    """Return the model of a configuration, with new weights."""
    known = {
        HARD_SIGMOID: _hard_sigmoid, **OPERATIONS, **custom, **keras.saving.get_custom_objects()
    }  # fmt: skip
    legacy = saving_options.keras_option_scope(use_legacy_config=True)
    shared = serialization.SharedObjectLoadingScope(), serialization_lib.ObjectSharingScope()
    with legacy, shared[0], shared[1], serialization_lib.SafeModeScope(safe_mode):
        if "module" in config:
            return serialization_lib.deserialize_keras_object(config, known, safe_mode)
        return saving_utils.model_from_config(config, custom_objects=known)


def _hard_sigmoid(x: Any) -> Any:
    """Return the `hard_sigmoid` of Keras 2; that of Keras 3 is relu6(x + 3) / 6."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)
