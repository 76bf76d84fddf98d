"""Write model files of this release of Keras 3 into `keras-VERSION/`, and what they give there into `expected.npz`.

    python tests/data/make_keras3.py    # with keras 3.3.3 and tensorflow 2.16; 3.8.0 and 2.19; 3.10.0 and 2.19

Each in an environment of its own: none of them is needed to run the tests. Of every file `NAME` the archive holds the
input as `NAME/x`, the targets as `NAME/y:OUTPUT` (by the names that tfdump gives to outputs), the outputs as
`NAME/out:OUTPUT`, what every layer gives as `NAME/act:ADDRESS`, the compiled loss as `NAME/loss`, and its gradients as
`NAME/grad:ADDRESS`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

EXAMPLES = 5
FOLDER = Path(__file__).parent / f"keras-{keras.__version__.rpartition('.')[0]}"


@dataclass
class Case:
    """A compiled model and the names of its outputs, in the order of Keras."""

    name: str
    model: keras.Model
    outputs: list[str]


def body(x: Any) -> Any:
    """Two layers, one of them with a regularization."""
    x = layers.Dense(4, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.1), name="hidden")(x)
    return layers.BatchNormalization(name="norm")(x)


def cases() -> Iterator[Case]:
    """Models of every form of outputs, each compiled with a loss."""
    x = keras.Input((3,), name="x")
    out = layers.Dense(2, name="out")(body(x))
    model = keras.Model(x, out, name="one")
    model.compile("sgd", "mse")
    yield Case("one.keras", model, ["out"])
    yield Case("one.h5", model, ["out"])

    x = keras.Input((3,), name="x")
    model = keras.Model(x, [layers.Dense(2, name="out")(body(x))], name="list")
    model.compile("sgd", [keras.losses.LogCosh()])
    yield Case("list.keras", model, ["out"])

    x = keras.Input((3,), name="x")
    h = body(x)
    both = {"left": layers.Dense(2, name="left")(h), "right": layers.Dense(1, name="right")(h)}
    model = keras.Model(x, both, name="dict")
    model.compile("sgd", {"left": "mse", "right": "mae"}, loss_weights={"left": 0.5, "right": 2.0})
    yield Case("dict.keras", model, ["left", "right"])

    x = keras.Input((3,), name="x")
    h = body(x)
    model = keras.Model(x, [layers.Dense(2, name="left")(h), layers.Dense(1, name="right")(h)], name="two")
    model.compile("sgd", ["mse", "mae"])
    yield Case("two.keras", model, ["0", "1"])

    y = keras.Input((3,), name="y")
    inner = keras.Model(y, [layers.Dense(3, activation="tanh", name="deep")(y)], name="inner")
    x = keras.Input((3,), name="x")
    first = inner(x)
    h = layers.Dense(3, name="between")(first[0] if isinstance(first, list) else first)
    model = keras.Model(x, layers.Dense(2, name="out")(h), name="nested")
    model.compile("sgd", "mse")
    yield Case("nested.keras", model, ["out"])

    hidden = layers.Dense(4, activation="tanh", name="hidden")
    model = keras.Sequential([keras.Input((3,), name="x"), hidden, layers.Dense(2, name="out")], name="sequential")
    model.compile("sgd", "mse")
    yield Case("sequential.keras", model, ["out"])


def weights_of(layer: keras.Layer, path: str = "") -> dict[str, Any]:
    """The weights by address; all layers bear different names."""
    inner = getattr(layer, "layers", [])
    weights = {} if inner else {f"{path}{v.name}": v for v in layer.weights}
    for part in inner:
        weights |= weights_of(part, f"{path}{part.name}.")
    return weights


def activations_of(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """What every layer gives, each called by itself on what those before it gave."""
    tensors = {}
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            continue
        before = layer._inbound_nodes[-1].input_tensors[0]._keras_history[0]
        value = layer(tensors.get(before.name, x))
        tensors[layer.name] = value[0] if isinstance(value, list) else value
        if layer.name == "inner":
            tensors["inner.deep"] = tensors["inner"]
    return {name: np.asarray(value) for name, value in tensors.items()}


def expected(case: Case) -> dict[str, np.ndarray]:
    """The values of a model in this release of Keras."""
    rng = np.random.default_rng(len(case.name))
    for name, weight in weights_of(case.model).items():
        positive = "variance" in name
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.5, weight.shape))
    x = rng.normal(size=(EXAMPLES, 3)).astype("float32")
    outputs = case.model(x)
    flat = tf.nest.flatten(outputs)
    targets = [rng.normal(size=value.shape).astype("float32") for value in flat]
    weights = {name: v for name, v in weights_of(case.model).items() if v.trainable}
    y = tf.nest.pack_sequence_as(outputs, targets)
    case.model.compute_loss(x, y, case.model(x))  # Keras makes its losses at the first call
    with tf.GradientTape() as tape:
        loss = case.model.compute_loss(x, y, case.model(x))
    gradients = tape.gradient(loss, [variable.value for variable in weights.values()])
    return {
        "x": x,
        **{f"y:{name}": value for name, value in zip(case.outputs, targets, strict=True)},
        **{f"out:{name}": np.asarray(value) for name, value in zip(case.outputs, flat, strict=True)},
        **{f"act:{name}": value for name, value in activations_of(case.model, x).items()},
        "loss": np.asarray(loss),
        **{f"grad:{name}": np.asarray(value) for name, value in zip(weights, gradients, strict=True)},
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    for case in cases():
        arrays |= {f"{case.name}/{key}": value for key, value in expected(case).items()}
        case.model.save(FOLDER / case.name)
    np.savez_compressed(FOLDER / "expected.npz", **arrays)
