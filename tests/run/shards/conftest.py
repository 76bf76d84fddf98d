"""Small models of every kind in one folder, made once."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from onnx import helper

from support.image_folders import class_folders
from support.onnx_files import built, dense, graph
from support.row_models import Odd
from support.row_models import X as ODD_ROWS
from support.saved_formats import lite
from support.tiny_models import floats


def randomized(model: keras.Model) -> keras.Model:
    """The same model with other numbers in every weight and statistic; variances stay positive."""
    random = np.random.default_rng(3)
    model.set_weights([np.abs(random.normal(1, 0.3, weight.shape)).astype("f4") for weight in model.get_weights()])
    return model


def cnn(side: int = 6, name: str = "image") -> keras.Model:
    image = keras.Input((side, side, 3), name=name)
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(image))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Activation("relu", name="relu")(x))
    return randomized(keras.Model(image, layers.Dense(2, name="out")(x)))


def fixed(inside: bool) -> keras.Model:
    """A model that takes five examples; `inside`, it works with no other number, so that the last batch is padded."""
    x = keras.Input((6,), batch_size=5, name="x")
    hidden = layers.Dense(4, name="hidden")(x)
    shaped = layers.Lambda(lambda v: ops.reshape(v, (5, 2, 2)) if inside else v * 2, name="shaped")(hidden)
    return randomized(keras.Model(x, layers.Lambda(lambda v: ops.sum(v, axis=0), name="total")(shaped)))


def turned(path: Path) -> Path:
    """An ONNX graph in which the examples of one tensor are along the second axis."""
    weights = np.random.default_rng(1).normal(size=(6, 3)).astype("f4")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="hidden"),
        helper.make_node("Transpose", ["h"], ["t"], name="turned", perm=[1, 0]),
        helper.make_node("Transpose", ["t"], ["y"], name="back", perm=[1, 0]),
    ]
    return built(path, graph(nodes, {"x": ["batch", 6]}, ["y"], {"w": weights}))


def mixing() -> keras.Model:
    """A constant, a tensor without rows of examples, and rows that depend on the other examples."""
    x = keras.Input((3,), name="x")
    total = layers.Lambda(lambda v: ops.sum(v, axis=0), name="total")(x)
    centered = layers.Lambda(lambda v: v - ops.mean(v, axis=0), name="centered")(x)
    constant = layers.Lambda(lambda v: ops.cast(ops.arange(4), "float32") / 3, name="constant")(x)
    return keras.Model(x, [total, centered, constant])


def words() -> keras.Model:
    """Text, ragged tokens and their vectors."""
    text = keras.Input((1,), dtype="string", name="text")
    split = layers.TextVectorization(vocabulary=["red", "green", "blue"], ragged=True, name="tokens")
    tokens = split(text)
    return keras.Model(text, tokens)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(5)
    np.save(folder / "x.npy", floats(23, 6, 6, 3))
    np.save(folder / "rows.npy", floats(23, 3))
    np.save(folder / "odd.npy", ODD_ROWS)
    lines = [" ".join(["red", "green", "ä", "blue"][: number % 4 + 1]) for number in range(11)]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")
    model = cnn()
    model.save(folder / "cnn.keras")
    lite(model, folder / "cnn.tflite")
    lite(model, folder / "int8.tflite", "int8", np.load(folder / "x.npy"))
    cnn(20).save(folder / "photos.keras")
    mixing().save(folder / "mixing.keras")
    words().save(folder / "words.keras")
    odd = Odd(name="odd")
    odd(ODD_ROWS)
    odd.save(folder / "odd.keras")
    eager = Odd(eager=True, name="eager")
    eager(ODD_ROWS)
    eager.save(folder / "eager.keras")
    dense(folder / "net.onnx", features=6)
    turned(folder / "turned.onnx")
    fixed(False).save(folder / "fixed.keras")
    fixed(True).save(folder / "padded.keras")
    np.save(folder / "six.npy", floats(23, 6))
    class_folders(folder / "photos")
    rows = ["id,a,b,c", *(f"row {n},{n / 3},{n / 7},{-n}" for n in range(13))]
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    ragged: Any = np.empty(9, object)
    ragged[:] = [np.arange(1, number % 4 + 2, dtype="int32") for number in range(9)]
    np.savez(
        folder / "ragged.npz",
        **{"ids.values": np.concatenate(list(ragged)), "ids.row_splits": np.cumsum([0, *map(len, ragged)])},
    )
    ids = keras.Input((None,), dtype="int32", name="ids")
    vectors = layers.Embedding(9, 2, name="vectors")(ids)
    randomized(keras.Model(ids, layers.GRU(2, name="gru")(vectors))).save(folder / "tokens.keras")
    return folder
