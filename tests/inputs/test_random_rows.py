"""Random examples: any range gives the same rows, and the values suit the input."""

import numpy as np
import pytest

from tfdump.errors import InputError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.random_rows import RandomExamples, RandomRows
from tfdump.tensors import InputSpec


def rows(spec: InputSpec, place: int = 0, **options: int) -> RandomRows:
    return RandomRows(spec, place, DataOptions(**{"random": 600, **options}))


IMAGE = InputSpec("image", (None, 3, 2), "float32")


def test_any_range_gives_the_same_rows() -> None:
    whole = rows(IMAGE).read(0, 600)
    assert whole.shape == (600, 3, 2)
    assert len(np.unique(whole)) > 3000
    other = rows(IMAGE)
    for start, stop in ((590, 600), (0, 1), (255, 257), (200, 513), (4, 4)):
        np.testing.assert_array_equal(other.read(start, stop), whole[start:stop])


def test_rows_do_not_depend_on_how_many_there_are() -> None:
    np.testing.assert_array_equal(rows(IMAGE, random=5).read(0, 5), rows(IMAGE).read(0, 5))


def test_the_rows_of_a_block_are_drawn_by_philox() -> None:
    """By hand, for one block of short rows, and for long rows, of which four make a block."""
    generator = np.random.Generator(np.random.Philox(key=[7, 2], counter=[0, 0, 0, 1]))
    expected = generator.random((256, 3, 2)).astype(np.float32)[4:9]
    np.testing.assert_array_equal(rows(IMAGE, 2, seed=7).read(260, 265), expected)
    long = InputSpec("x", (None, 512, 512), "float32")
    generator = np.random.Generator(np.random.Philox(key=[0, 0], counter=[0, 0, 0, 2]))
    expected = generator.random((4, 512, 512)).astype(np.float32)[1:2]
    np.testing.assert_array_equal(rows(long).read(9, 10), expected)


def test_seed_and_place_change_the_rows() -> None:
    first = rows(IMAGE).read(0, 8)
    assert not np.isin(rows(IMAGE, seed=1).read(0, 8), first).any()
    assert not np.isin(rows(IMAGE, 1).read(0, 8), first).any()


@pytest.mark.parametrize(
    ("spec", "dtype", "low", "high", "words"),
    [
        (InputSpec("x", (None, 40), "float32"), "float32", 0, 1, "uniform from 0 to 1"),
        (InputSpec("x", (None, 40), "float64"), "float64", 0, 1, "uniform from 0 to 1"),
        (InputSpec("x", (None, 40), "float16"), "float16", 0, 1, "uniform from 0 to 1"),
        (InputSpec("x", (None, 40), "bfloat16"), "bfloat16", 0, 1, "uniform from 0 to 1"),
        (InputSpec("x", (None, 40), None), "float32", 0, 1, "uniform from 0 to 1"),
        (InputSpec("x", (None, 40), "int64"), "int64", 0, 9, "integers from 0 to 9"),
        (InputSpec("x", (None, 40), "uint8"), "uint8", 0, 255, "integers from 0 to 255"),
        (InputSpec("x", (None, 40), "bool"), "bool", 0, 1, "True and False"),
        (InputSpec("x", (None, 40), "int32", vocabulary=50), "int32", 0, 49, "ids from 0 to 49"),
        (InputSpec("x", (None, 40), "float32", vocabulary=50), "float32", 0, 49, "ids from 0 to 49"),
        (InputSpec("x", (None, 40), None, vocabulary=50), "int32", 0, 49, "ids from 0 to 49"),
        (InputSpec("padding_mask", (None, 40), "bool"), "bool", 1, 1, "ones, as for a mask that hides nothing"),
        (
            InputSpec("padding_mask", (None, 40), "int32", vocabulary=20),
            "int32",
            1,
            1,
            "ones, as for a mask that hides nothing",
        ),
        (
            InputSpec("x", (None, 40), "int8", quantization=(0.5, -2)),
            "float32",
            -63,
            64.5,
            "uniform from -63 to 64.5",
        ),
    ],
)
def test_values_suit_the_input(spec: InputSpec, dtype: str, low: float, high: float, words: str) -> None:
    reader = rows(spec)
    values = reader.read(0, 600)
    assert reader.settings == {"random": 600, "seed": 0, "values": words}
    assert str(reader.dtype) == dtype == str(values.dtype)
    assert values.astype(float).min() == pytest.approx(low, abs=(high - low) / 500)
    assert values.astype(float).max() == pytest.approx(high, abs=(high - low) / 500)


def test_ids_fill_the_vocabulary_evenly() -> None:
    ids = rows(InputSpec("x", (None, 100), "int32", vocabulary=10)).read(0, 600)
    assert abs(np.bincount(ids.reshape(-1)) / ids.size - 0.1).max() < 0.01


def test_text_is_text() -> None:
    texts = rows(InputSpec("x", (None, 1), "string"), random=20).read(0, 20)
    assert texts.shape == (20, 1)
    assert all(isinstance(text, str) and 1 <= len(text.split()) <= 12 for text in texts[:, 0])
    assert len(set(texts[:, 0])) == 20


def test_open_axes_get_a_size_that_is_told() -> None:
    sequence, image = InputSpec("tokens", (None, None), "int32"), InputSpec("image", (None, None, None, 3), "float32")
    assert (rows(sequence).shape, rows(image).shape) == ((600, 16), (600, 64, 64, 3))
    assert rows(image, open_size=48).shape == (600, 48, 48, 3)
    assert rows(image).notes == (
        "the input 'image' has open axes, and --random 600 makes them 64 long: (64, 64, 3) (choose: --open-size)",
    )
    assert rows(image).settings["open_size"] == 64
    assert rows(IMAGE).notes == ()


def test_a_subclassed_model_tells_the_shape_with_which_it_was_built() -> None:
    assert rows(InputSpec("x", (None, None), None, built=(None, 7))).shape == (600, 7)


def test_what_is_not_declared_is_an_error_that_says_what_to_do() -> None:
    examples = RandomExamples(DataOptions(random=2))
    with pytest.raises(InputError, match=r"shape of its input 'x', so random examples cannot be made \(give an INPUT"):
        examples.arrays([InputSpec("x", None, None)])
    assert [array.name for array in examples.arrays([InputSpec("mask", None, None, optional=True), IMAGE])] == ["image"]
