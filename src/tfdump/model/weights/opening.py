"""The weights of a model of any kind; TensorFlow and Keras are imported only for those that need them."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.errors import ModelError
from tfdump.files.limits import allowed, default_max_bytes
from tfdump.files.paths import check_path
from tfdump.model.loading.formats import KERAS, SAVED_MODEL, TFLITE, kind_of_file, sha256_of
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.runnable import FixedModel
from tfdump.model.weights.records import ModelWeights, WeightRequest
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.weights.onnx import OnnxWeights
    from tfdump.model.weights.saved_model import SavedModelWeights
    from tfdump.model.weights.tflite import LiteWeights


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
