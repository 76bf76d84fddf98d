"""Arrays that follow from the inputs of the model."""

from pathlib import Path

import numpy as np
import pytest

from support.named_rows import Columns
from support.sound_files import sound, write_wave
from tfdump.errors import InputError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.input_array import InputArray, InputCollection, arrays_for
from tfdump.inputs.matching import match
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.targets import split_targets
from tfdump.model.data_libraries import LIBRARIES
from tfdump.tensors import InputSpec

SPECS = [InputSpec("image", (None, 2), "float32"), InputSpec("age", (None,), "float32")]


def values(arrays: list[InputArray], specs: list[InputSpec] = SPECS) -> dict[str, list[object]]:
    """The values of the array of every input."""
    return {name: reader.read(0, 1).tolist() for name, reader in match(arrays, specs).items()}


def test_a_collection_gives_the_inputs_that_have_no_array() -> None:
    image = InputArray("image", ArrayReader(np.zeros((1, 2)), "x.npy"))
    assert values([image, InputCollection(None, Columns())]) == {"image": [[0.0, 0.0]], "age": ["age"]}
    assert values([InputCollection(None, Columns())]) == {"image": ["image"], "age": ["age"]}


@pytest.mark.parametrize("order", [("table.csv", "photos", "words"), ("words", "photos", "table.csv")])
def test_images_and_sound_find_their_input_whatever_stands_before_them(tmp_path: Path, order: tuple[str, ...]) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    write_wave(tmp_path / "words/1.wav", sound(4))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.jpg").touch()
    sizes = {"a": (1,), "photo": (8, 8, 3), "word": (4,), "b": (1,)}
    specs = [InputSpec(name, (None, *shape), "float32") for name, shape in sizes.items()]
    arrays = open_arguments([str(tmp_path / name) for name in order], options=DataOptions(libraries=LIBRARIES))
    assert {array.name for array in arrays_for(arrays, specs)} == set(sizes)


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
