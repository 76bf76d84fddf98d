"""TensorFlow's decoders of images as `keras.utils.image_dataset_from_directory` uses them, with the same numbers."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdump.inputs.images.decoding import ImageTarget, UndecodableError, upright, with_channels
from tfdump.inputs.images.headers import ImageHeader
from tfdump.model.error_text import first_line, raise_interruption

_DECODED_CHANNELS = {"jpeg": (1, 3), "png": (1, 3, 4), "gif": (3,), "bmp": (3, 4)}
"""The numbers of channels in which TensorFlow decodes each format."""

_CMYK = 4


class TensorFlowDecoder:
    """Decodes and resizes as `keras.utils.image_dataset_from_directory` does.

    TensorFlow decodes not every format in every number of channels. There, it decodes the colors, and their luma or an
    opaque alpha channel is computed.
    """

    version = f"tensorflow {tf.__version__}"
    interpolations: tuple[str, ...] = (
        "nearest",
        "bilinear",
        "bicubic",
        "area",
        "lanczos3",
        "lanczos5",
        "gaussian",
        "mitchellcubic",
    )

    def __init__(self) -> None:
        self._graphs: dict[tuple[ImageTarget, bool], Callable[[Any], Any]] = {}
        self._tracing = threading.Lock()

    def load(self, data: bytes, header: ImageHeader, target: ImageTarget, orientation: int) -> npt.NDArray[np.float32]:
        """Return an image of shape (height, width, channels); raises UndecodableError for damaged data."""
        channels = _decoded_channels(header, target.channels)
        try:
            if channels == target.channels and orientation == 1:
                pixels = self._graph(target, encoded=True)(data)
            else:
                decoded = with_channels(_decode(data, header, channels), target.channels)
                pixels = self._graph(target, encoded=False)(upright(decoded, orientation))
        except (tf.errors.OpError, ValueError) as cause:
            raise_interruption(cause)
            raise UndecodableError(first_line(cause)) from None
        values: npt.NDArray[np.float32] = np.asarray(pixels)
        return values

    def _graph(self, target: ImageTarget, encoded: bool) -> Callable[[Any], Any]:
        """Return the graph that makes one image from its file or from its pixels, traced once."""
        key = target, encoded
        with self._tracing:
            if key not in self._graphs:
                self._graphs[key] = _traced(target, encoded)
        return self._graphs[key]


def _decoded_channels(header: ImageHeader, channels: int) -> int:
    """Return in how many channels TensorFlow decodes an image that is to have so many."""
    if header.format == "webp":
        return header.channels
    if header.format == "jpeg" and header.channels == _CMYK:
        return 3
    possible = _DECODED_CHANNELS[header.format]
    return channels if channels in possible else 3


def _decode(data: bytes, header: ImageHeader, channels: int) -> npt.NDArray[np.uint8]:
    if header.format == "webp" and not hasattr(tf.io, "decode_webp"):
        from tfdump.inputs.images.pillow_decoder import decoded_image

        return decoded_image(data, channels)
    pixels: npt.NDArray[np.uint8] = tf.io.decode_image(data, channels=channels, expand_animations=False).numpy()
    return pixels


def _traced(target: ImageTarget, encoded: bool) -> Any:
    """Return a graph that resizes, and decodes before it where `encoded`.

    It is a graph of unknown sizes, as in Keras: for a known size, TensorFlow leaves out what some interpolations do to
    an image that has the right size already.
    """

    def from_pixels(pixels: Any) -> Any:
        return tf.cast(_resized(pixels, target), tf.float32)

    def from_file(data: Any) -> Any:
        return from_pixels(tf.io.decode_image(data, channels=target.channels, expand_animations=False))

    if encoded:
        return tf.function(from_file, input_signature=[tf.TensorSpec([], tf.string)]).get_concrete_function()
    spec = tf.TensorSpec([None, None, target.channels], tf.uint8)
    return tf.function(from_pixels, input_signature=[spec]).get_concrete_function()


def _resized(pixels: Any, target: ImageTarget) -> Any:
    if target.resize == "pad":
        return tf.image.resize_with_pad(pixels, *target.size, method=target.interpolation)
    if target.resize == "crop":
        pixels = _cropped(pixels, target.size)
    return tf.image.resize(pixels, target.size, method=target.interpolation)


def _cropped(pixels: Any, size: tuple[int, int]) -> Any:
    """Return the largest part of the target's proportions in the middle, as `keras.utils.smart_resize` computes it."""
    shape = tf.shape(pixels)
    height, width = shape[-3], shape[-2]
    target_height, target_width = size
    crop_height = _at_most(height, tf.cast(width * target_height, tf.float32) / target_width)
    crop_width = _at_most(width, tf.cast(height * target_width, tf.float32) / target_height)
    top, left = _half(height - crop_height), _half(width - crop_width)
    return pixels[top : top + crop_height, left : left + crop_width, :]


def _at_most(full: Any, part: Any) -> Any:
    return tf.maximum(tf.minimum(full, tf.cast(part, tf.int32)), 1)


def _half(size: Any) -> Any:
    return tf.cast(tf.cast(size, tf.float32) / 2, tf.int32)
