"""What reading data needs of TensorFlow, which is imported when it is used. This module itself does not import it."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.inputs.data_options import DataLibraries
from tfdump.model.backend import import_quietly

if TYPE_CHECKING:
    from tfdump.inputs.images.decoding import ImageDecoder
    from tfdump.inputs.preset_texts import TextPreset


def _image_decoder() -> "ImageDecoder":
    import_quietly()
    from tfdump.model.image_decoder import TensorFlowDecoder

    return TensorFlowDecoder()


def _text_preset(folder: Path, length: int | None) -> "TextPreset":
    import_quietly()
    from tfdump.model.text_preset import HubTextPreset

    return HubTextPreset(folder, length)


LIBRARIES = DataLibraries(image_decoder=_image_decoder, text_preset=_text_preset)
"""The libraries of this package."""
