"""Images as rows of an array: decoded on all cores, the next batch while the model computes."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tfdump.byte_sizes import show_bytes
from tfdump.errors import InputError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.identity import NamedReader
from tfdump.inputs.images.decoding import COLOR_MODES, ImageDecoder, ImageTarget, UndecodableError
from tfdump.inputs.images.headers import START_BYTES, orientation_of, read_image_header
from tfdump.inputs.images.image_input import ImageInput
from tfdump.inputs.images.listing import ImageFiles
from tfdump.process.machine import cores
from tfdump.process.signals import raise_waiting
from tfdump.tensors import Array

ImageFact = TypeVar("ImageFact")
"""What is found out about an image."""

_MOST_AHEAD = 256 << 20
"""Bytes of images that are decoded ahead at most."""

_LOOKED_AT = 10_000
"""Images whose EXIF orientation is looked at before a run."""

ANY_TARGET = ImageTarget((8, 8), 3, "stretch", "nearest")
"""What an image becomes where only whether it can be decoded counts."""

_AT_ONCE = 1024
"""Images that are looked at or checked between two looks at what became of them."""


class ImageFile:
    """Reads image files one at a time; threads may do so at the same time. `limit` is of `--max-bytes`."""

    def __init__(self, files: ImageFiles, decoder: ImageDecoder, exif: bool, limit: int | None) -> None:
        self._files = files
        self._decoder = decoder
        self._exif = exif
        self._limit = limit

    def load(self, row: int, target: ImageTarget) -> npt.NDArray[np.float32]:
        """Return one image, shape (height, width, channels); raises UndecodableError with the reason."""
        return load_image(self._read(row), self._decoder, target, self._exif, self._limit)

    def orientation(self, row: int) -> int:
        """Return the EXIF orientation of one image, without decoding it."""
        try:
            with self._files.path(row).open("rb") as stream:
                start = stream.read(START_BYTES)
                return orientation_of(start + stream.read() if start.startswith(b"RIFF") else start)
        except OSError:  # reading the image will tell
            return 1

    def _read(self, row: int) -> bytes:
        path = self._files.path(row)
        try:
            with path.open("rb") as stream:
                size = path.stat().st_size
                if self._limit is not None and size > self._limit:
                    raise UndecodableError(f"its file has {show_bytes(size)}, {_more_than(self._limit)}")
                return stream.read()
        except OSError as cause:
            raise UndecodableError(str(cause.strerror)) from None


def load_image(
    data: bytes, decoder: ImageDecoder, target: ImageTarget, exif: bool, limit: int | None
) -> npt.NDArray[np.float32]:
    """Return the image that the bytes of a file hold, shape (height, width, channels); `limit` is of `--max-bytes`.

    Raises UndecodableError with the reason.
    """
    header = read_image_header(data)
    if header is None:
        raise UndecodableError("it is no JPEG, PNG, GIF, BMP or WebP file" if data else "it is empty (0 bytes)")
    size = max(header.height * header.width, header.frame_pixels) * max(3, header.channels)
    if limit is not None and size > limit:
        raise UndecodableError(
            f"it declares {header.height} by {header.width} pixels, which take {show_bytes(size)}, {_more_than(limit)}"
        )
    return decoder.load(data, header, target, header.orientation if exif else 1)


def _more_than(limit: int) -> str:
    return f"more than the {show_bytes(limit)} that --max-bytes allows"


def damaged_images(files: ImageFiles, decoder: ImageDecoder) -> dict[int, str]:
    """Return the rows of the images that cannot be decoded, with the reasons. All cores decode all images."""
    file = ImageFile(files, decoder, False, allowed_bytes())
    return undecodable(lambda row: file.load(row, ANY_TARGET), range(len(files.names)))


def undecodable(load: Callable[[int], object], rows: range) -> dict[int, str]:
    """Return the rows for which `load` raises UndecodableError, with the reasons; all cores call it."""

    def reason(row: int) -> str | None:
        try:
            load(row)
        except UndecodableError as cause:
            return str(cause)
        return None

    return {row: text for row, text in zip(rows, _on_all_cores(reason, rows), strict=True) if text is not None}


@dataclass
class _Block:
    """Rows that are being decoded into an array."""

    start: int
    stop: int
    rows: Array
    decoded: list[Future[None]]

    def part(self, count: int) -> Array:
        """Return the first rows when they are decoded; raises the error of the first that cannot be."""
        for future in self.decoded[:count]:
            future.result()
        return self.rows[:count]

    def drop(self) -> None:
        """Do not decode what has not begun."""
        for future in self.decoded:
            future.cancel()


class ImageReader(NamedReader):
    """Images of one size as an array: pixels from 0 to 255, as float32, or rounded to uint8 where an input takes that.

    While the model computes a batch, the next one of the same size is decoded.
    """

    def __init__(
        self, files: ImageFiles, taker: ImageInput, target: ImageTarget, decoder: ImageDecoder, exif: bool
    ) -> None:
        self.label = files.label
        self.names = files.names
        self.labels = files.labels
        self.skipped = files.skipped
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if taker.whole_numbers else np.float32)
        self.shape = (len(files.names), *taker.shape(target.size))
        self.settings: Mapping[str, Any] = {
            "image_size": list(target.size),
            "color_mode": COLOR_MODES[target.channels],
            "resize": target.resize,
            "interpolation": target.interpolation,
            "decoder": decoder.version,
            "exif": exif,
        }
        self._files = files
        self._taker = taker
        self._target = target
        self._decoder = decoder
        self._exif = exif
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: _Block | None = None
        self._remarks: dict[tuple[int, int], list[str]] = {}

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`, and begin with those behind them."""
        block, self._ahead = self._ahead, None
        if block is None or block.start != start or block.stop < stop:
            if block is not None:
                block.drop()
            block = self._begin(start, stop)
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        behind = min(stop + min(stop - start, _MOST_AHEAD // max(1, row_bytes)), self.shape[0])
        if behind > stop:
            self._ahead = self._begin(stop, behind)
        try:
            return block.part(stop - start)
        except BaseException:
            block.drop()
            self._drop_ahead()
            raise

    def remarks(self, start: int, stop: int) -> list[str]:
        """Return what the user should know of the images from `start` up to `stop`."""
        if (start, stop) not in self._remarks:
            remarks = [*self._files.notes, *_about_skipped(self._files), *self._about_turned(start, stop)]
            self._remarks[start, stop] = remarks
        return self._remarks[start, stop]

    def _begin(self, start: int, stop: int) -> _Block:
        """Begin to decode rows into an array."""
        size = (stop - start) * int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        check_bytes(size, allowed_bytes(), f"{self.label}: one batch of images takes", InputError)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(cores(), "tfdump-decode")
        file = ImageFile(self._files, self._decoder, self._exif, allowed_bytes())
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        decode = self._pool.submit
        return _Block(
            start, stop, rows, [decode(self._decode, file, row, rows[row - start]) for row in range(start, stop)]
        )

    def _decode(self, file: ImageFile, row: int, place: Array) -> None:
        try:
            place[...] = self._taker.values(file.load(row, self._target))
        except UndecodableError as cause:
            raise InputError(
                f"{self._files.path(row)} cannot be decoded: {cause} (--skip-damaged leaves such images out)"
            ) from None

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.drop()
            self._ahead = None

    def _about_turned(self, start: int, stop: int) -> list[str]:
        """Return the note that tells how many images have an EXIF orientation that is not applied."""
        if self._exif:
            return []
        rows = range(start, min(stop, start + _LOOKED_AT))
        file = ImageFile(self._files, self._decoder, False, None)
        count = sum(orientation != 1 for orientation in _on_all_cores(file.orientation, rows))
        if not count:
            return []
        first = f"the first {len(rows):,}" if len(rows) < stop - start else f"{len(rows):,}"
        verb = "has" if count == 1 else "have"
        return [
            f"{count:,} of {first} images in {self.label} {verb} an EXIF orientation, which is not applied, as Keras "
            "does not apply it (--exif turns them)"
        ]


def _about_skipped(files: ImageFiles) -> list[str]:
    if not files.skipped:
        return []
    count = len(files.skipped)
    first, reason = files.skipped[0]
    if count == 1:
        return [f"a damaged image in {files.label} is left out: {first} ({reason})"]
    return [f"{count:,} damaged images in {files.label} are left out; the first: {first} ({reason})"]


def _on_all_cores(function: Callable[[int], ImageFact], rows: range) -> Iterator[ImageFact]:
    """Yield what a function returns for rows, in order; few results wait at a time."""
    with ThreadPoolExecutor(cores(), "tfdump-look") as pool:
        for start in range(rows.start, rows.stop, _AT_ONCE):
            raise_waiting()
            yield from pool.map(function, range(start, min(start + _AT_ONCE, rows.stop)))
