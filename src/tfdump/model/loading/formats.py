"""The kind of model that a file or folder holds, its architecture and its hash, all read before it is loaded."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py

from tfdump.errors import ModelError
from tfdump.files.formats import (
    KERAS_CONFIG,
    KERAS_METADATA,
    ONNX_SUFFIX,
    SAVED_MODEL_GRAPH,
    SAVED_MODEL_TEXT,
    Mark,
    mark_of,
)
from tfdump.files.hdf5 import check_attributes, damage
from tfdump.model.error_text import first_line
from tfdump.model.loading.archive import DAMAGED_ARCHIVE

KERAS, SAVED_MODEL, TFLITE, ONNX = "keras", "SavedModel", "TFLite", "ONNX"
"""The kinds of models that tfdump can load."""

_WEIGHTS = "model.weights"
"""How the name of the weights begins: one file, or several shards and an index."""

_LARGEST_CONFIG = 256 << 20


def kind_of_file(path: Path) -> str:
    """Return the kind of a model by its content; anything that is neither of the others counts as Keras."""
    if path.is_dir():
        _check_regular(path)
        is_saved_model = any((path / name).exists() for name in (SAVED_MODEL_GRAPH, SAVED_MODEL_TEXT))
        return SAVED_MODEL if is_saved_model else _folder(path)
    mark = mark_of(path, ModelError)
    if mark is Mark.TFLITE:
        return TFLITE
    if path.suffix == ".tflite" and mark is not Mark.EMPTY:
        raise ModelError(f"{path} is not a TFLite model: its bytes 4 to 8 are not 'TFL3'")
    if path.suffix == ONNX_SUFFIX and mark is Mark.OTHER:
        return ONNX
    return KERAS


def _check_regular(folder: Path) -> None:
    """Raise ModelError for a folder that contains anything but files and folders, such as a pipe or a dangling link."""
    for item in folder.rglob("*"):
        if not (item.is_file() or item.is_dir()):
            raise ModelError(f"{item} is neither a file nor a folder, so {folder} cannot be read as a model")


def _folder(path: Path) -> str:
    """Return the kind of a folder without a `saved_model.pb`; raises ModelError for an incomplete SavedModel."""
    if not (path / KERAS_CONFIG).exists() and (path / "variables").is_dir():
        raise ModelError(f"{path} is a SavedModel directory without its saved_model.pb")
    return KERAS


def read_config(path: Path) -> dict[str, Any]:
    """Return the architecture in a model file as a JSON object, without loading the model."""
    try:
        if path.is_dir():
            text = _config_of_folder(path)
        elif zipfile.is_zipfile(path):
            text = _config_of_archive(path)
        elif h5py.is_hdf5(path):
            text = _config_of_hdf5(path)
        else:
            raise ModelError(_not_a_model(path))
        config: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise ModelError(f"{path} is damaged: its {KERAS_CONFIG} is not JSON ({first_line(cause)})") from cause
    except DAMAGED_ARCHIVE as cause:
        raise ModelError(f"cannot read {path}: {first_line(cause)}") from cause
    if not isinstance(config, dict):
        raise ModelError(f"{path} is damaged: its {KERAS_CONFIG} describes no model")
    return config


def is_of_keras_2(path: Path) -> bool:
    """Tell whether a `.keras` archive, the folder of one, or a legacy HDF5 file names Keras 2 as its writer."""
    try:
        version = version_of(path)
    except (*DAMAGED_ARCHIVE, KeyError, RecursionError):  # a file that Keras 3 rejects too
        return False
    return version.startswith(("1.", "2"))


def version_of(path: Path) -> str:
    """Return the version of Keras in a model file; the oldest legacy files have none, which counts as 2."""
    if path.is_file() and not zipfile.is_zipfile(path):
        with h5py.File(path, "r") as file:
            version = file.attrs.get("keras_version", "2")
            return version.decode() if isinstance(version, bytes) else str(version)
    if path.is_dir():
        text = (path / KERAS_METADATA).read_text()
    else:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(KERAS_METADATA).decode()
    metadata = json.loads(text)
    return str(metadata.get("keras_version")) if isinstance(metadata, dict) else ""


def _config_of_folder(path: Path) -> str:
    if not (path / KERAS_CONFIG).is_file():
        raise ModelError(f"{path} is not a saved model: the folder has neither {KERAS_CONFIG} nor saved_model.pb")
    if not any(path.glob(f"{_WEIGHTS}*")):
        raise ModelError(f"{path} is incomplete: {_WEIGHTS}.h5 is missing")
    if (path / KERAS_CONFIG).stat().st_size > _LARGEST_CONFIG:
        raise ModelError(f"{path}: its {KERAS_CONFIG} is larger than {_LARGEST_CONFIG >> 20} MiB")
    return (path / KERAS_CONFIG).read_text()


def _config_of_archive(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        if KERAS_CONFIG not in archive.namelist():
            raise ModelError(f"{path} is a zip archive without {KERAS_CONFIG}, not a .keras model")
        if archive.getinfo(KERAS_CONFIG).file_size > _LARGEST_CONFIG:
            raise ModelError(f"{path}: its {KERAS_CONFIG} is larger than {_LARGEST_CONFIG >> 20} MiB")
        if path.suffix != ".keras":
            raise ModelError(f"{path} is a .keras archive under another name (rename it to {path.stem}.keras)")
        if not any(name.startswith(_WEIGHTS) for name in archive.namelist()):
            raise ModelError(f"{path} is incomplete: its {_WEIGHTS}.h5 is missing")
        return archive.read(KERAS_CONFIG).decode()


def _config_of_hdf5(path: Path) -> str:
    with damage(ModelError, str(path)), h5py.File(path, "r") as file:
        check_attributes(file, ModelError)
        if file.attrs.get("format") == "tfdump":
            raise ModelError(f"{path} is a dump of tfdump, not a model")
        if "model_config" not in file.attrs:
            raise ModelError(f"{path} is an HDF5 file without a model (weights alone cannot run: save the whole model)")
        if path.suffix not in (".h5", ".hdf5"):
            raise ModelError(f"{path} is a legacy HDF5 model under another name (rename it to {path.stem}.h5)")
        config = file.attrs["model_config"]
        return config.decode() if isinstance(config, bytes) else str(config)


def _not_a_model(path: Path) -> str:
    mark = mark_of(path, ModelError)
    if mark is Mark.EMPTY:
        return f"{path} is empty (0 bytes)"
    if mark is Mark.ZIP:
        return f"{path} is truncated: the end of the .keras archive is missing"
    if mark is Mark.NPY:
        return f"{path} is an array, not a model (the model comes first: tfdump activations MODEL INPUT)"
    return f"{path} is not a saved model (.keras, .h5, .tflite, .onnx, or a folder that Keras or TensorFlow wrote)"


def sha256_of(path: Path, beside: Sequence[Path] = ()) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names in sorted order.

    Files `beside` a file that belong to it follow it, with their names.
    """
    digest = hashlib.sha256()
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path, *beside]
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        elif file is not path:
            digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
