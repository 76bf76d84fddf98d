"""Encoded images in records, against TensorFlow's own decoding of the same bytes."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.record_files import write_records
from tfdump.errors import InputError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.matching import match
from tfdump.inputs.readers import Reader
from tfdump.model.data_libraries import LIBRARIES
from tfdump.tensors import InputSpec

pytestmark = pytest.mark.tensorflow


def encoded(count: int) -> list[bytes]:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (20 + row, 30, 3), dtype=np.uint8) for row in range(count)]
    return [(tf.io.encode_png if row % 2 else tf.io.encode_jpeg)(image).numpy() for row, image in enumerate(images)]


def reader(path: Path | str, shape: tuple[int | None, ...], dtype: str = "float32", **options: object) -> Reader:
    specs = [InputSpec("image", shape, dtype)]
    opened = open_arguments([str(path)], options=DataOptions(libraries=LIBRARIES, **options))  # type: ignore[arg-type]  # one of its options
    return match(opened, specs)["image"]


def test_images_are_decoded_and_resized_as_keras_does(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", [{"image": data} for data in encoded(5)])
    files = tmp_path / "photos"
    files.mkdir()
    for row, data in enumerate(encoded(5)):
        (files / f"{row}.{'png' if row % 2 else 'jpg'}").write_bytes(data)
    expected = next(
        iter(
            keras.utils.image_dataset_from_directory(
                files, labels=None, shuffle=False, image_size=(16, 12), batch_size=5, verbose=False
            )
        )
    )
    images = reader(path, (None, 16, 12, 3))
    np.testing.assert_array_equal(images.read(0, 5), expected)
    np.testing.assert_array_equal(images.read(3, 5), expected[3:])
    (tmp_path / "s.json").write_text('{"image": {"shape": [16, 12, 3], "dtype": "uint8", "decode": "jpeg"}}')
    sized = reader(path, (None, None, None, 3), features=tmp_path / "s.json")
    np.testing.assert_array_equal(sized.read(0, 5), expected)
    given = reader(path, (None, None, None, 3), image_size=(16, 12))
    np.testing.assert_array_equal(given.read(0, 5), expected)
    labeled = write_records(tmp_path / "l.tfrecord", [{"photo": data, "label": 1} for data in encoded(5)])
    np.testing.assert_array_equal(reader(labeled, (None, 16, 12, 3)).read(0, 5), expected)
    assert reader(path, (None, 16, 12, 3), "uint8").read(0, 1).dtype == np.uint8


def test_images_that_cannot_be_decoded(tmp_path: Path) -> None:
    first, second = encoded(2)
    path = write_records(tmp_path / "a.tfrecord", [{"image": first}, {"image": second[:60]}, {"other": first}])
    images = reader(path, (None, 16, 12, 3))
    with pytest.raises(InputError, match=r"record 1 of .*a.tfrecord \(at byte \d+\): the image in 'image' cannot be"):
        images.read(0, 2)
    with pytest.raises(InputError, match=r"record 2 of .* lacks the feature 'image'"):
        images.read(2, 3)
    with pytest.raises(InputError, match="declares no height and width"):
        reader(path, (None, None, None, 3))
