"""How an input of a model takes images: their size, their channels, and along which axes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.dtypes import kind_of
from tfdump.errors import InputError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.images.decoding import COLOR_MODES, ImageTarget
from tfdump.tensors import InputSpec

_RGB = 3


@dataclass(frozen=True)
class ImageInput:
    """An input that takes images.

    Attributes
    ----------
    name : str
        Name of the input.
    size : tuple of int or None
        Height and width that the model declares; None for open sizes.
    channels : int
        1 for grayscale, 3 for RGB, 4 for RGBA.
    channel_axis : int or None
        Where the channels are in an image: 0, 2, or None for grayscale without an axis of channels.
    whole_numbers : bool
        Whether pixels are rounded to uint8, because the input takes integers.
    """

    name: str
    size: tuple[int | None, int | None]
    channels: int
    channel_axis: int | None
    whole_numbers: bool

    def target(self, options: DataOptions, example: str) -> ImageTarget:
        """Return what images become for this input.

        `example` tells the size of one of the images, for the message. Raises InputError where no size is known, or
        where the options and the model do not agree.
        """
        height, width = self.size
        if options.image_size is not None:
            if any(own not in (None, size) for own, size in zip(self.size, options.image_size, strict=True)):
                height_width = ",".join(str(size or "?") for size in self.size)
                raise InputError(
                    f"--image-size {options.image_size[0]},{options.image_size[1]}: the input '{self.name}' takes "
                    f"{height_width} (leave --image-size out)"
                )
            height, width = options.image_size
        if height is None or width is None:
            raise InputError(f"the input '{self.name}' declares no height and width of images (give them: {example})")
        return ImageTarget((height, width), self.channels, options.resize, options.interpolation)

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Return the shape of one image of this size as the input takes it."""
        if self.channel_axis is None:
            return size
        return (self.channels, *size) if self.channel_axis == 0 else (*size, self.channels)

    def values(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return an image of shape (height, width, channels) as the input takes it."""
        if self.whole_numbers:
            pixels = np.clip(np.rint(pixels), 0, 255)
        if self.channel_axis is None:
            return pixels[..., 0]
        return pixels.transpose(2, 0, 1) if self.channel_axis == 0 else pixels


def image_input(spec: InputSpec) -> ImageInput:
    """Return how an input takes images.

    Images are RGB with the channels last where the model declares no shape. Raises InputError for an input whose shape
    is not that of images.
    """
    whole = spec.dtype is not None and kind_of(spec.dtype) in "iu" and (not spec.quantization or spec.dtype == "uint8")
    shape = spec.shape or spec.built
    if shape is None:
        return ImageInput(spec.name, (None, None), _RGB, 2, whole)
    if len(shape) == 3:
        return ImageInput(spec.name, (shape[1], shape[2]), 1, None, whole)
    if len(shape) != 4:
        raise InputError(f"the input '{spec.name}' takes no images: its shape is {_open(shape)}")
    _, first, second, last = shape
    if last not in COLOR_MODES and first in COLOR_MODES:
        return ImageInput(spec.name, (second, last), first, 0, whole)
    if last is not None and last not in COLOR_MODES:
        raise InputError(
            f"the input '{spec.name}' takes {last} channels {_open(shape)}, and images have 1, 3 or 4 (make an array "
            "of what it takes)"
        )
    return ImageInput(spec.name, (first, second), last or _RGB, 2, whole)


def _open(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ("," * (len(shape) == 1)) + ")"
