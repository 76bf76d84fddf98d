"""Images in records: decoded and resized as those in files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tfdump.dtypes import STRING
from tfdump.errors import InputError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.images.decoding import COLOR_MODES, ImageDecoder, ImageTarget, UndecodableError
from tfdump.inputs.images.headers import read_image_header
from tfdump.inputs.images.image_input import ImageInput
from tfdump.inputs.images.reader import ANY_TARGET, load_image, undecodable
from tfdump.inputs.records.protocol_buffers import Feature
from tfdump.inputs.records.readers import RecordRows
from tfdump.inputs.records.record_set import ADVICE, Examples, RecordSet
from tfdump.process.machine import cores
from tfdump.tensors import Array


def is_encoded_image(feature: Feature) -> bool:
    """Tell whether a feature is one image of a format that is decoded."""
    return feature.kind == "string" and len(feature.values) == 1 and read_image_header(feature.values[0]) is not None


def undecodable_images(records: RecordSet, names: Sequence[str], decoder: ImageDecoder) -> dict[int, str]:
    """Return the rows of the records in which one of these images cannot be decoded, with the reasons.

    All cores decode all images. A record that has no single image in a feature is no matter of decoding.
    """
    limit = allowed_bytes()
    damaged: dict[int, str] = {}
    for start, examples in records.each_block():
        for name in names:

            def load(row: int, name: str = name, first: int = start, block: Examples = examples) -> None:
                feature = block[row - first].get(name)
                if feature is not None and feature.kind == STRING and len(feature.values) == 1:
                    load_image(feature.values[0], decoder, ANY_TARGET, False, limit)

            for row, reason in undecodable(load, range(start, start + len(examples))).items():
                damaged.setdefault(row, f"the image in '{name}' cannot be decoded: {reason}")
    return damaged


class EncodedImages(RecordRows):
    """A feature that is an encoded image in each record, as pixels from 0 to 255 in the shape that an input takes."""

    def __init__(
        self,
        records: RecordSet,
        name: str,
        taker: ImageInput,
        target: ImageTarget,
        decoder: ImageDecoder,
        exif: bool,
        notes: Sequence[str],
    ) -> None:
        self.label = f"{records.label}::{name}"
        self.dtype = np.dtype(np.uint8 if taker.whole_numbers else np.float32)
        self.shape = (len(records), *taker.shape(target.size))
        settings = {
            "feature": name,
            "image_size": list(target.size),
            "color_mode": COLOR_MODES[target.channels],
            "resize": target.resize,
            "interpolation": target.interpolation,
            "decoder": decoder.version,
            "exif": exif,
        }
        self.take(records, settings, notes)
        self._name, self._taker, self._target, self._decoder, self._exif = name, taker, target, decoder, exif
        self._pool: ThreadPoolExecutor | None = None

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`, decoded on all cores."""
        size = (stop - start) * int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        check_bytes(size, allowed_bytes(), f"{self.label}: one batch of images takes", InputError)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(cores(), "tfdump-decode")
        examples = self._records.read(start, stop)
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        limit = allowed_bytes()

        def decode(place: int) -> None:
            rows[place] = self._pixels(start + place, examples[place].get(self._name), limit)

        for _ in self._pool.map(decode, range(stop - start)):
            pass
        return rows

    def _pixels(self, row: int, feature: Feature | None, limit: int | None) -> Array:
        """Return one image as the input takes it; raises InputError."""
        place = self._records.place(row)
        if feature is None or not feature.kind:
            raise InputError(f"{place} lacks the feature '{self._name}', which is an image in other records")
        if feature.kind != "string" or len(feature.values) != 1:
            raise InputError(f"{place} holds no single image in '{self._name}'")
        try:
            image = load_image(feature.values[0], self._decoder, self._target, self._exif, limit)
        except UndecodableError as cause:
            raise InputError(f"{place}: the image in '{self._name}' cannot be decoded: {cause} ({ADVICE})") from None
        return self._taker.values(image)
