"""Activations in memory, and a search for NaN, know the names of their examples."""

import keras
import numpy as np
import pytest
from keras import ops

from support.named_rows import NamedRows
from tfdump.address import Selection
from tfdump.api.result import Activations, activations_until_nan, all_activations
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.source import ReadingOptions
from tfdump.model.loading.load import in_memory
from tfdump.run.activations.options import activation_options
from tfdump.run.activations.run import open_activations
from tfdump.run.options import RunOptions

pytestmark = pytest.mark.tensorflow

NAMES = ["cat/1.jpg", "cat/ä.jpg", "dog/1.jpg", "dog/2.jpg", b"\xff.jpg".decode("utf-8", "surrogateescape")]
X = np.arange(1, 11, dtype=np.float32).reshape(5, 2)


class Log(keras.layers.Layer):
    """The logarithm, which is NaN for negative numbers."""

    def call(self, x: object) -> object:
        return ops.log(x)


def result(names: list[str] | None, x: np.ndarray = X, until_nan: bool = False, start: int = 0) -> Activations:
    """What a model of one logarithm gives on rows with these names."""
    keras.utils.clear_session()
    model = keras.Sequential([keras.Input((2,)), Log(name="log")])
    reader = ArrayReader(x, "x") if names is None else NamedRows(x, names)
    options = activation_options(
        Selection((), (), None),
        RunOptions(batch_size=2),
        outputs=None if until_nan else False,
        until_nan=until_nan,
        reading=ReadingOptions(examples=(start, None)),
    )
    with open_activations(in_memory(model), [InputArray(None, reader)], options, lambda text: None) as run:
        return (activations_until_nan if until_nan else all_activations)(run, "a test")


def test_the_names_are_in_the_order_of_the_rows() -> None:
    acts = result(NAMES)
    assert acts.ids == [*NAMES[:4], "\\xff.jpg"]
    assert len(acts.ids) == len(acts["log"])
    assert result(NAMES, start=3).ids == ["dog/2.jpg", "\\xff.jpg"]


def test_arrays_have_no_names() -> None:
    assert result(None).ids is None


def test_a_search_has_the_name_of_the_bad_example() -> None:
    bad = X.copy()
    bad[3, 1] = -1
    found = result(NAMES, bad, until_nan=True, start=1)
    assert (found.example, found.ids) == (3, ["dog/2.jpg"])
    assert found.origins[0].example_id == "dog/2.jpg"
    assert found.origins[0].message.startswith("NaN starts in 'log' (Log), example 3 (dog/2.jpg): ")


def test_a_search_that_finds_nothing_has_no_example() -> None:
    assert result(NAMES, until_nan=True).ids == []
    assert result(None, until_nan=True).ids is None
