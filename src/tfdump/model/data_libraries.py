"""What reading data needs of TensorFlow, which is imported when it is used. This module itself does not import it."""

from typing import TYPE_CHECKING

from tfdump.inputs.data_options import DataLibraries
from tfdump.model.backend import import_quietly

if TYPE_CHECKING:
    from tfdump.inputs.images.decoding import ImageDecoder


def _image_decoder() -> "ImageDecoder":
    import_quietly()
    from tfdump.model.image_decoder import TensorFlowDecoder

    return TensorFlowDecoder()


LIBRARIES = DataLibraries(image_decoder=_image_decoder)
"""The libraries of this package."""
