"""Pillow as `keras.utils.load_img` uses it, with the same numbers."""

import io
import math
import warnings

import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError, reason_of
from tfdump.inputs.images.decoding import ImageTarget, UndecodableError
from tfdump.inputs.images.headers import ImageHeader

try:
    import PIL
    from PIL import Image
except ImportError:
    raise InputError("reading images with Pillow needs an extra: pip install 'tfdump[images]'") from None

_METHODS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "hamming": Image.Resampling.HAMMING,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

_KEPT_GRAYS = ("L", "I;16", "I")
"""The modes that `load_img` does not convert to 8 bits where grayscale is asked for."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # --max-bytes is the limit here


class PillowDecoder:
    """Decodes and resizes as `keras.utils.load_img` and `img_to_array` do."""

    version = f"pillow {PIL.__version__}"
    interpolations: tuple[str, ...] = tuple(_METHODS)

    def load(self, data: bytes, header: ImageHeader, target: ImageTarget, orientation: int) -> npt.NDArray[np.float32]:
        """Return an image of shape (height, width, channels); raises UndecodableError for damaged data."""
        try:
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(_fitted(_turned(_converted(image, target.channels), orientation), target))
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as cause:
            raise UndecodableError(_reason(cause)) from None
        return pixels.reshape(*target.size, target.channels).astype(np.float32)


def decoded_image(data: bytes, channels: int) -> npt.NDArray[np.uint8]:
    """Return the pixels of an image at its own size, shape (height, width, channels); raises UndecodableError."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image.convert(_MODES[channels]))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as cause:
        raise UndecodableError(_reason(cause)) from None
    return pixels.reshape(*pixels.shape[:2], channels)


def _reason(error: Exception) -> str:
    """Return the message of an error of Pillow without the object in it, whose address differs from run to run."""
    return reason_of(error).partition(" <")[0]


def _converted(image: Image.Image, channels: int) -> Image.Image:
    mode = _MODES[channels]
    if image.mode == mode or (channels == 1 and image.mode in _KEPT_GRAYS):
        return image
    return image.convert(mode)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _fitted(image: Image.Image, target: ImageTarget) -> Image.Image:
    height, width = target.size
    if image.size == (width, height):
        return image
    method = _METHODS[target.interpolation]
    if target.resize == "crop":
        return image.resize((width, height), method, box=_middle(image, target))
    if target.resize == "pad":
        return _padded(image, target, method)
    return image.resize((width, height), method)


def _middle(image: Image.Image, target: ImageTarget) -> tuple[float, float, float, float]:
    """Return the largest box of the target's proportions in the middle of an image, as `load_img` computes it."""
    (width, height), (target_height, target_width) = image.size, target.size
    crop_height = min(height, width * target_height // target_width)
    crop_width = min(width, height * target_width // target_height)
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return left, top, left + crop_width, top + crop_height


def _padded(image: Image.Image, target: ImageTarget, method: Image.Resampling) -> Image.Image:
    """Return the whole image between black margins, with the sizes of `tf.image.resize_with_pad`."""
    (width, height), (target_height, target_width) = image.size, target.size
    ratio = max(width / target_width, height / target_height)
    inner_width, inner_height = math.floor(width / ratio), math.floor(height / ratio)
    inner = image.resize((max(1, inner_width), max(1, inner_height)), method)
    padded = Image.new(image.mode, (target_width, target_height))
    padded.paste(inner, ((target_width - inner.width) // 2, (target_height - inner.height) // 2))
    return padded
