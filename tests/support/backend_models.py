"""Models of many kinds with the inputs for them, and what a process with another backend gives for their files."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from support.converted_models import randomized
from tfdump.address import Selection
from tfdump.model.backends.model import BackendModel
from tfdump.model.backends.process import BackendProcess
from tfdump.model.loading.formats import read_config
from tfdump.model.request import Request
from tfdump.model.runnable import Runtime
from tfdump.tensors import NotCaptured, TensorInfo

Arrays = dict[str, np.ndarray]
_RNG = np.random.default_rng(5)


def _floats(*shape: int) -> np.ndarray:
    return _RNG.normal(size=shape).astype("float32")


def cnn() -> tuple[keras.Model, Arrays]:
    x = keras.Input((9, 7, 3), name="image")
    y = layers.Conv2D(6, 3, padding="same", strides=2, name="conv")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.DepthwiseConv2D(3, padding="valid", activation="gelu", name="depthwise")(y)
    y = layers.AveragePooling2D(2, padding="same", name="pool")(ops.relu(y) + 1.0)
    y = layers.Dropout(0.5, name="drop")(layers.Flatten(name="flat")(y))
    return keras.Model(x, layers.Dense(4, activation="softmax", name="out")(y), name="cnn"), {
        "image": _floats(5, 9, 7, 3)
    }


def shared() -> tuple[keras.Model, Arrays]:
    """A tower and a layer that are called twice, in another order than Keras runs them."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    dense = layers.Dense(5, activation="tanh", name="dense")
    tower = keras.Sequential([keras.Input((4,)), layers.Dense(5, name="dense"), layers.ReLU(name="relu")], name="tower")
    late = dense(layers.Dense(4, name="before")(a))
    y = layers.Concatenate(name="join")([late, dense(b), tower(b), tower(a)])
    return keras.Model([a, b], layers.Dense(2, name="out")(y), name="shared"), {"a": _floats(5, 4), "b": _floats(5, 4)}


def nested() -> tuple[keras.Model, Arrays]:
    inner = keras.Input((6,), name="inner")
    block = keras.Model(
        inner, layers.LayerNormalization(name="norm")(layers.Dense(6, name="dense")(inner)), name="block"
    )
    x = keras.Input((6,), name="x")
    y = layers.Add(name="residual")([x, layers.Dropout(0.1, name="drop")(block(x))])
    return keras.Model(x, layers.Dense(3, name="dense")(y), name="nested"), {"x": _floats(5, 6)}


def recurrent() -> tuple[keras.Model, Arrays]:
    x = keras.Input((None,), dtype="int32", name="tokens")
    y = layers.Embedding(11, 6, mask_zero=True, name="embedding")(x)
    y, h, c = layers.LSTM(5, return_sequences=True, return_state=True, name="lstm")(y)
    y = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")(y)
    y = layers.TimeDistributed(layers.Dense(4, name="each"), name="steps")(y)
    y = layers.GlobalAveragePooling1D(name="pool")(y)
    tokens = _RNG.integers(1, 11, (5, 7)).astype("int32")
    tokens[:2, 4:] = 0
    return keras.Model(x, {"mean": y, "state": h + c}, name="recurrent"), {"tokens": tokens}


def attention() -> tuple[keras.Model, Arrays]:
    x = keras.Input((6, 8), name="x")
    y = layers.MultiHeadAttention(2, 4, name="mha")(x, x)
    y = layers.LayerNormalization(name="norm")(layers.Add(name="add")([x, y]))
    return keras.Model(x, layers.Dense(2, name="out")(y[:, 0]), name="attention"), {"x": _floats(5, 6, 8)}


def outputs() -> tuple[keras.Model, Arrays]:
    """Several outputs in a list, one of them of integers and one that no layer computes."""
    x = keras.Input((3, 4), name="x")
    y = layers.Permute((2, 1), name="turned")(x)
    return keras.Model(x, [layers.Dense(2, name="out")(y), ops.argmax(y, axis=-1), x * 2.0], name="outputs"), {
        "x": _floats(5, 3, 4)
    }


