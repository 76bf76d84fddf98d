"""What kind of model a file or folder is, looked at before anything loads it, and its hash."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py

from tfdump.errors import ModelError
from tfdump.files.hdf5 import check_attributes, damage
from tfdump.model.error_text import first_line
from tfdump.model.loading.archive import DAMAGED_ARCHIVE

KERAS, SAVED_MODEL, TFLITE = "keras", "SavedModel", "TFLite"
"""The kinds of models that can be read."""

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights"
_LARGEST_CONFIG = 256 << 20
_TFLITE_MARK = b"TFL3"
"""The file identifier of a TFLite FlatBuffer, at byte 4."""


def kind_of_file(path: Path) -> str:
    """Return the kind of a model, by what it looks like; what is none of the others is taken for Keras's."""
    if path.is_dir():
        _check_regular(path)
        return SAVED_MODEL if any((path / f"saved_model.{end}").exists() for end in ("pb", "pbtxt")) else _folder(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as cause:
        raise ModelError(f"cannot read {path}: {cause.strerror}") from cause
    if start[4:8] == _TFLITE_MARK:
        return TFLITE
    if path.suffix == ".tflite" and start:
        raise ModelError(f"{path} is not a TFLite model: it does not begin as one (bytes 4 to 8 are not 'TFL3')")
    return KERAS


def _check_regular(folder: Path) -> None:
    """Raise ModelError for a folder with anything but files and folders in it, such as a pipe, or a dangling link."""
    for item in folder.rglob("*"):
        if not (item.is_file() or item.is_dir()):
            raise ModelError(f"{item} is neither a file nor a folder, so {folder} cannot be read as a model")


def _folder(path: Path) -> str:
    """Return the kind of a folder without a `saved_model.pb`; raises ModelError for the rest of a SavedModel."""
    if not (path / _CONFIG).exists() and (path / "variables").is_dir():
        raise ModelError(f"{path} is a SavedModel directory without its saved_model.pb")
    return KERAS


def read_config(path: Path) -> dict[str, Any]:
    """Return the architecture that a model file holds, without loading the model."""
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
        raise ModelError(f"{path} is damaged: its {_CONFIG} is not JSON ({first_line(cause)})") from cause
    except DAMAGED_ARCHIVE as cause:
        raise ModelError(f"cannot read {path}: {first_line(cause)}") from cause
    if not isinstance(config, dict):
        raise ModelError(f"{path} is damaged: its {_CONFIG} describes no model")
    return config


def is_of_keras_2(path: Path) -> bool:
    """Tell whether a `.keras` archive, the folder of one, or a legacy HDF5 file says that Keras 2 wrote it."""
    try:
        version = _version_of(path)
    except (*DAMAGED_ARCHIVE, KeyError, RecursionError):  # Keras 3 does not read it
        return False
    return version.startswith(("1.", "2"))


def _version_of(path: Path) -> str:
    """Return the version of Keras that a model file names; legacy files of the first ones name none."""
    if path.is_file() and not zipfile.is_zipfile(path):
        with h5py.File(path, "r") as file:
            version = file.attrs.get("keras_version", "2")
            return version.decode() if isinstance(version, bytes) else str(version)
    if path.is_dir():
        text = (path / _METADATA).read_text()
    else:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_METADATA).decode()
    metadata = json.loads(text)
    return str(metadata.get("keras_version")) if isinstance(metadata, dict) else ""


def _config_of_folder(path: Path) -> str:
    if not (path / _CONFIG).is_file():
        raise ModelError(f"{path} is a folder without {_CONFIG} and saved_model.pb, not a saved model")
    if not any(path.glob(f"{_WEIGHTS}*")):
        raise ModelError(f"{path} is incomplete: {_WEIGHTS}.h5 is missing")
    if (path / _CONFIG).stat().st_size > _LARGEST_CONFIG:
        raise ModelError(f"{path}: its {_CONFIG} is larger than {_LARGEST_CONFIG >> 20} MiB")
    return (path / _CONFIG).read_text()


def _config_of_archive(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        if _CONFIG not in archive.namelist():
            raise ModelError(f"{path} is a zip archive without {_CONFIG}, not a .keras model")
        if archive.getinfo(_CONFIG).file_size > _LARGEST_CONFIG:
            raise ModelError(f"{path}: its {_CONFIG} is larger than {_LARGEST_CONFIG >> 20} MiB")
        if path.suffix != ".keras":
            raise ModelError(f"{path} is a .keras archive under another name (rename it to {path.stem}.keras)")
        if not any(name.startswith(_WEIGHTS) for name in archive.namelist()):
            raise ModelError(f"{path} is incomplete: its {_WEIGHTS}.h5 is missing")
        return archive.read(_CONFIG).decode()


def _config_of_hdf5(path: Path) -> str:
    with damage(ModelError, str(path)), h5py.File(path, "r") as file:
        check_attributes(file, ModelError)
        if file.attrs.get("format") == "tfdump":
            raise ModelError(f"{path} is a dump of tfdump, not a model")
        if "model_config" not in file.attrs:
            raise ModelError(
                f"{path} is an HDF5 file without a model (weights alone cannot be run: save the whole model)"
            )
        if path.suffix not in (".h5", ".hdf5"):
            raise ModelError(f"{path} is a legacy HDF5 model under another name (rename it to {path.stem}.h5)")
        config = file.attrs["model_config"]
        return config.decode() if isinstance(config, bytes) else str(config)


def _not_a_model(path: Path) -> str:
    size = path.stat().st_size
    if size == 0:
        return f"{path} is empty (0 bytes)"
    with path.open("rb") as stream:
        start = stream.read(4)
    if start == b"PK\x03\x04":
        return f"{path} is truncated: a .keras archive whose end is missing"
    if start == b"\x93NUM":
        return f"{path} is an array, not a model (the model comes first: tfdump activations MODEL INPUT)"
    return f"{path} is not a saved model (.keras, .h5, .tflite, or a folder that Keras or TensorFlow wrote)"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names in sorted order."""
    digest = hashlib.sha256()
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
