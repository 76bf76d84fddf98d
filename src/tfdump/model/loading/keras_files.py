"""Loading a saved Keras model: the file is checked before Keras reads it, and its own code does not run."""

import copy
import json
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
from keras import Layer

from tfdump.errors import ModelError
from tfdump.files.hdf5 import damage
from tfdump.model.any_backend_internals import serialization_lib
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.loading.archive import check_links, check_members, check_weights
from tfdump.model.loading.formats import is_of_keras_2, read_config, sha256_of
from tfdump.model.loading.keras2.config import adds_losses, without_modules
from tfdump.model.loading.keras2.left_out import layers_left_out
from tfdump.model.loading.keras2.load import load_archive, load_hdf5
from tfdump.model.loading.lambda_code import advice_on_names, names_for_lambdas
from tfdump.model.loading.load_errors import MOST_LAYERS_IN_A_ROW, explained
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.loading.named_imports import with_named_code
from tfdump.model.loading.trust import check_config
from tfdump.model.loading.user_code import UserCode
from tfdump.model.tracing.variable_limit import limited_variables

ADDED_LOSSES = "added_losses"
"""The key in a compile configuration that marks a Keras 2 model with losses that the Keras 3 model lacks."""


def load_keras_file(path: Path, trust: bool, custom: Mapping[str, Any] | None, limit: int) -> LoadedModel:
    """Check everything in a `.keras` file or folder or a legacy HDF5 model, then load it; raises as `load_model`."""
    code = custom if isinstance(custom, UserCode) else UserCode((), custom or {})
    if path.is_dir():
        check_links(path, trust)
    elif zipfile.is_zipfile(path):
        check_members(path, limit)
    config = read_config(path)
    compiled = _compile_config(path, config)
    words = config
    if is_keras_2 := is_of_keras_2(path):
        words, compiled = copy.deepcopy(config), copy.deepcopy(compiled)
        without_modules(words)
        without_modules(compiled)
        compiled |= {ADDED_LOSSES: True} if adds_losses(words) else {}
    whole = {**words, "compile_config": compiled}
    code = with_named_code(code, whole, str(path))
    check_config(whole, str(path), trust, code)
    stored = check_weights(path, limit)
    scope = serialization_lib.SafeModeScope(not trust)  # the user's module may have turned off safe mode globally
    try:
        with scope, names_for_lambdas(code), _long_chains(), limited_variables(limit, None if trust else stored):
            model = _load(path, words, dict(code), is_keras_2, safe_mode=not trust)
    except ModelError as cause:
        raise ModelError(f"{path}: {cause}") from cause
    except (Exception, SystemExit) as cause:  # Keras raises almost any class of error for a bad file
        raise_interruption(cause)
        advice = advice_on_names(cause)
        raise (ModelError(f"{path}: {advice}") if advice else explained(path, cause)) from cause
    text = json.dumps(config, ensure_ascii=False)
    left_out = tuple(layers_left_out(config, model)) if is_keras_2 else ()
    return LoadedModel(model, path.name, sha256_of(path), text, compiled, code, trust, limit, left_out, path)


@contextmanager
def _long_chains() -> Iterator[None]:
    """Let Keras build a model of more than a thousand layers in a row."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, MOST_LAYERS_IN_A_ROW))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _load(path: Path, config: dict[str, Any], custom: dict[str, Any], is_keras_2: bool, *, safe_mode: bool) -> Layer:
    if path.is_file() and path.suffix in (".h5", ".hdf5"):
        return load_hdf5(path, copy.deepcopy(config), custom, old=is_keras_2, safe_mode=safe_mode)
    if is_keras_2:
        return load_archive(path, copy.deepcopy(config), custom, safe_mode=safe_mode)
    place = (
        f"{path}{os.sep}" if path.is_dir() else path
    )  # without the separator, Keras opens the folder x.keras as a file
    return keras.models.load_model(place, custom_objects=custom, compile=False, safe_mode=safe_mode)


def _compile_config(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the compile configuration of a saved model; a legacy HDF5 file has it in an attribute of its own."""
    compiled: Any = config.get("compile_config")
    if compiled is None and path.is_file() and h5py.is_hdf5(path):
        with damage(ModelError, str(path)), h5py.File(path, "r") as file:
            text = file.attrs.get("training_config", "{}")
        try:
            compiled = json.loads(text.decode() if isinstance(text, bytes) else str(text))
        except (ValueError, RecursionError) as cause:
            raise ModelError(f"{path} is damaged: its training_config is not JSON ({first_line(cause)})") from cause
    return compiled if isinstance(compiled, dict) else {}
