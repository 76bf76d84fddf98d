"""The weights of a model of any kind; TensorFlow and Keras are imported only for those that need them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.errors import ModelError
from tfdump.files.limits import allowed, default_max_bytes
from tfdump.files.paths import check_path
from tfdump.model.loading.formats import KERAS, SAVED_MODEL, TFLITE, kind_of_file, sha256_of
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.runnable import FixedModel
from tfdump.model.weights.records import ModelWeights, WeightRequest
from tfdump.process.stages import Stage, silent_stage
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.weights.onnx import OnnxWeights
    from tfdump.model.weights.saved_model import SavedModelWeights
    from tfdump.model.weights.tflite import LiteWeights


@dataclass(frozen=True)
class Loaders:
    """What loads a model with the options of a command or of a call of Python.

    `model` loads the whole model, and `like` that of `--like` with a signature, None without one. `tensorflow` starts
    TensorFlow for a file that is read and not loaded.
    """

    model: Callable[[], LoadedModel]
    like: Callable[[str | None], LoadedModel] | None
    tensorflow: Callable[[], object]


@contextmanager
def opened_for_weights(
    path: Path, loaders: Loaders, signature: str | None, max_bytes: int | None, stage: Stage = silent_stage
) -> Iterator[LoadedModel]:
    """Open a file of any kind for its weights; those of a file of weights are in the model of `--like` until the end.

    Raises ModelError where the file cannot be opened, and where it does not fit the model of `--like`.
    """
    from tfdump.model.weights.weight_files import is_weight_file, open_weight_file

    if holds_graph(path):
        yield _graph(path, loaders, signature, max_bytes, stage)
    elif not is_weight_file(path):
        yield loaders.model()
    elif loaders.like is None:
        yield open_weight_file(path, max_bytes)
    else:
        like = loaders.like(signature)
        from tfdump.model.weights.into_model import with_weights_of_file

        with with_weights_of_file(like, path, max_bytes) as loaded:
            yield loaded


def _graph(path: Path, loaders: Loaders, signature: str | None, max_bytes: int | None, stage: Stage) -> LoadedModel:
    """Open a SavedModel, `.tflite` or `.onnx` file for its weights, which the model of `--like` names."""
    from tfdump.model.loading.load import needs_tensorflow

    if loaders.like is None and needs_tensorflow(path):
        loaders.tensorflow()
    like = None if loaders.like is None else loaders.like(None)
    stage(f"Reading {path.name}")
    opened = open_graph(path, signature, max_bytes)
    if like is not None:
        from tfdump.model.like import name_like

        name_like(opened, like)
    return opened


def weights_in(loaded: "LoadedModel", request: WeightRequest, note: Note) -> ModelWeights:
    """Return the weights of a model; raises ModelError where they cannot be read, or not as the request asks."""
    if isinstance(loaded.model, FixedModel):
        return loaded.model.model_weights(request, note)
    from tfdump.model.weights.keras_weights import weights_of_keras

    return weights_of_keras(loaded, request, note)


def holds_graph(path: Path) -> bool:
    """Tell whether a file is a graph whose weights are read without loading it: a SavedModel, `.tflite` or `.onnx`.

    Raises ModelError where there is no such file.
    """
    check_path(path, "model", ModelError)
    return kind_of_file(path) != KERAS


def open_graph(path: Path, signature: str | None = None, max_bytes: int | None = None) -> LoadedModel:
    """Open a SavedModel, a `.tflite` or an `.onnx` file for its weights alone. Nothing of it can run.

    `signature` selects the graph whose layers name the weights. Raises ModelError for a file that is damaged, has no
    such signature, or requests more than `max_bytes`.
    """
    limit = default_max_bytes() if max_bytes is None else max_bytes
    with allowed(limit):
        graph = _opened(path, signature)
    return LoadedModel(graph, path.name, sha256_of(path, graph.files), graph.config, max_bytes=limit, path=path)


def _opened(path: Path, signature: str | None) -> "SavedModelWeights | LiteWeights | OnnxWeights":
    kind = kind_of_file(path)
    if kind == SAVED_MODEL:
        from tfdump.model.weights.saved_model import SavedModelWeights

        return SavedModelWeights(path, signature)
    if kind == TFLITE:
        from tfdump.model.weights.tflite import LiteWeights

        return LiteWeights(path, signature)
    from tfdump.model.weights.onnx import OnnxWeights

    return OnnxWeights(path, signature)
