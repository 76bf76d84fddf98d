"""What decodes images, as the options say."""

from tfdump.errors import InputError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.images.decoding import ImageDecoder


def open_decoder(options: DataOptions) -> ImageDecoder:
    """Return what decodes the images. Raises InputError where it is not installed, or lacks the interpolation."""
    decoder = _opened(options)
    if options.interpolation not in decoder.interpolations:
        raise InputError(
            f"--interpolation {options.interpolation} is not one of {decoder.version} "
            f"({', '.join(decoder.interpolations)})"
        )
    return decoder


def _opened(options: DataOptions) -> ImageDecoder:
    from_library = options.libraries.image_decoder
    if options.decoder == "tensorflow" and from_library is not None:
        return from_library()
    from tfdump.inputs.images.pillow_decoder import PillowDecoder

    return PillowDecoder()
