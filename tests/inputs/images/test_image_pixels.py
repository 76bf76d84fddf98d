"""The pixels of images are those of Keras, to the last bit."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from support.image_folders import class_folders, from_directory
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.matching import match
from tfdump.inputs.readers import Reader
from tfdump.model.data_libraries import LIBRARIES
from tfdump.model.image_decoder import TensorFlowDecoder
from tfdump.tensors import InputSpec

pytestmark = pytest.mark.tensorflow

SIZE = (32, 48)
SHAPE = {"rgb": (None, *SIZE, 3), "grayscale": (None, *SIZE, 1), "rgba": (None, *SIZE, 4)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("images") / "photos")


def opened(argument: Any, shape: tuple[int | None, ...] | None, dtype: str = "float32", **options: Any) -> Reader:
    """The reader of an argument for an input of this shape."""
    arrays = open_arguments([str(argument)], options=DataOptions(libraries=LIBRARIES, **options))
    return match(arrays, [InputSpec("x", shape, dtype)])["x"]


def read(argument: Any, shape: tuple[int | None, ...] | None = SHAPE["rgb"], **options: Any) -> Any:
    """All rows."""
    reader = opened(argument, shape, **options)
    return reader.read(0, reader.shape[0])


RESIZES = {"stretch": {}, "crop": {"crop_to_aspect_ratio": True}, "pad": {"pad_to_aspect_ratio": True}}
KERAS_CANNOT = {("crop", "gaussian"), ("crop", "mitchellcubic")}
"""What `image_dataset_from_directory` declares and then refuses."""


@pytest.mark.parametrize(
    ("resize", "interpolation"),
    [(r, i) for r in RESIZES for i in TensorFlowDecoder.interpolations if (r, i) not in KERAS_CANNOT],
)
def test_pixels_are_those_of_image_dataset_from_directory(resize: str, interpolation: str, photos: Path) -> None:
    expected, paths = from_directory(photos, SIZE, interpolation=interpolation, **RESIZES[resize])
    reader = opened(photos, SHAPE["rgb"], resize=resize, interpolation=interpolation)
    names = reader.names.read(0, 99)  # type: ignore[attr-defined]
    assert names == [f"photos/{path}" for path in paths]
    pixels = reader.read(0, len(names))
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, expected)


def test_channels_come_first_where_the_model_takes_them_so(photos: Path) -> None:
    expected, _ = from_directory(photos, SIZE, data_format="channels_first")
    np.testing.assert_array_equal(read(photos, (None, 3, *SIZE)), expected)
    np.testing.assert_array_equal(read(photos, (None, 3, None, None), image_size=SIZE), expected)


@pytest.mark.parametrize("mode", ["grayscale", "rgba"])
def test_other_color_modes_are_those_of_keras_where_keras_can_decode_them(mode: str, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos")
    for path in folder.rglob("*"):
        if path.suffix in (".gif", ".bmp") or (mode == "rgba" and path.suffix in (".jpg", ".jpeg")):
            path.unlink()
    expected, _ = from_directory(folder, SIZE, color_mode=mode)
    np.testing.assert_array_equal(read(folder, SHAPE[mode]), expected)


@pytest.mark.parametrize("mode", list(SHAPE))
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
@pytest.mark.parametrize("resize", ["stretch", "crop"])
def test_pixels_of_pillow_are_those_of_load_img(resize: str, interpolation: str, mode: Any, photos: Path) -> None:
    reader = opened(photos, SHAPE[mode], decoder="pillow", resize=resize, interpolation=interpolation)
    names = reader.names.read(0, 99)  # type: ignore[attr-defined]
    expected = [
        keras.utils.img_to_array(
            keras.utils.load_img(
                photos.parent / name,
                color_mode=mode,
                target_size=SIZE,
                interpolation=interpolation,
                keep_aspect_ratio=resize == "crop",
            )
        )
        for name in names
    ]
    np.testing.assert_array_equal(reader.read(0, len(names)), np.stack(expected))
