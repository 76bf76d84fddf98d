"""Models of many short branches, each a layer between others, and what their tensors have to be after conversion.

One conversion serves all branches. A tensor of the converted file that bears the address of a layer of Keras must be
what that layer gives. `tests/conversions.py` tries every layer in every place.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from keras import layers, ops

import tfdump
from support.saved_formats import lite

EXAMPLES = 3
SHAPES = {1: (6,), 2: (6, 4), 3: (8, 8, 4)}
Make = Callable[[Any], Any]


class Tail(layers.Layer):
    """A layer of the user's own: another layer, or none, and an operation behind it."""

    def __init__(self, operation: Make, inner: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.operation = operation
        self.inner = inner

    def build(self, shape: Any) -> None:
        if self.inner is not None:
            self.inner.build(shape)
        self.built = True

    def call(self, x: Any) -> Any:
        return self.operation(x if self.inner is None else self.inner(x))


class Gate(layers.Layer):
    """Two products, one of which gates the other."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.first = layers.Dense(units, name="first")
        self.second = layers.Dense(units, name="second")

    def build(self, shape: Any) -> None:
        self.first.build(shape)
        self.second.build(shape)
        self.built = True

    def call(self, x: Any) -> Any:
        return ops.silu(self.first(x)) * self.second(x)


ACTIVATIONS = [
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "hard_silu", "softplus", "softsign", "tanh"),
    *("sigmoid", "hard_sigmoid", "exponential", "mish", "log_softmax", "softmax", "squareplus", "sparse_plus"),
    *("soft_shrink", "hard_shrink", "tanh_shrink", "hard_tanh", "log_sigmoid"),
]
TAILS: Mapping[str, Make] = {
    "times": lambda y: y * 2.0,
    "over": lambda y: y / 3.0,
    "plus": lambda y: y + 1.5,
    "minus_from": lambda y: 1.0 - y,
    "clip6": lambda y: ops.clip(y, 0, 6),
    "clip1": lambda y: ops.clip(y, -1, 1),
    "relu_times": lambda y: ops.relu(y) * 2,
    "relu_plus": lambda y: ops.relu(y) + 2,
    "affine": lambda y: y * 2.0 + 1.0,
    "inverse": lambda y: 1.0 / (ops.abs(y) + 1.0),
    "by_deviation": lambda y: y / ops.sqrt(ops.mean(ops.square(y), axis=-1, keepdims=True) + 1e-3),
}


def _vector() -> dict[str, Callable[[], Any]]:
    made: dict[str, Callable[[], Any]] = {}
    for name in ACTIVATIONS:
        made[f"dense_{name}"] = lambda name=name: layers.Dense(6, activation=name, name="target")
        made[f"act_{name}"] = lambda name=name: layers.Activation(name, name="target")
    for name, tail in TAILS.items():
        made[f"inner_{name}"] = lambda tail=tail: Tail(tail, layers.Dense(6, name="inner"), name="target")
    return made | {
        "dense": lambda: layers.Dense(5, name="target"),
        "dense_without_bias": lambda: layers.Dense(5, use_bias=False, name="target"),
        "prelu": lambda: layers.PReLU(name="target"),
        "relu1": lambda: layers.ReLU(1.0, name="target"),
        "layer_norm": lambda: layers.LayerNormalization(name="target"),
        "rms": lambda: layers.RMSNormalization(name="target"),
        "unit": lambda: layers.UnitNormalization(name="target"),
        "batch_norm": lambda: layers.BatchNormalization(name="target"),
        "group_norm": lambda: layers.GroupNormalization(2, name="target"),
        "rescaling": lambda: layers.Rescaling(0.5, offset=-0.5, name="target"),
        "reshape": lambda: layers.Reshape((3, 2), name="target"),
        "repeat": lambda: layers.RepeatVector(3, name="target"),
        "dropout": lambda: layers.Dropout(0.5, name="target"),
        "gate": lambda: Gate(5, name="target"),
    }


def _sequence() -> dict[str, Callable[[], Any]]:
    return {
        "conv": lambda: layers.Conv1D(3, 2, name="target"),
        "causal": lambda: layers.Conv1D(3, 2, padding="causal", activation="relu", name="target"),
        "separable": lambda: layers.SeparableConv1D(3, 2, name="target"),
        "transposed": lambda: layers.Conv1DTranspose(3, 2, name="target"),
        "max": lambda: layers.MaxPooling1D(2, name="target"),
        "mean": lambda: layers.GlobalAveragePooling1D(name="target"),
        "up": lambda: layers.UpSampling1D(2, name="target"),
        "permute": lambda: layers.Permute((2, 1), name="target"),
        "flatten": lambda: layers.Flatten(name="target"),
        "dense_silu": lambda: layers.Dense(5, activation="silu", name="target"),
        "layer_norm": lambda: layers.LayerNormalization(name="target"),
        "softmax": lambda: layers.Softmax(axis=1, name="target"),
        "steps": lambda: layers.TimeDistributed(layers.Dense(5, activation="relu", name="inner"), name="target"),
    }


def _image() -> dict[str, Callable[[], Any]]:
    made: dict[str, Callable[[], Any]] = {
        f"inner_{name}": lambda tail=tail: Tail(tail, layers.Conv2D(4, 3, name="inner"), name="target")
        for name, tail in TAILS.items()
    }
    return made | {
        "conv": lambda: layers.Conv2D(4, 3, name="target"),
        "conv_relu": lambda: layers.Conv2D(4, 3, activation="relu", name="target"),
        "conv_silu": lambda: layers.Conv2D(4, 3, activation="silu", name="target"),
        "conv_without_bias": lambda: layers.Conv2D(4, 3, use_bias=False, name="target"),
        "depthwise": lambda: layers.DepthwiseConv2D(3, name="target"),
        "separable": lambda: layers.SeparableConv2D(4, 3, activation="relu", name="target"),
        "transposed": lambda: layers.Conv2DTranspose(4, 3, activation="relu", name="target"),
        "batch_norm": lambda: layers.BatchNormalization(name="target"),
        "layer_norm": lambda: layers.LayerNormalization(name="target"),
        "unit": lambda: layers.UnitNormalization(name="target"),
        "flatten": lambda: layers.Flatten(name="target"),
        "max": lambda: layers.MaxPooling2D(name="target"),
        "mean": lambda: layers.GlobalAveragePooling2D(name="target"),
        "pad": lambda: layers.ZeroPadding2D(1, name="target"),
        "permute": lambda: layers.Permute((3, 1, 2), name="target"),
        "rescaling": lambda: layers.Rescaling(0.5, offset=-0.5, name="target"),
        "normal": lambda: layers.Normalization(mean=[0.1] * 4, variance=[1, 2, 3, 4], name="target"),
        "relu": lambda: layers.ReLU(name="target"),
    }


LAYERS = {1: _vector(), 2: _sequence(), 3: _image()}


def called(layer: Any, prefix: str, x: Any) -> Any:
    """Call a layer whose name, and those of the layers in it, get a prefix."""
    for inner in layer._flatten_layers():
        inner.name = f"{prefix}_{inner.name}"
    return layer(x)


def branches(rank: int, names: Iterable[str], place: str, made: Make | None = None) -> keras.Model:
    """A model in which each layer is behind another one, and ends the model (`last`) or goes on (`relu`, `next`).

    `made` gives it its weights, by default random ones.
    """
    x = keras.Input(SHAPES[rank], name="x")
    ends = []
    for name in names:
        before = layers.Conv2D(4, 3, padding="same", name="before") if rank == 3 else layers.Dense(SHAPES[rank][-1])
        before.name = "before"
        y = called(LAYERS[rank][name](), name, called(before, name, x))
        if place == "relu":
            y = called(layers.ReLU(name="relu"), name, y)
        if place != "last":
            behind = layers.Conv2D(3, 2, name="behind") if len(y.shape) == 4 else layers.Dense(3, name="behind")
            y = called(layers.Activation("tanh", name="end"), name, called(behind, name, y))
            pools = {3: layers.GlobalMaxPooling1D, 4: layers.GlobalMaxPooling2D}
            y = pools[len(y.shape)](name=f"{name}_pool")(y) if len(y.shape) in pools else y
        ends.append(y)
    if place != "last":
        ends = [layers.Dense(2, name="final")(layers.Concatenate(name="all")(ends))]
    model: keras.Model = (made or randomized)(keras.Model(x, ends, name="m"))
    return model


def randomized(model: keras.Model) -> keras.Model:
    """The model with every weight, bias and statistic of its own value."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        value = rng.normal(0, 0.3, weight.shape)
        if "variance" in weight.path or "gamma" in weight.path or weight.path.endswith("scale"):
            value = rng.uniform(0.6, 1.4, weight.shape)
        if "float" in str(weight.dtype):
            weight.assign(value.astype("float32"))
    return model


def untrained(model: keras.Model) -> keras.Model:
    """The model with random kernels, and with the biases and statistics of new layers."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "kernel" in weight.path:
            weight.assign(rng.normal(0, 0.3, weight.shape).astype("float32"))
    return model


def examples(model: keras.Model) -> Any:
    """Random inputs for a model."""
    made = [
        np.random.default_rng(5 + number).standard_normal((EXAMPLES, *x.shape[1:])).astype("float32")
        for number, x in enumerate(model.inputs)
    ]
    return made[0] if len(made) == 1 else {x.name: value for x, value in zip(model.inputs, made, strict=True)}


@dataclass
class Verdict:
    """The addresses of a converted file that are those of layers, by whether they hold what the layers give."""

    right: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    notes: str = ""


def eager(model: keras.Model, x: Any) -> dict[str, np.ndarray]:
    """What the layers of a functional model give, of one call each, by the tensors that Keras has kept of them."""
    outputs = {
        layer.name: layer.output
        for layer in model.layers
        if len(layer._inbound_nodes) == 1 and not isinstance(layer, layers.InputLayer)
    }
    names = [name for name, output in outputs.items() if isinstance(output, keras.KerasTensor)]
    values = keras.Model(model.inputs, {name: outputs[name] for name in names})(x)
    return {name: np.asarray(value) for name, value in values.items()}


def judged(model: keras.Model, file: Path, expected: Mapping[str, np.ndarray], x: Any, **options: Any) -> Verdict:
    """Compare the tensors of a converted file with what the layers give."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        got = tfdump.activations(file, x, **options)
    verdict = Verdict(notes=" ".join(str(note.message) for note in notes))
    for address, value in expected.items():
        same = address in got and np.shape(got[address]) == value.shape
        if same:
            same = np.allclose(got[address], value, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(value).max())))
        (verdict.missing if address not in got else verdict.right if same else verdict.wrong).add(address)
    return verdict


def converted(model: keras.Model, folder: Path, like: bool = False) -> Verdict:
    """Convert a model to TFLite and judge the addresses of its tensors; with `like`, those by the model."""
    x = examples(model)
    file = lite(model, folder / f"{model.name}.tflite")
    return judged(model, file, eager(model, x), x, **({"like": model} if like else {}))
