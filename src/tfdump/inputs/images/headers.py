"""What the first bytes of an image file tell: its format, its size, and its EXIF orientation.

The size is known before anything is decoded, because a small file can declare an image larger than the memory.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
"""How the names of image files end, in lower case."""

START_BYTES = 4096
"""Bytes at the start of a JPEG or PNG file in which its EXIF orientation usually is."""

ImageFormat = Literal["jpeg", "png", "gif", "bmp", "webp"]

_UPRIGHT = 1
_JPEG = b"\xff\xd8\xff"
_ORIENTATION_TAG = 0x0112
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _EXIF_SEGMENT = 0xDA, 0xE1


@dataclass(frozen=True)
class ImageHeader:
    """Format, size in pixels, and channels of an image as it is stored.

    `channels` is 0 where the header does not tell. `orientation` is the value of the EXIF tag, 1 (upright) to 8.
    `frame_pixels` is the number of pixels of all frames of a GIF file: its decoders unpack all of them.
    """

    format: ImageFormat
    height: int
    width: int
    channels: int = 0
    orientation: int = _UPRIGHT
    frame_pixels: int = 0


def is_image_name(name: str | bytes) -> bool:
    """Tell whether a file is an image by the ending of its name."""
    endings = ENDINGS if isinstance(name, str) else tuple(ending.encode() for ending in ENDINGS)
    return name.lower().endswith(endings)  # type: ignore[arg-type]  # both are text, or both are bytes


def read_image_header(data: bytes) -> ImageHeader | None:
    """Return the header of an image file, or None for bytes that are no image of a known format.

    The sources are the specifications: ITU T.81 (JPEG), W3C PNG 3, GIF89a, BITMAPINFOHEADER, RFC 9649 (WebP), and
    CIPA DC-008 (EXIF).
    """
    for marks, read in _FORMATS:
        if data.startswith(marks):
            try:
                return read(data)
            except (struct.error, IndexError):
                return None
    return None


def orientation_of(start: bytes) -> int:
    """Return the EXIF orientation by the first bytes of an image file; 1 where they do not tell."""
    try:
        if start.startswith(_JPEG):
            return _jpeg_orientation(start)
        header = read_image_header(start)
    except (struct.error, IndexError):
        return _UPRIGHT
    return header.orientation if header is not None else _UPRIGHT


def _jpeg_orientation(data: bytes) -> int:
    for marker, start, stop in _segments(data):
        if marker == _EXIF_SEGMENT and data[start : start + 6] == b"Exif\0\0":
            return _exif_orientation(data[start + 6 : stop])
        if marker in _FRAMES or marker == _SCAN:
            break
    return _UPRIGHT


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of every segment of a JPEG file, and where its content begins and ends."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if length < 2:
            return
        yield marker, position + 4, position + 2 + length
        position += 2 + length


def _read_jpeg(data: bytes) -> ImageHeader | None:
    orientation = _jpeg_orientation(data)
    for marker, start, _ in _segments(data):
        if marker in _FRAMES:
            height, width, channels = struct.unpack_from(">HHB", data, start + 1)
            return ImageHeader("jpeg", height, width, channels, orientation)
        if marker == _SCAN:
            return None
    return None


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation that the first directory of EXIF data tells."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return _UPRIGHT
    (directory,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == _ORIENTATION_TAG:
            return value if 1 <= value <= 8 else _UPRIGHT
    return _UPRIGHT


def _read_png(data: bytes) -> ImageHeader | None:
    width, height, _, color = struct.unpack_from(">IIBB", data, 16)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(color, 0)
    return ImageHeader("png", height, width, channels, _exif_chunk(data, 8, ">I4s", b"eXIf", 4))


def _read_gif(data: bytes) -> ImageHeader | None:
    width, height = struct.unpack_from("<HH", data, 6)
    return ImageHeader("gif", height, width, 3, frame_pixels=sum(_gif_frames(data)))


def _gif_frames(data: bytes) -> Iterator[int]:
    """Yield the number of pixels of each frame of a GIF file, up to where the file is damaged."""
    position = 13 + _color_table(data[10])
    while position + 10 < len(data):
        if data[position] == ord(","):
            width, height, flags = struct.unpack_from("<HHB", data, position + 5)
            yield width * height
            position += 11 + _color_table(flags)  # and the size of the codes
        elif data[position] == ord("!"):
            position += 2
        else:
            return
        while position < len(data) and data[position]:
            position += data[position] + 1
        position += 1


def _color_table(flags: int) -> int:
    """Return the bytes of the color table that these flags declare."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _read_bmp(data: bytes) -> ImageHeader | None:
    width, height = struct.unpack_from("<ii", data, 18)
    return ImageHeader("bmp", abs(height), abs(width), 3)


def _read_webp(data: bytes) -> ImageHeader | None:
    if data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        flags, size = data[20], data[24:30]
        width, height = (int.from_bytes(size[i : i + 3], "little") + 1 for i in (0, 3))
        exif = _exif_chunk(data, 12, "<4sI", b"EXIF", 0) if flags & 8 else _UPRIGHT
        return ImageHeader("webp", height, width, 4 if flags & 16 else 3, exif)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader("webp", (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, 4 if bits >> 28 & 1 else 3)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("webp", height & 0x3FFF, width & 0x3FFF, 3)
    return None


def _exif_chunk(data: bytes, position: int, form: str, name: bytes, checksum: int) -> int:
    """Return the orientation that a chunk of this name tells; every chunk ends in `checksum` further bytes.

    `form` is how its length and its name are stored.
    """
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(form, data, position)
        if isinstance(length, bytes):
            length, kind = kind, length
        if kind == name:
            content = data[position + 8 : position + 8 + length]
            return _exif_orientation(content.removeprefix(b"Exif\0\0"))
        even = length + (length & 1 if not checksum else 0)  # chunks of WebP begin at even places
        position += 8 + even + checksum
    return _UPRIGHT


_FORMATS: tuple[tuple[bytes, Callable[[bytes], ImageHeader | None]], ...] = (
    (_JPEG, _read_jpeg),
    (b"\x89PNG\r\n\x1a\n", _read_png),
    (b"GIF8", _read_gif),
    (b"BM", _read_bmp),
    (b"RIFF", _read_webp),
)
