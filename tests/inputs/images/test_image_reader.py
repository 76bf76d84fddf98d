"""Images read as rows: for every kind of input, in any order of batches, and with damage among them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.image_folders import drawn, save
from tfdump.errors import InputError
from tfdump.files.limits import allowed
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.images.reader import ImageReader
from tfdump.inputs.matching import match
from tfdump.model.data_libraries import LIBRARIES
from tfdump.tensors import InputSpec

COUNT = 12


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 20 by 30 pixels."""
    folder = tmp_path_factory.mktemp("images") / "photos"
    for number in range(COUNT):
        save(folder / f"{number:02}.png", drawn(20, 30, number))
    return folder


def opened(argument: Any, spec: InputSpec, **options: Any) -> ImageReader:
    """The reader of images, decoded by Pillow, which starts without TensorFlow."""
    data = DataOptions(libraries=LIBRARIES, **{"decoder": "pillow"} | options)
    reader = match(open_arguments([str(argument)], options=data), [spec])[spec.name]
    assert isinstance(reader, ImageReader)
    return reader


def spec(*shape: int | None, dtype: str | None = "float32") -> InputSpec:
    return InputSpec("x", (None, *shape), dtype)


@pytest.fixture
def copies(photos: Path, tmp_path: Path) -> Iterator[Path]:
    """Copies of the images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_rows_are_the_same_in_any_batches(photos: Path) -> None:
    expected = np.stack([drawn(20, 30, number) for number in range(COUNT)]).astype(np.float32)
    reader = opened(photos, spec(20, 30, 3))
    assert reader.shape == (COUNT, 20, 30, 3)
    for start, stop in [(0, 5), (5, 10), (10, 12), (0, 2), (2, 3), (4, 6), (6, 6), (3, 4), (0, 12), (11, 12)]:
        np.testing.assert_array_equal(reader.read(start, stop), expected[start:stop])


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integers_are_rounded(dtype: str, photos: Path) -> None:
    exact = opened(photos, spec(10, 10, 3), interpolation="bicubic", decoder="tensorflow").read(0, COUNT)
    reader = opened(photos, spec(10, 10, 3, dtype=dtype), interpolation="bicubic", decoder="tensorflow")
    assert reader.dtype == np.uint8
    np.testing.assert_array_equal(reader.read(0, COUNT), np.clip(np.round(exact), 0, 255))
    assert exact.min() < 0 or exact.max() > 255 or np.any(exact != np.round(exact))


def test_a_quantized_input_gets_pixels_as_its_scale_means_them(photos: Path) -> None:
    quantized = InputSpec("x", (None, 10, 10, 3), "int8", quantization=(1 / 255, -128))
    assert opened(photos, quantized).dtype == np.float32
    quantized = InputSpec("x", (None, 10, 10, 3), "uint8", quantization=(1 / 127.5, 127))
    assert opened(photos, quantized).dtype == np.uint8


def test_grayscale_needs_no_axis_of_channels(photos: Path) -> None:
    expected = np.stack([np.asarray(Image.open(photos / f"{n:02}.png").convert("L"), np.float32) for n in range(COUNT)])
    np.testing.assert_array_equal(opened(photos, spec(20, 30)).read(0, COUNT), expected)
    np.testing.assert_array_equal(opened(photos, spec(20, 30, 1)).read(0, COUNT), expected[..., None])
    np.testing.assert_array_equal(opened(photos, spec(1, 20, 30)).read(0, COUNT), expected[:, None])


def test_the_size_is_the_one_of_the_option_where_the_model_leaves_it_open(photos: Path) -> None:
    for shape in [(None, None, 3), (None, 8, 3), (None, None, None)]:
        assert opened(photos, spec(*shape), image_size=(6, 8)).shape == (COUNT, 6, 8, 3)
    assert opened(photos, InputSpec("x", None, None), image_size=(6, 8)).shape == (COUNT, 6, 8, 3)
    assert opened(photos, InputSpec("x", None, None, built=(None, 4, 5, 1))).shape == (COUNT, 4, 5, 1)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((None, None, 3), {}, r"'x' declares no height and width of images \(give them: --image-size 20,30, the "),
        ((20, 30, 3), {"image_size": (8, 8)}, r"--image-size 8,8: the input 'x' takes 20,30 \(leave --image-size out"),
        ((20, 30, 5), {}, r"'x' takes 5 channels \(\?, 20, 30, 5\), and images have 1, 3 or 4"),
        ((7,), {}, r"the input 'x' takes no images: its shape is \(\?, 7\)"),
        ((20, 30, 3), {"interpolation": "lanczos3"}, r"--interpolation lanczos3 is not one of pillow .* \(nearest, "),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(shape: Any, options: Any, message: str, photos: Path) -> None:
    with pytest.raises(InputError, match=message):
        opened(photos, spec(*shape), **options)


@pytest.mark.parametrize("decoder", ["pillow", "tensorflow"])
@pytest.mark.parametrize(
    ("damage", "reason"), [(b"", "it is empty"), (b"hello", "it is no JPEG, PNG"), (None, "cannot be decoded")]
)  # fmt: skip
def test_a_damaged_image_is_named(damage: bytes | None, reason: str, decoder: str, copies: Path) -> None:
    path = copies / "07.png"
    path.write_bytes(path.read_bytes()[:500] if damage is None else damage)
    reader = opened(copies, spec(20, 30, 3), decoder=decoder)
    assert len(reader.read(0, 7)) == 7
    with pytest.raises(InputError, match=r"photos/07\.png cannot be decoded: .*--skip-damaged") as caught:
        reader.read(7, 12)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(reader.read(8, 12)) == 4


@pytest.mark.parametrize("decoder", ["pillow", "tensorflow"])
def test_damaged_images_are_left_out(decoder: str, copies: Path) -> None:
    (copies / "03.png").write_bytes((copies / "03.png").read_bytes()[:500])
    (copies / "07.png").write_bytes(b"")
    (copies / "08.png").unlink()
    (copies / "08.png").symlink_to("nowhere.png")
    expected = np.stack([drawn(20, 30, number) for number in range(COUNT) if number not in (3, 7, 8)])
    reader = opened(copies, spec(20, 30, 3), decoder=decoder, skip_damaged=True)
    np.testing.assert_array_equal(reader.read(0, 9), expected.astype(np.float32))
    assert reader.names.read(2, 4) == ["photos/02.png", "photos/04.png"]
    assert [name for name, _ in reader.skipped] == ["photos/03.png", "photos/07.png"]
    notes = reader.remarks(0, 9)
    assert notes[0] == "1 other file in photos is not read: 1 .png".replace("photos", str(copies))
    assert notes[1].startswith(f"2 damaged images in {copies} are left out; the first: photos/03.png (")


def test_a_folder_of_nothing_but_damage_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "photos/1.jpg", drawn(8, 8, 1)).write_bytes(b"\xff\xd8\xff\xd9")
    with pytest.raises(InputError, match=r"no image in .*photos can be decoded \(.*photos/1\.jpg: it is no JPEG"):
        opened(tmp_path / "photos", spec(20, 30, 3), skip_damaged=True)


def test_an_image_that_declares_more_than_the_memory_is_not_decoded(tmp_path: Path) -> None:
    data = bytearray(save(tmp_path / "photos/1.png", drawn(8, 8, 1)).read_bytes())
    data[16:24] = (60_000).to_bytes(4) * 2
    (tmp_path / "photos/1.png").write_bytes(data)
    with (
        allowed(1 << 30),
        pytest.raises(InputError, match=r"1\.png .*: it declares 60000 by 60000 pixels, which take 10\.1 GiB, more t"),
    ):
        opened(tmp_path / "photos", spec(20, 30, 3)).read(0, 1)


def test_a_gif_of_many_frames_is_not_unpacked(tmp_path: Path) -> None:
    frames = [Image.fromarray(drawn(40, 50, seed)) for seed in range(9)]
    (tmp_path / "photos").mkdir()
    frames[0].save(tmp_path / "photos/1.gif", save_all=True, append_images=frames[1:])
    assert opened(tmp_path / "photos", spec(4, 5, 3)).read(0, 1).shape == (1, 4, 5, 3)
    with (
        allowed(50_000),
        pytest.raises(InputError, match=r"it declares 40 by 50 pixels, which take 5\d\.\d KiB, more t"),
    ):
        opened(tmp_path / "photos", spec(4, 5, 3)).read(0, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.gif", "P"), ("a.bmp", "RGB"), ("a.webp", "RGB"), ("a.webp", "RGBA"), ("a.png", "LA"), ("a.png", "P")],
)
def test_what_tensorflow_decodes_in_other_channels_only_is_converted_as_pillow_does(
    name: str, mode: str, channels: int, tmp_path: Path
) -> None:
    image = Image.fromarray(drawn(20, 30, 1, 4)).convert(mode)
    (tmp_path / "photos").mkdir()
    image.save(tmp_path / "photos" / name, **({"lossless": True} if name == "a.webp" else {}))
    exif = opened(tmp_path / "photos", spec(20, 30, channels), decoder="tensorflow", exif=True).read(0, 1)[0]
    pixels = opened(tmp_path / "photos", spec(20, 30, channels), decoder="tensorflow").read(0, 1)[0]
    np.testing.assert_array_equal(exif, pixels)
    expected = np.asarray(Image.open(tmp_path / "photos" / name).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    limit = 1 if name == "a.png" and channels == 1 else 0  # TensorFlow's own luma of PNG files rounds otherwise
    assert np.abs(pixels - expected.reshape(20, 30, channels)).max() <= limit


@pytest.mark.parametrize(("mode", "channels"), [("CMYK", 1), ("CMYK", 3), ("CMYK", 4), ("L", 4), ("RGB", 4), ("L", 1)])
def test_every_jpeg_is_decoded_in_every_number_of_channels(mode: str, channels: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    (tmp_path / "photos").mkdir()
    image = Image.fromarray(drawn(20, 30, 1)).convert(mode)
    image.save(tmp_path / "photos/a.jpg", quality=100, subsampling=0, exif=exif)
    expected = np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]).rotate(180), np.float32)
    pixels = opened(tmp_path / "photos", spec(20, 30, channels), decoder="tensorflow", exif=True).read(0, 1)[0]
    difference = np.abs(pixels - expected.reshape(pixels.shape))
    assert difference.mean() < 2  # the loss of JPEG; another channel or corner is far away
    assert difference.max() <= 12


@pytest.mark.parametrize("decoder", ["pillow", "tensorflow"])
def test_exif_orientation(decoder: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "photos/1.png", drawn(20, 30, 1), exif=exif)
    save(tmp_path / "photos/2.png", drawn(20, 30, 2))
    plain = opened(tmp_path / "photos", spec(20, 30, 3), decoder=decoder)
    np.testing.assert_array_equal(plain.read(0, 1)[0], drawn(20, 30, 1))
    assert plain.remarks(0, 2) == [
        f"1 of 2 images in {tmp_path}/photos has an EXIF orientation, which is not applied, as Keras does not apply it "
        "(--exif turns them)"
    ]
    assert plain.remarks(1, 2) == []
    turned = opened(tmp_path / "photos", spec(30, 20, 3), decoder=decoder, exif=True)
    np.testing.assert_array_equal(turned.read(0, 1)[0], np.rot90(drawn(20, 30, 1), -1))
    assert turned.remarks(0, 2) == []
    assert (plain.settings["exif"], turned.settings["exif"]) == (False, True)
