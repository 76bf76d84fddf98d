"""Write the model files of other Kerases, and what their layers give there: `NAME.keras` or `.h5`, and `NAME.npz`.

    KERAS_BACKEND=jax python tests/data/make.py jax        # with keras and jax
    KERAS_BACKEND=torch python tests/data/make.py torch    # with keras and torch
    python tests/data/make.py keras2                       # with tensorflow and tf_keras
    python tests/data/make.py keras2_words                 # the same; layers whose words Keras 3 does not know

Each in an environment of its own: none of them is needed to run the tests. An archive holds the inputs as `x:NAME` and
what every layer gives as `y:ADDRESS`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
EXAMPLES = 2


def inputs(seed: int = 0) -> dict[str, np.ndarray]:
    """A small picture and a few tokens, of which the last are padding."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 11, (EXAMPLES, 5)).astype("int32")
    tokens[:, 3:] = 0
    return {"image": rng.random((EXAMPLES, 8, 8, 2)).astype("float32"), "tokens": tokens}


def model_of(keras: Any, pooled: Any) -> Any:
    """Two branches that meet, of layers that both Kerases have; `pooled` takes the mean over time."""
    layers = keras.layers
    image = keras.Input((8, 8, 2), name="image")
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.Conv2D(3, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(4, 2, name="separable")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    y = layers.Embedding(11, 4, mask_zero=True, name="embedding")(tokens)
    y = layers.Bidirectional(layers.LSTM(2, return_sequences=True, name="lstm"), name="both")(y)
    y = layers.GRU(4, return_sequences=True, name="gru")(y)
    y = layers.MultiHeadAttention(2, 2, name="attention")(y, y)
    y = pooled(keras)(y)
    twice = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="tanh", name="dense")], name="twice")
    z = layers.Add(name="sum")([twice(twice(x)), y])
    return keras.Model({"image": image, "tokens": tokens}, layers.Dense(3, activation="softmax", name="logits")(z))


def spread(model: Any) -> None:
    """Give every weight a value of its own, variances positive ones."""
    rng = np.random.default_rng(1)
    model.set_weights([
        (rng.uniform(0.5, 1.5, w.shape) if "variance" in v.name else rng.normal(0, 0.4, w.shape)).astype(w.dtype)
        for v, w in zip(model.weights, model.get_weights(), strict=True)
    ])  # fmt: skip


def values_of(keras: Any, model: Any, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What every layer gives, by address; the layer that is called twice is worked out by hand."""
    names = [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    names = [name for name in names if name != "twice"]
    whole = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    found = dict(zip(names, map(np.asarray, whole.predict(x, verbose=0)), strict=True))
    kernel, bias = model.get_layer("twice").get_weights()
    once = np.tanh(found["pool"] @ kernel + bias)
    again = np.tanh(once @ kernel + bias)
    return found | {"twice.dense": once, "twice": once, "twice@1.dense": again, "twice@1": again}


def save(name: str, model: Any, x: dict[str, np.ndarray], values: dict[str, np.ndarray], ending: str) -> None:
    """Write the model and its values."""
    model.save(FOLDER / f"{name}{ending}")
    np.savez_compressed(
        FOLDER / f"{name}.npz",
        **{f"x:{key}": value for key, value in x.items()},
        **{f"y:{key}": value for key, value in values.items()},
    )


def of_backend(name: str) -> None:
    """The model under the backend that KERAS_BACKEND names, with an operation that is no layer."""
    import keras

    assert keras.backend.backend() == name, f"this is {keras.backend.backend()}: set KERAS_BACKEND={name}"
    keras.utils.set_random_seed(0)

    def pooled(keras: Any) -> Any:
        return lambda y: keras.ops.relu(keras.ops.mean(y, axis=1) * 2.0)

    model = model_of(keras, pooled)
    spread(model)
    x = inputs()
    operations = [node for node in model.operations if not isinstance(node, keras.Layer)]
    whole = keras.Model(model.inputs, [node.output for node in operations])
    values = dict(zip([node.name for node in operations], map(np.asarray, whole.predict(x, verbose=0)), strict=True))
    save(name, model, x, values_of(keras, model, x) | values, ".keras")


def of_keras_2() -> None:
    """The model, compiled, as Keras 2 saves it."""
    import tf_keras as keras

    keras.utils.set_random_seed(0)
    model = model_of(keras, lambda keras: keras.layers.GlobalAveragePooling1D(name="mean"))
    spread(model)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = inputs()
    model.train_on_batch(x, np.zeros(EXAMPLES))
    save("keras2", model, x, values_of(keras, model, x), ".h5")


def of_keras_2_words() -> None:
    """Layers whose configurations Keras 2 wrote in words that Keras 3 does not take."""
    import tf_keras as keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((8, 8, 2), name="image")
    x = layers.RandomFlip(name="flip")(image)
    x = layers.Conv2DTranspose(2, 2, dtype=keras.mixed_precision.Policy("mixed_float16"), name="transposed")(x)
    x = layers.Reshape((9, 9, 2, 1), name="frames")(x)
    x = layers.ConvLSTM2D(2, (1, 2), name="film")(x)
    x = layers.Reshape((9, 2), name="rows")(x)
    x = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True, name="cells")(x)
    x = layers.Attention(name="dot")([x, x])
    x = layers.TimeDistributed(layers.Dense(2, name="step"), name="steps")(x)
    x = layers.LeakyReLU(alpha=0.2, name="leaky")(x)
    model = keras.Model({"image": image}, x)
    spread(model)
    sample = {"image": inputs()["image"]}
    names = [layer.name for layer in model.layers[1:]]
    whole = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    values = dict(zip(names, map(np.asarray, whole.predict(sample, verbose=0)), strict=True))
    save("keras2_words", model, sample, values, ".h5")


if __name__ == "__main__":
    chosen = sys.argv[1]
    {"keras2": of_keras_2, "keras2_words": of_keras_2_words}.get(chosen, lambda: of_backend(chosen))()