def half() -> tuple[keras.Model, Arrays]:
    """Mixed precision, with bfloat16."""
    x = keras.Input((4,), name="x")
    y = layers.Dense(6, activation="relu", name="wide", dtype="mixed_bfloat16")(x)
    return keras.Model(x, layers.Dense(2, name="out", dtype="float32")(y), name="half"), {"x": _floats(5, 4)}


MODELS: Mapping[str, Callable[[], tuple[keras.Model, Arrays]]] = {
    one.__name__: one for one in (cnn, shared, nested, recurrent, attention, outputs, half)
}


def saved(name: str, folder: Path) -> tuple[Path, Arrays]:
    """The file of a model with random weights, and its inputs."""
    keras.utils.set_random_seed(3)
    model, x = MODELS[name]()
    path = folder / f"{name}.keras"
    randomized(model).save(path)
    return path, x


def save_with_own_layer(folder: Path, body: str, imports: str = "") -> None:
    """Write `m.keras` with a layer of a class in `mine.py`, whose `call` has this body, and `x.npy` for it.

    The file is written without running the code, as for a model that comes from elsewhere.
    """
    code = (
        f"import keras\n{imports}\nclass Own(keras.Layer):\n    def call(self, x):\n        {body}\n"
        "    def compute_output_shape(self, shape):\n        return shape\n"  # so that loading does not call it
    )
    (folder / "mine.py").write_text(code)
    np.save(folder / "x.npy", np.array([[1, 2, -3], [4, -5, 6]], "float32"))
    keras.Sequential([keras.Input((3,)), layers.ReLU(name="own")], name="owner").save(folder / "relu.keras")
    with zipfile.ZipFile(folder / "relu.keras") as plain, zipfile.ZipFile(folder / "m.keras", "w") as model:
        for name in plain.namelist():
            data = plain.read(name)
            if name == "config.json":
                config = json.loads(data)
                (layer,) = (one for one in config["config"]["layers"] if one["class_name"] == "ReLU")
                layer |= {"class_name": "Own", "module": "mine", "registered_name": "Own"}
                layer["config"] = {"name": "own", "trainable": True, "dtype": "float32"}
                data = json.dumps(config).encode()
            model.writestr(name, data)
    (folder / "relu.keras").unlink()


@dataclass(frozen=True)
class BackendRun:
    """What one run on a backend gave, as (final output or not, address) -> description and values."""

    infos: dict[tuple[bool, str], TensorInfo]
    values: dict[tuple[bool, str], Any]
    not_captured: tuple[NotCaptured, ...]


def run_file(process: BackendProcess, path: Path, x: Arrays) -> BackendRun:
    """Load a file in a process that has started Keras, and run it; the process stays for the next file."""
    fields = {"config": read_config(path), "trust": False, "imports": [], "left": [], "limit": 1 << 30, "seed": 0}
    description = process.ask("load", path=str(path), stored=1 << 30, **fields).fields
    model = BackendModel(process, Runtime(process.backend.name, ""), description)
    probe = model.probe(model.signature(list(x)), [], Request(Selection()), print)
    return _run(probe, x)


def run_here(path: Path, x: Arrays) -> BackendRun:
    """The same with TensorFlow in this process, eagerly."""
    from tfdump.model.loading.load import load_model
    from tfdump.model.runnable import runnable

    model = runnable(load_model(path).model)
    signature = model.signature(list(x))
    with model.probe(signature, signature.specs, Request(Selection(), eager=True), print) as probe:
        return _run(probe, x)


def _run(probe: Any, x: Arrays) -> BackendRun:
    probe.start()
    values = probe.run(x)
    keys = [(probed.is_output, probed.info.address) for probed in probe.probed]
    infos = [probed.info for probed in probe.probed]
    return BackendRun(dict(zip(keys, infos, strict=True)), dict(zip(keys, values, strict=True)), probe.not_captured)
