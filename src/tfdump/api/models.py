"""The model of a call of the Python API: one in memory, or a saved one; and how the user is warned about it."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.api.argument_names import in_words_of_python
from tfdump.api.arguments import refuse_arguments, refuse_symbolic
from tfdump.argument_kinds import flag, shown, text
from tfdump.errors import TfdumpError, TfdumpWarning
from tfdump.run.options import byte_size
from tfdump.tensors import Detail

if TYPE_CHECKING:
    from keras import Layer

    from tfdump.model.backends.options import Backend
    from tfdump.model.loading.loaded_model import LoadedModel


def loaded_model(
    model: "Layer | str | Path",
    signature: str | None,
    trust: bool,
    max_bytes: int | str | None,
    like: "Layer | str | Path | None" = None,
    *,
    backend: "Backend | None" = None,
    seed: int = 0,
) -> "LoadedModel":
    """Return a model in memory, or load a saved one; raises TfdumpError where that is not possible.

    `like` is a Keras model by which the tensors of a `.tflite` file are named. With `backend`, a Keras file runs in
    another process, seeded with `seed`.
    """
    refuse_symbolic(model, "model")
    trusted, limit = flag("trust", trust), byte_size("max_bytes", max_bytes)
    name = text("signature", signature, "serving_default")
    if backend is not None:
        return _load_on(backend, model, {"signature": name, "like": like}, trust=trusted, max_bytes=limit, seed=seed)
    from tfdump.model.backend import choose_backend
    from tfdump.model.loading.load import in_memory, load_model, needs_tensorflow

    if like is not None:
        choose_backend()
        from tfdump.model.like import name_like

        loaded = loaded_model(model, signature, trust, max_bytes)
        name_like(loaded, loaded_model(like, None, trust, max_bytes))
        return loaded
    is_path = isinstance(model, (str, Path))
    if not is_path or needs_tensorflow(Path(model)):
        choose_backend()
    if is_path:
        return load_model(Path(model), trust=trusted, signature=name, max_bytes=limit)
    refuse_arguments({"signature": name is not None}, "SavedModels and .tflite files, and this model is in memory")
    return in_memory(model)


def backend_argument(name: str | None, python: str | Path | None, role: str = "") -> "Backend | None":
    """Return the backend that two arguments name, None for TensorFlow in this process.

    `role` begins the names of the arguments where there are two sides. Raises TfdumpError for other values.
    """
    from tfdump.model.backends.options import BACKENDS, backend_of

    if name is not None and name not in BACKENDS:
        raise TfdumpError(f"{role}backend={shown(name)} is not a backend ({', '.join(BACKENDS)})")
    if not isinstance(python, (str, Path, type(None))):
        raise TfdumpError(f"{role}backend_python={shown(python)} is not the path of a Python interpreter")
    return backend_of(name, None if python is None else str(python))


def _load_on(backend: "Backend", model: Any, others: dict[str, Any], **options: Any) -> "LoadedModel":
    """Load a Keras file on another backend; `others` are arguments that are not for Keras files."""
    if not isinstance(model, (str, Path)):
        raise TfdumpError("a model in memory runs in this process, without --backend (save it, and pass the path)")
    for name, value in others.items():
        if value is not None:
            raise TfdumpError(f"--{name} is not for Keras files, and {backend.in_words} is (leave one of them out)")
    from tfdump.model.backends.load import load_on_backend

    return load_on_backend(Path(model), backend, **options)


def warn(message: str) -> None:
    """Warn the user, except of details."""
    if not isinstance(message, Detail):
        warnings.warn(in_words_of_python(message), TfdumpWarning, stacklevel=3)
