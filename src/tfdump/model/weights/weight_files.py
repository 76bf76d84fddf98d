"""Files of weights alone, without a model: recognized, and read under the paths that they have in the file.

This module imports neither TensorFlow nor Keras. `tfdump.model.weights.into_model` gives the weights to a model.
"""

from pathlib import Path

import h5py

from tfdump.address import Candidate, encode
from tfdump.errors import ModelError
from tfdump.files.hdf5 import check_attributes, check_whole, damage
from tfdump.files.limits import check_bytes, default_max_bytes
from tfdump.files.paths import as_argument, check_path
from tfdump.model.loading.archive import opened_weights
from tfdump.model.loading.formats import sha256_of
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.runnable import FixedModel
from tfdump.model.weights.records import ModelWeights, WeightRequest, WeightTensor, weight_attributes
from tfdump.model.weights.stored_variables import StoredVariable, stored_variables, weight_files_of
from tfdump.tensors import Note, TensorInfo

LEGACY_LAYERS = "layer_names"
"""The attribute of a file of weights of Keras 2 that names the layers."""

_ENDINGS = (".weights.h5", ".weights.json")
_TOP_GROUPS = ("layers", "vars", "_layer_checkpoint_dependencies")
"""Groups of which a file of weights has one at least."""

_OTHERS = frozenset({"optimizer", "optimizer_weights", "metrics", "_metrics", "compile_metrics", "loss_tracker"})
"""Groups of a file of weights whose variables are not weights."""

_RANDOM = "seed_generator"
"""The group of the state of random numbers in a layer."""


def is_weight_file(path: Path) -> bool:
    """Tell whether a file holds weights of Keras alone; raises ModelError for a damaged file."""
    if path.name.endswith(_ENDINGS):
        return path.is_file()
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with damage(ModelError, str(path)), h5py.File(path, "r") as file:
        check_attributes(file, ModelError)
        if "model_config" in file.attrs or "format" in file.attrs:
            return False
        return has_legacy_layers(file) or any(name in file for name in _TOP_GROUPS)


def has_legacy_layers(file: h5py.File) -> bool:
    """Tell whether Keras 2 wrote a file of weights, by the names of layers."""
    return LEGACY_LAYERS in file.attrs or f"{LEGACY_LAYERS}0" in file.attrs  # a long list is cut into several


def checked_files(path: Path, limit: int) -> list[Path]:
    """Return the files that hold the variables of a file of weights, after examining everything in them.

    Raises ModelError for a file that is damaged or has links, and where they hold more than `limit` bytes together.
    """
    files, total = weight_files_of(path), 0
    for file in files:
        if not h5py.is_hdf5(file):
            raise ModelError(f"{file} is not an HDF5 file, so it holds no weights of Keras")
        with opened_weights(file) as (opened, name):
            total += check_whole(opened, name, limit, ModelError)
            if not len(opened):
                raise ModelError(f"{file} holds no weights")
    check_bytes(total, limit, f"{path} declares weights of", ModelError)
    return files


def open_weight_file(path: Path, max_bytes: int | None = None) -> LoadedModel:
    """Return a file of weights alone as a model whose weights have the paths in the file as addresses.

    Raises the errors of `checked_files`.
    """
    check_path(path, "file", ModelError)
    limit = default_max_bytes() if max_bytes is None else max_bytes
    files = checked_files(path, limit)
    beside = [file for file in files if file != path]
    return LoadedModel(WeightFile(path), path.name, sha256_of(path, beside), None, max_bytes=limit, path=path)


class WeightFile(FixedModel):
    """The weights in a file, of a model that is not known."""

    class_name = "weights"
    in_words = "a file of weights alone"
    computes = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def model_weights(self, request: WeightRequest, note: Note) -> ModelWeights:
        """Return the weights under their paths in the file; raises ModelError for what needs the model."""
        for option, is_set in (("--dequantize", request.dequantize), ("--optimizer", request.optimizer)):
            if is_set:
                raise ModelError(f"{option} needs the model, and {self._path} holds weights alone (add --like MODEL)")
        stored = {name: value for name, value in stored_variables(self._path).items() if is_weight(name)}
        if not stored:
            raise ModelError(f"{self._path} holds no weights")
        note(
            f"addresses are the paths in {self._path.name}, which does not tell those of its model (--like MODEL does)"
        )
        tensors = tuple(_tensor(name, value, order) for order, (name, value) in enumerate(stored.items()))
        dry = f"tfdump weights {as_argument(self._path)} --dry-run"
        return ModelWeights(tensors, advice=f"for addresses of the model, add --like MODEL; list the paths: {dry}")


def is_weight(path: str) -> bool:
    """Tell whether a path in a file is that of a weight, and not of the optimizer, of a metric or of random numbers."""
    parts = path.split("/")
    return parts[0] not in _OTHERS and not any(part.startswith(_RANDOM) for part in parts)


def _tensor(path: str, value: StoredVariable, order: int) -> WeightTensor:
    """Return a weight; its layer is the group that holds its variables."""
    parts = path.split("/")
    address = ".".join(map(encode, parts))
    layer = ".".join(map(encode, [part for part in parts[:-1] if part != "vars"]))
    attributes = weight_attributes(None, layer_name=value.layer_name)
    info = TensorInfo(address, layer, address, (), order, value.dtype, value.shape, attributes=attributes)
    names = filter(None, [layer, value.layer_name and encode(value.layer_name)])
    return WeightTensor(info, Candidate(address, (), tuple(Candidate(name) for name in names), layer), value.read)
