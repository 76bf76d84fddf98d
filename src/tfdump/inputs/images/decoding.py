"""What decodes images: an interface, and what it is asked for."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from tfdump.inputs.images.headers import ImageHeader

Resize = Literal["stretch", "crop", "pad"]
"""How an image gets another size: all of it, its middle, or all of it between margins."""

COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}
"""What Keras calls images of so many channels."""


@dataclass(frozen=True)
class ImageTarget:
    """What an image becomes: height and width, the number of channels, and how it gets them."""

    size: tuple[int, int]
    channels: int
    resize: Resize
    interpolation: str


class UndecodableError(Exception):
    """An image cannot be decoded; the message is the reason."""


class ImageDecoder(Protocol):
    """Decodes and resizes images; threads may call it at the same time.

    `version` names the package that does it and its version, and `interpolations` are those that it knows.
    """

    version: str
    interpolations: tuple[str, ...]

    def load(self, data: bytes, header: ImageHeader, target: ImageTarget, orientation: int) -> npt.NDArray[np.float32]:
        """Return an image of shape (height, width, channels), turned as the EXIF `orientation` says (1: not at all).

        Raises UndecodableError for damaged data.
        """


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return an image with rows and columns along the first two axes as its EXIF `orientation` means it to be seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def gray(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the luma of colors as one channel: ITU-R 601, rounded as Pillow's `convert("L")` rounds it."""
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    luma = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return luma.astype(np.uint8)[..., None]


def with_channels(pixels: npt.NDArray[np.uint8], channels: int) -> npt.NDArray[np.uint8]:
    """Return an image of 3 or 4 channels as one of 1, 3 or 4: alpha is dropped, or opaque."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 1:
        return gray(pixels)
    if channels == 4:
        return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=-1)
    return pixels[..., :channels]
