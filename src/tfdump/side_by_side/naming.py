"""A converted file beside the Keras model that it may have been made from: the model names the tensors of the file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfdump.errors import ModelError
from tfdump.side_by_side.model_side import is_keras
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


def name_by_keras(models: "Sequence[LoadedModel]", note: Note) -> None:
    """Let a `.tflite` file give its tensors the addresses of the Keras model beside it, as `--like` does.

    `note` tells where the Keras model does not allow it.
    """
    from tfdump.model.loading.formats import TFLITE

    for file, other in zip(models, reversed(models), strict=True):
        if file.class_name == TFLITE and is_keras(other):
            from tfdump.model.like import name_like

            try:
                name_like(file, other)
            except ModelError as error:
                note(f"{other.name} does not name the tensors of {file.name}: {error}")
