"""A walk over the graph in the dump of each sample model, and each of its layers called with what it read."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from support import zoo
from support.command import SAMPLES
from support.flow_walk import Graph, called_again, constants, walked
from support.saved_formats import sample
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow

FILES = {
    "digits_cnn": ("digits.npy", 13), "siamese": ("pairs.npz", 11), "text_gru": ("text.npz", 5),
    "twice": ("digits.npy", 0), "wine_mlp": ("wine.npy", 3),
}  # fmt: skip
"""The inputs of each sample model, and how many calls of layers its graph has at least."""


def graph(model: Path, arrays: Path, folder: Path, *options: object) -> Graph:
    """The graph that the dump of one batch of a model holds."""
    dump = folder / "d.h5"
    asked = ("-o", dump, "-f", "--save-inputs", "--batch-size", 16, *options)
    status, stderr = zoo.command("activations", model, arrays, *asked)
    assert status == 0, stderr
    return Graph.of(dump)


@pytest.mark.parametrize("name", FILES)
def test_every_tensor_of_a_sample_model_follows_from_what_it_reads(tmp_path: Path, name: str) -> None:
    arrays, calls = FILES[name]
    code = ("--import", SAMPLES / "twice.py") if name == "twice" else ()
    graphs = [
        graph(SAMPLES / f"{name}.keras", SAMPLES / arrays, tmp_path, "--examples", examples, *code)
        for examples in ("0:16", "16:32")
    ]
    walk = walked(*graphs, sample(name))
    assert walk.constants == ()
    assert walk.called >= calls
    assert walk.reached == len(graphs[0].reads)


def test_the_walk_notices_wrong_edges(tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    first = layers.Dense(3, name="first", activation="tanh")(x)
    second = layers.Dense(3, name="second")(first)
    model = keras.Model(x, layers.Subtract(name="sub")([second, first]))
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", floats(4, 3))
    right = graph(tmp_path / "m.keras", tmp_path / "x.npy", tmp_path)
    assert called_again(right, model) == 3
    for address, reads in (("second", ("inputs/x",)), ("sub", ("first", "second")), ("sub", ("second",))):
        with pytest.raises(AssertionError, match=address):
            called_again(replace(right, reads={**right.reads, address: reads}), model)
    with pytest.raises(AssertionError, match="unknown"):
        constants(replace(right, reads={**right.reads, "sub": None}))
    with pytest.raises(AssertionError, match="no tensor before"):
        constants(replace(right, reads={**right.reads, "first": ("sub",)}))
    other = replace(right, values={**right.values, "first": right.values["first"] + 1})
    with pytest.raises(AssertionError, match="no constant"):
        walked(replace(right, reads={**right.reads, "first": ()}), other, model)
