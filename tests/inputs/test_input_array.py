"""Arrays that follow from the inputs of the model."""

import numpy as np
import pytest

from support.named_rows import Columns
from tfdump.errors import InputError
from tfdump.inputs.input_array import InputArray, InputCollection
from tfdump.inputs.matching import match
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.targets import split_targets
from tfdump.tensors import InputSpec

SPECS = [InputSpec("image", (None, 2), "float32"), InputSpec("age", (None,), "float32")]


def values(arrays: list[InputArray], specs: list[InputSpec] = SPECS) -> dict[str, list[object]]:
    """The values of the array of every input."""
    return {name: reader.read(0, 1).tolist() for name, reader in match(arrays, specs).items()}


def test_a_collection_gives_the_inputs_that_have_no_array() -> None:
    image = InputArray("image", ArrayReader(np.zeros((1, 2)), "x.npy"))
    assert values([image, InputCollection(None, Columns())]) == {"image": [[0.0, 0.0]], "age": ["age"]}
    assert values([InputCollection(None, Columns())]) == {"image": ["image"], "age": ["age"]}


def test_a_collection_with_a_name_gives_that_input() -> None:
    arrays = [InputCollection("age", Columns()), InputCollection("image", Columns())]
    assert values(arrays) == {"image": ["image"], "age": ["age"]}
    with pytest.raises(InputError, match=r"the model has no input 'agee'; near: 'age'"):
        match([InputCollection("agee", Columns())], SPECS)


def test_a_collection_without_inputs_is_one_array() -> None:
    assert InputCollection(None, Columns()).reader.read(0, 1).tolist() == ["columns"]


def test_a_collection_can_bring_the_targets() -> None:
    collection = InputCollection(None, Columns())
    inputs, targets = split_targets([("photos", [collection])], SPECS)
    assert inputs == [collection]
    assert targets[0].reader.label == "columns::target"


def test_targets_that_are_given_count_more_than_those_of_a_collection() -> None:
    collection, given = InputCollection(None, Columns()), InputArray(None, ArrayReader(np.zeros(1), "y.npy"))
    assert split_targets([("photos", [collection]), ("y.npy", [given])], SPECS) == ([collection], [given])
