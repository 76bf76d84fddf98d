"""Telling where images are not in the range that a model was trained on."""

from typing import TYPE_CHECKING

from tfdump.inputs.source import Source
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


def tell_pixel_ranges(loaded: "LoadedModel", source: Source, note: Note) -> None:
    """Tell which images of a source are in another range than a Keras model wants, and what to do."""
    from tfdump.model.runnable import FixedModel

    if not isinstance(loaded.model, FixedModel):
        from tfdump.model.applications.ranges import range_notes

        for text in range_notes(loaded.model, source):
            note(text)
