"""The size and the orientation of an image, by the first bytes of its file."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from support.image_folders import drawn
from tfdump.inputs.images.decoding import upright
from tfdump.inputs.images.headers import START_BYTES, orientation_of, read_image_header

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("jpeg", {}),
    ("jpeg", {"progressive": True}),
    ("png", {}),
    ("webp", {}),
    ("webp", {"lossless": True}),
]


def encoded(kind: str, channels: int = 3, orientation: int = 1, **options: Any) -> bytes:
    """An image of 40 by 50 pixels."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    pixels = drawn(40, 50, 1, channels)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(stream, kind, exif=exif, **options)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", [1, 3, 8])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_size_and_orientation(kind: str, options: dict[str, Any], orientation: int) -> None:
    data = encoded(kind, orientation=orientation, **options)
    header = read_image_header(data)
    assert header is not None
    assert (header.format, header.height, header.width, header.channels) == (kind, 40, 50, 3)
    assert header.orientation == orientation
    assert orientation_of(data[:START_BYTES] if kind == "jpeg" else data) == orientation


@pytest.mark.parametrize("kind", ["gif", "bmp"])
def test_formats_without_exif(kind: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(drawn(40, 50, 1)).save(stream, kind)
    header = read_image_header(stream.getvalue())
    assert header is not None
    assert (header.format, header.height, header.width, header.orientation) == (kind, 40, 50, 1)


def test_all_frames_of_a_gif_count() -> None:
    stream = io.BytesIO()
    frames = [Image.fromarray(drawn(40, 50, seed)) for seed in range(4)]
    frames[0].save(stream, "gif", save_all=True, append_images=frames[1:])
    header = read_image_header(stream.getvalue())
    assert header is not None
    assert (header.height, header.width, header.frame_pixels) == (40, 50, 4 * 40 * 50)


def test_channels() -> None:
    headers = [
        read_image_header(encoded(kind, channels))
        for kind, channels in (("jpeg", 1), ("png", 1), ("png", 4), ("webp", 4))
    ]
    assert [header.channels for header in headers if header] == [1, 1, 4, 4]


def test_what_is_no_image_has_no_header() -> None:
    assert read_image_header(b"") is None
    assert read_image_header(b"hello, world" * 10) is None
    assert read_image_header(b"RIFF\0\0\0\0WAVEfmt " + bytes(40)) is None


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_damage_is_no_crash(kind: str) -> None:
    data = encoded(kind, orientation=6)
    random = np.random.default_rng(0)
    for length in range(min(300, len(data))):
        read_image_header(data[:length])
        orientation_of(data[:length])
    for _ in range(500):
        changed = bytearray(data)
        for place in random.integers(0, min(200, len(data)), 4):
            changed[place] = random.integers(256)
        read_image_header(bytes(changed))
        assert 1 <= orientation_of(bytes(changed)) <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_pillow_turns_them(orientation: int) -> None:
    image = Image.open(io.BytesIO(encoded("png", orientation=orientation)))
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(upright(np.asarray(image), orientation), expected)
