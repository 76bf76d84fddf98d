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
from tfdump.inputs.identity import NamedReader
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


def test_records_of_images_that_cannot_be_decoded_are_left_out_if_asked_to(tmp_path: Path) -> None:
    first, second, third = encoded(3)
    (tmp_path / "r").mkdir()
    records = [{"image": first[:-200], "y": 0}, {"image": first, "y": 1}, {"image": second[:60], "y": 2}]
    write_records(tmp_path / "r" / "a.tfrecord", records)
    write_records(tmp_path / "r" / "b.tfrecord", [{"image": third, "y": 3}, {"image": third[:90], "y": 4}])
    (tmp_path / "s.json").write_text('{"image": {"decode": "image"}, "y": {"dtype": "int64", "shape": []}}')
    specs = [InputSpec("image", (None, 16, 12, 3), "float32"), InputSpec("y", (None,), "int64")]
    expected = [tf.image.resize(tf.io.decode_image(data), (16, 12)).numpy() for data in (first, third)]
    for features in (None, tmp_path / "s.json"):
        options = DataOptions(libraries=LIBRARIES, skip_damaged=True, features=features)
        (records_of_folder,) = open_arguments([str(tmp_path / "r")], options=options)
        matched = match([records_of_folder], specs)
        np.testing.assert_allclose(matched["image"].read(0, 2), expected, atol=1e-3)
        assert matched["y"].read(0, 2).tolist() == [1, 3]
        images = matched["image"]
        assert isinstance(images, NamedReader)
        assert images.names is not None
        assert images.names.read(0, 2) == ["r/a.tfrecord:1", "r/b.tfrecord:0"]
        assert [name for name, _ in images.skipped] == ["r/a.tfrecord:0", "r/a.tfrecord:2", "r/b.tfrecord:1"]
        assert images.skipped[1][1].startswith("the image in 'image' cannot be decoded: ")
        (note,) = images.remarks(0, 2)
        assert note.startswith(f"3 damaged records in {tmp_path / 'r'} are left out; the first: r/a.tfrecord:0 (")
    (apart,) = open_arguments([f"{tmp_path / 'r'}::y"], options=options)
    assert match([apart], specs[1:])["y"].read(0, 2).tolist() == [1, 3]


def test_no_record_may_be_left(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", [{"image": encoded(1)[0][:-200]}])
    with pytest.raises(InputError, match=r"has no records: a.tfrecord:0 is damaged, the image in 'image' cannot be"):
        reader(path, (None, 16, 12, 3), skip_damaged=True)
