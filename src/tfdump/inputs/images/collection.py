"""Images as the arrays of a model: listed when the argument is read, and sized when its inputs are known."""

from collections.abc import Sequence
from functools import cached_property

from tfdump.errors import InputError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.images.decoding import ImageDecoder
from tfdump.inputs.images.headers import read_image_header
from tfdump.inputs.images.image_input import image_input
from tfdump.inputs.images.listing import ImageFiles
from tfdump.inputs.images.open_decoder import open_decoder
from tfdump.inputs.images.reader import ImageReader, damaged_images
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader, Reader
from tfdump.tensors import InputSpec

_DEFAULT_SIZE = "224,224"
_RANK = 4


class ImageCollection:
    """The images that an argument names, for one input of a model; class folders are targets."""

    kind = "images"
    takes_one = True

    def __init__(self, files: ImageFiles, options: DataOptions) -> None:
        self.label = files.label
        self._listed = files
        self._options = options

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the array for the first of these inputs that has the shape of images, or for the first one."""
        if not specs:
            raise InputError(
                f"the model has no input for {self.label} besides those that have an array (for many images, name "
                "their folder, or quote the pattern: 'photos/*.jpg')"
            )
        spec = min(specs, key=lambda spec: (spec.shape is not None and len(spec.shape) != _RANK, spec.optional))
        return [InputArray(spec.name, lambda: self._reader(spec), self.label)]

    def targets(self) -> list[InputArray]:
        """Return the classes of the images as numbers, where they are in class folders."""
        return [InputArray(None, self._classes, f"the class folders of {self.label}")] if self._listed.labels else []

    def _classes(self) -> Reader:
        labels = self._files.labels
        return ArrayReader(labels.values if labels else (), f"the class folders of {self.label}")

    @cached_property
    def _files(self) -> ImageFiles:
        """The images that are read: all of them, or all that can be decoded."""
        if not self._options.skip_damaged:
            return self._listed
        damaged = damaged_images(self._listed, self._decoder)
        if len(damaged) == len(self._listed.names):
            row, reason = next(iter(damaged.items()))
            raise InputError(f"no image in {self.label} can be decoded ({self._listed.path(row)}: {reason})")
        return self._listed.without(damaged) if damaged else self._listed

    @cached_property
    def _decoder(self) -> ImageDecoder:
        return open_decoder(self._options)

    def _reader(self, spec: InputSpec) -> Reader:
        taker = image_input(spec)
        target = taker.target(self._options, self._size_of_first())
        return ImageReader(self._files, taker, target, self._decoder, self._options.exif)

    def _size_of_first(self) -> str:
        """Return the option that gives the size of the first image, for a message."""
        path = self._listed.path(0)
        try:
            header = read_image_header(path.read_bytes())
        except OSError:
            header = None
        if header is None:
            return f"--image-size {_DEFAULT_SIZE}"
        return f"--image-size {header.height},{header.width}, the size of {path.name}"
