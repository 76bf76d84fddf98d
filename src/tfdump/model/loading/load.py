"""Loading a saved model of any format; TensorFlow and Keras are imported only for those that need them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.byte_sizes import parse_bytes
from tfdump.errors import ModelError
from tfdump.files.limits import allowed, default_max_bytes
from tfdump.files.paths import check_path
from tfdump.model.loading.formats import ONNX, SAVED_MODEL, TFLITE, kind_of_file, sha256_of
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.runnable import FixedModel
from tfdump.model.tflite.runtime import TENSORFLOW, litert_is_installed

if TYPE_CHECKING:
    from keras import Layer


def load_model(
    path: Path,
    *,
    trust: bool = False,
    custom: Mapping[str, Any] | None = None,
    signature: str | None = None,
    max_bytes: int | str | None = None,
) -> LoadedModel:
    """Load a Keras model (uncompiled), a SavedModel, a `.tflite` file or an `.onnx` file.

    `signature` selects one of the signatures of a SavedModel or a `.tflite` file. `max_bytes` is the memory that the
    file may request, by default a quarter of that of the machine.

    Raises UntrustedModelError when the file contains code and `trust` is False, and ModelError when it is not a model,
    is damaged, requests too much memory, or needs classes that were not imported.
    """
    number = parse_bytes(max_bytes) if isinstance(max_bytes, str) else max_bytes
    limit = default_max_bytes() if number is None else number
    check_path(path, "model", ModelError)
    kind = kind_of_file(path)
    with allowed(limit):
        if kind == SAVED_MODEL:
            from tfdump.model.loading.trust import check_saved_model

            check_saved_model(str(path), trust)
            from tfdump.model.saved_model.graph import load_saved_model

            graph = load_saved_model(path, signature)
            return LoadedModel(graph, path.name, sha256_of(path), graph.config, trusted=trust, max_bytes=limit)
        if kind == TFLITE:
            from tfdump.model.tflite.interpreter import load_tflite

            lite = load_tflite(path, signature)
            return LoadedModel(lite, path.name, sha256_of(path), lite.config, trusted=trust, max_bytes=limit)
        if kind == ONNX:
            from tfdump.model.onnx.model import files_of, load_onnx

            onnx = load_onnx(path, signature)
            digest = sha256_of(path, files_of(onnx))
            return LoadedModel(onnx, path.name, digest, onnx.config, trusted=trust, max_bytes=limit)
        if signature is not None:
            raise ModelError(
                f"--signature {signature}: {path} is a Keras model, which has no signatures (leave it out)"
            )
        from tfdump.model.loading.keras_files import load_keras_file

        return load_keras_file(path, trust, custom, limit)


def in_memory(model: "Layer") -> LoadedModel:
    """Return a model that was built in this process as a LoadedModel.

    Raises ModelError when it is not a model of Keras 3.
    """
    from keras import Layer

    if not isinstance(model, Layer):
        raise ModelError(f"{type(model).__name__} is not a model of Keras 3 (pass one, or the path of a saved model)")
    try:
        config = model.to_json() if hasattr(model, "to_json") else None
    except (NotImplementedError, TypeError, ValueError):  # a subclassed model without get_config
        config = None
    return LoadedModel(model, model.name, "", config)


def needs_tensorflow(path: Path) -> bool:
    """Tell whether TensorFlow and Keras run the model in a file; raises ModelError where there is no such file."""
    check_path(path, "model", ModelError)
    kind = kind_of_file(path)
    return kind != ONNX and not (kind == TFLITE and litert_is_installed())


def versions(loaded: LoadedModel) -> dict[str, str]:
    """Return the versions of the libraries that compute the numbers of a model, as attributes of a dump."""
    runtime = loaded.model.runtime if isinstance(loaded.model, FixedModel) else None
    own = {} if runtime is None else {"runtime": runtime.package, "runtime_version": runtime.version}
    if runtime is not None and runtime.keras_version is not None:
        own |= {"keras_version": runtime.keras_version}
        own |= {"tensorflow_version": runtime.version} if runtime.package == TENSORFLOW else {}
    elif isinstance(loaded.model, FixedModel) and not loaded.model.computes:
        pass
    elif runtime is None or runtime.package == TENSORFLOW:
        import keras
        import tensorflow as tf

        own |= {"tensorflow_version": tf.__version__, "keras_version": keras.__version__}
    return own | {"numpy_version": np.__version__}
