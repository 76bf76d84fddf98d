"""The model of a call of the Python API: one in memory, or a saved one; and how the user is warned about it."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.api.argument_names import in_words_of_python
from tfdump.api.arguments import refuse_arguments, refuse_symbolic
from tfdump.argument_kinds import flag, text
from tfdump.errors import TfdumpWarning
from tfdump.run.options import byte_size
from tfdump.tensors import Detail

if TYPE_CHECKING:
    from keras import Layer

    from tfdump.model.loading.loaded_model import LoadedModel


def loaded_model(
    model: "Layer | str | Path",
    signature: str | None,
    trust: bool,
    max_bytes: int | str | None,
    like: "Layer | str | Path | None" = None,
) -> "LoadedModel":
    """Return a model in memory, or load a saved one; raises TfdumpError where that is not possible.

    `like` is a Keras model by which the tensors of a `.tflite` file are named.
    """
    refuse_symbolic(model, "model")
    trusted, limit = flag("trust", trust), byte_size("max_bytes", max_bytes)
    name = text("signature", signature, "serving_default")
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


def warn(message: str) -> None:
    """Warn the user, except of details."""
    if not isinstance(message, Detail):
        warnings.warn(in_words_of_python(message), TfdumpWarning, stacklevel=3)
