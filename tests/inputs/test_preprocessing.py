"""Preprocessing by numbers and by functions, against NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.named_rows import NamedRows
from tfdump.errors import InputError
from tfdump.inputs.identity import ListedNames
from tfdump.inputs.preprocessing import KERAS_NAMES, Preprocessing, is_pixels, parse_steps, preprocessed
from tfdump.inputs.ragged import join_ragged
from tfdump.inputs.readers import ArrayReader, Reader
from tfdump.tensors import Array, InputSpec

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)
SPEC = InputSpec("image", (None, 5, 4, 3), "float32")


def no_keras(name: str, images: Array) -> Array:
    raise AssertionError(name)


def changed(array: Any, *steps: Preprocessing, spec: InputSpec = SPEC) -> Reader:
    reader = array if not isinstance(array, np.ndarray) else ArrayReader(array, "x.npy")
    return preprocessed({spec.name: reader}, [spec], steps, no_keras)[spec.name]


x = PIXELS.astype("float32")
CHANNELS = np.array([103.939, 116.779, 123.68], "float32")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["scale=1/255"], x * np.float32(1 / 255)),
        (["image=scale=1/255"], x * np.float32(1 / 255)),
        (["mean=127.5;std=127.5"], (x - 127.5) / 127.5),
        (["mean=103.939,116.779,123.68"], x - CHANNELS),
        (["scale=1/255; mean = 0.5".replace(" = ", "="), "std=0.5,0.25,1e-1"],
         (x * np.float32(1 / 255) - np.float32(0.5)) / np.array([0.5, 0.25, 0.1], "float32")),
        (["mean=-1;scale=-2"], (x + 1) * -2),
        ([lambda rows: rows[:, :2] + 1, "scale=2"], (PIXELS[:, :2] + 1).astype("float32") * 2),
    ],
)  # fmt: skip
def test_steps_are_done_in_order(steps: list[Preprocessing], expected: Array) -> None:
    reader = changed(PIXELS, *steps)
    assert (reader.shape, reader.dtype) == (expected.shape, expected.dtype)
    for start, stop in ((0, 6), (2, 3), (1, 5)):
        np.testing.assert_array_equal(reader.read(start, stop), expected[start:stop])


def test_channels_may_be_first() -> None:
    images = PIXELS.transpose(0, 3, 1, 2)
    expected = images - CHANNELS[:, None, None]
    spec = InputSpec("image", (None, 3, 5, 4), "float32")
    np.testing.assert_array_equal(changed(images, "mean=103.939,116.779,123.68", spec=spec).read(0, 6), expected)


def test_float64_stays_float64() -> None:
    reader = changed(PIXELS.astype("float64"), "scale=1/3")
    np.testing.assert_array_equal(reader.read(0, 6), PIXELS.astype("float64") * (1 / 3))


def test_one_image_without_its_axis_is_a_batch_for_a_function() -> None:
    seen = []

    def watched(rows: Array) -> Array:
        seen.append(rows.shape)
        return rows + 1

    reader = changed(PIXELS[0], watched)
    assert (reader.shape, set(seen)) == ((5, 4, 3), {(1, 5, 4, 3)})
    np.testing.assert_array_equal(reader.read(0, 5), PIXELS[0] + 1)


def test_a_function_may_change_its_argument() -> None:
    array = x.copy()

    def in_place(rows: Array) -> Array:
        rows += 1
        return rows

    np.testing.assert_array_equal(changed(array, in_place).read(0, 6), x + 1)
    np.testing.assert_array_equal(array, x)


def test_what_is_known_of_the_rows_stays_known() -> None:
    names = [f"{number}.jpg" for number in range(6)]
    reader = changed(NamedRows(PIXELS, names), "scale=2", "mean=1")
    assert isinstance(reader.names, ListedNames)
    assert reader.names.read(1, 3) == ["1.jpg", "2.jpg"]
    assert reader.settings == {"preprocess": ["scale=2", "mean=1"]}


def test_what_is_told_of_the_rows_is_still_told() -> None:
    class Told(NamedRows):
        def remarks(self, start: int, stop: int) -> list[str]:
            return [f"rows {start} to {stop} are old"]

    reader = changed(Told(PIXELS, [str(number) for number in range(6)]), "scale=2")
    assert reader.remarks(1, 3) == ["rows 1 to 3 are old"]


def test_a_function_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "normal.py").write_text(
        "def halved(rows):\n    return rows / 2\n\ndef fails(rows):\n    return rows[9]\n"
    )
    reader = changed(x, f"{tmp_path}/normal.py:halved")
    np.testing.assert_array_equal(reader.read(0, 6), x / 2)
    assert reader.settings == {"preprocess": ["normal.py:halved"]}
    with pytest.raises(
        InputError, match=r"--preprocess .*normal.py:fails failed in line 5: IndexError: index 9 is out"
    ):
        changed(x, f"{tmp_path}/normal.py:fails")


def test_one_of_several_inputs() -> None:
    readers = {"a": ArrayReader(x, "a.npy"), "b": ArrayReader(x, "b.npy")}
    specs = [InputSpec("a", None, None), InputSpec("b", None, None)]
    both = preprocessed(readers, specs, ["b=scale=2"], no_keras)
    assert both["a"] is readers["a"]
    np.testing.assert_array_equal(both["b"].read(0, 6), x * 2)
    with pytest.raises(InputError, match=r"scale=2 is for one of 2 inputs \(name it: a=scale=2\)"):
        preprocessed(readers, specs, ["scale=2"], no_keras)
    with pytest.raises(InputError, match="the model gets no input 'c'"):
        preprocessed(readers, specs, ["c=scale=2"], no_keras)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("resnet5", "--preprocess 'resnet5' is nothing that is known; near: 'resnet50'"),
        ("", "--preprocess '' is nothing that is known"),
        ("image=", "--preprocess '' is nothing that is known"),
        ("scale=1/0", "--preprocess scale=1/0: '1/0' is no list of numbers"),
        ("scale=inf", "is no list of numbers"),
        ("mean=1,,2", "is no list of numbers"),
        ("std=0", "is no list of numbers"),
        ("no.py:f", "no such file of --preprocess: no.py"),
        ("image=no.py:f", "no such file of --preprocess: no.py"),
    ],
)
def test_steps_that_are_none(step: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_steps([step])


@pytest.mark.parametrize(
    ("array", "step", "words"),
    [
        (x, "mean=1,2", r"--preprocess mean=1,2 has 2 numbers, and examples have the shape \(5, 4, 3\)"),
        (np.array(["a", "b"]), "scale=2", "--preprocess scale=2: x.npy holds no numbers"),
        (x, lambda rows: rows[:-1], r"makes an array of shape \(0, 5, 4, 3\) of 1 examples"),
        (x, lambda rows: 3, r"makes an array of shape \(\) of 1 examples"),
    ],
)
def test_steps_that_do_not_fit(array: Any, step: Preprocessing, words: str) -> None:
    with pytest.raises(InputError, match=words):
        changed(array, step)


def test_ragged_rows_are_refused() -> None:
    ragged = {"x.values": np.arange(3.0), "x.row_splits": np.array([0, 1, 3])}
    reader = join_ragged({key: lambda key=key: ArrayReader(ragged[key], key) for key in ragged}, Path("x.npz"))["x"]()
    with pytest.raises(InputError, match="is ragged, and --preprocess needs rows of one shape"):
        changed(reader, "scale=2", spec=InputSpec("x", (None, None), "float32"))


def test_steps_of_keras_take_pixels() -> None:
    assert is_pixels(["resnet50"], "image")
    assert is_pixels(["image=resnet50;scale=2"], "image")
    assert not is_pixels(["scale=255;resnet50"], "image")
    assert not is_pixels(["other=resnet50"], "image")
    assert not is_pixels([], "image")
    assert all(parse_steps([name])[0].kind == "keras" for name in KERAS_NAMES)
