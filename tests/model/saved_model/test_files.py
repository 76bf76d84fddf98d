"""SavedModels that do not say how they are to be called: the words that they get, and that what these advise works."""

import re
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from support import zoo
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow

KERNEL = floats(3, 2, seed=3)


class Hub(tf.Module):
    """A model as TF Hub publishes it: it can be called, and has no signatures."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(KERNEL, name="kernel")

    @tf.function
    def __call__(self, x: Any, training: bool = False) -> Any:
        return tf.nn.dropout(tf.nn.relu(x @ self.kernel), 0.5) if training else tf.nn.relu(x @ self.kernel)


class Words(tf.Module):
    """The same, of two inputs, one of them text."""

    @tf.function
    def __call__(self, words: Any, numbers: Any) -> Any:
        return tf.cast(tf.strings.length(words), tf.float32) * 2.0 + numbers


def test_a_model_of_more_layers_in_a_row_than_python_lets_a_function_call_itself(tmp_path: Path) -> None:
    """Keras follows a chain of layers by calling itself, and cannot load such a file with Python's own limit."""
    layers, limit = 1100, sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        inputs = keras.Input((2,))
        hidden = inputs
        for number in range(layers):
            hidden = keras.layers.Rescaling(1.0, offset=1.0, name=f"plus{number}")(hidden)
        keras.Model(inputs, hidden).save(tmp_path / "long.keras")
    finally:
        sys.setrecursionlimit(limit)
    np.save(tmp_path / "x.npy", np.array([[0.0, 0.5]], "f4"))
    dump = tmp_path / "long.h5"
    status, stderr = zoo.command("activations", tmp_path / "long.keras", tmp_path / "x.npy", "-o", dump)
    assert status == 0, stderr
    with h5py.File(dump) as file:
        assert len(file["activations"]) == layers
        for number in (0, 999, layers - 1):
            np.testing.assert_array_equal(file[f"activations/plus{number}"], [[number + 1, number + 1.5]])
    assert sys.getrecursionlimit() == limit


def of_tensorflow_1(path: Path, tags: list[str]) -> None:
    """Save a graph as TensorFlow 1 does, under any tags."""
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        kernel = v1.get_variable("kernel", initializer=KERNEL)
        y = tf.nn.relu(x @ kernel, name="y")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(path))
            signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
            builder.add_meta_graph_and_variables(session, tags, signature_def_map={"default": signature})
            builder.save()


def refused(path: Path) -> str:
    status, stderr = zoo.command("layers", path, "--trust-model")
    assert status == 2
    assert stderr.count("\n") == 1
    return stderr


def follow(message: str, folder: Path) -> Path:
    """Run the code that a message shows, with a folder of ours for NEW."""
    code = re.search(r"(m = tf\.saved_model\.load.*)\)$", message.strip())
    assert code is not None, message
    exec(code[1].replace("'NEW'", repr(str(folder / "new"))), {"tf": tf})
    return folder / "new"


def test_a_model_of_tf_hub_without_signatures(tmp_path: Path) -> None:
    hub, x = Hub(), floats(4, 3)
    hub(tf.constant(x), training=True)
    hub.__call__.get_concrete_function(tf.TensorSpec([None, 3]))
    tf.saved_model.save(hub, str(tmp_path / "hub"), signatures={})
    message = refused(tmp_path / "hub")
    assert "has no signatures" in message
    assert "TF Hub" in message
    dump = zoo.dumped(follow(message, tmp_path), x, "--trust-model")
    np.testing.assert_allclose(list(dump.values.values())[-1], np.maximum(x @ KERNEL, 0), rtol=1e-5, atol=1e-6)


def test_several_inputs_and_text(tmp_path: Path) -> None:
    words = Words()
    words.__call__.get_concrete_function(tf.TensorSpec([None], tf.string), tf.TensorSpec([None]))
    tf.saved_model.save(words, str(tmp_path / "words"), signatures={})
    message = refused(tmp_path / "words")
    assert "tf.TensorSpec([None], tf.string), tf.TensorSpec([None])" in message
    new = follow(message, tmp_path)
    dump = zoo.dumped(new, {"x": np.array(["a", "bcd"]), "y": np.float32([1, 2])}, "--trust-model")
    np.testing.assert_allclose(list(dump.values.values())[-1], [3, 8])


def test_what_cannot_be_called_gets_the_general_words(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "plain"), signatures={})
    message = refused(tmp_path / "plain")
    assert "has no signatures" in message
    assert "signatures=..." in message


@pytest.mark.parametrize("damage", ["node", "dtype"])
def test_a_damaged_file_without_signatures_gets_the_general_words(tmp_path: Path, damage: str) -> None:
    hub = Hub()
    hub.__call__.get_concrete_function(tf.TensorSpec([None, 3]))
    tf.saved_model.save(hub, str(tmp_path / "hub"), signatures={})
    saved = SavedModel.FromString((tmp_path / "hub" / "saved_model.pb").read_bytes())
    objects = saved.meta_graphs[0].object_graph_def
    if damage == "node":
        next(child for child in objects.nodes[0].children if child.local_name == "__call__").node_id = 1000
    else:
        for function in objects.concrete_functions.values():
            arguments = function.canonicalized_input_signature.tuple_value.values[0].tuple_value
            arguments.values[0].tensor_spec_value.dtype = 0
    (tmp_path / "hub" / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert "signatures=..." in refused(tmp_path / "hub")


@pytest.mark.parametrize("tags", [[], ["train"], ["gpu", "train"]])
def test_a_graph_of_tensorflow_1_under_other_tags(tmp_path: Path, tags: list[str]) -> None:
    of_tensorflow_1(tmp_path / "old", tags)
    message = refused(tmp_path / "old")
    assert "no graph with the tag 'serve'" in message
    assert "damaged" not in message
    assert ("no tags" if not tags else ", ".join(tags)) in message
    x = floats(4, 3)
    dump = zoo.dumped(follow(message, tmp_path), x, "--trust-model")
    np.testing.assert_allclose(list(dump.values.values())[-1], np.maximum(x @ KERNEL, 0), rtol=1e-5, atol=1e-6)
