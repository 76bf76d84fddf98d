"""Write the models of other Kerases, and what their layers give there: `NAME.keras`, `.h5` or a folder, and `NAME.npz`.

    KERAS_BACKEND=jax python tests/data/make.py jax        # with keras and jax
    KERAS_BACKEND=torch python tests/data/make.py torch    # with keras and torch
    python tests/data/make.py keras2                       # with tensorflow and tf_keras
    python tests/data/make.py keras2_words                 # the same; layers whose words Keras 3 does not know
    python tests/data/make.py keras2_masks                 # with tensorflow-cpu 2.15.1 and its Keras: a SavedModel
    kinds |= {"keras2_masks": of_keras_2_masks, "keras2_recurrent": of_keras_2_recurrent}
    kinds |= {"keras2_integers": of_keras_2_integers}
    python tests/data/make.py keras2_archives              # with tensorflow 2.12 to 2.15: keras2_15.keras and the like

Each in an environment of its own: none of them is needed to run the tests. An archive holds the inputs as `x:NAME` and
what every layer gives as `y:ADDRESS`.
"""

import sys
from importlib.metadata import version
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
    values = dict(zip(names, map(np.asarray, whole.predict(x, verbose=0)), strict=True))
    kernel, bias = model.get_layer("twice").get_weights()
    once = np.tanh(values["pool"] @ kernel + bias)
    again = np.tanh(once @ kernel + bias)
    return values | {"twice.dense": once, "twice": once, "twice@1.dense": again, "twice@1": again}


def save(name: str, model: Any, x: dict[str, np.ndarray], values: dict[str, np.ndarray], ending: str) -> None:
    """Write the model and its values."""
    model.save(FOLDER / f"{name}{ending}")
    save_values(name, x, values)


def save_values(name: str, x: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> None:
    """Write the inputs and what the layers give."""
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


def graph_of_keras_2(keras: Any) -> Any:
    """A functional model of what archives of Keras 2 write in words of their own: weights, operations, inner models."""
    import keras2_house
    import tensorflow as tf

    layers = keras.layers
    image, tokens = keras.Input((6, 6, 2), name="image"), keras.Input((5,), dtype="int32", name="tokens")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, activation="relu", name="conv")(image))
    x = tf.reduce_mean(layers.SeparableConv2D(4, 2, name="separable")(x), axis=[1, 2])
    y = layers.Embedding(11, 4, mask_zero=True, name="embedding")(tokens)
    y = layers.Bidirectional(layers.LSTM(2, return_sequences=True, name="lstm"), name="both")(y)
    y, state = layers.GRU(4, return_sequences=True, return_state=True, name="gru")(y)
    y = layers.GRU(4, return_sequences=True, name="decoder")(y, initial_state=state)
    y = layers.MultiHeadAttention(2, 2, name="attention")(y, y)
    y = layers.LayerNormalization(name="level")(y)
    y = tf.concat([y[:, 0], 1.0 - tf.expand_dims(y[:, -1, 1], 1)], axis=-1)[:, :4]
    start = keras.Input((4,), name="start")
    wide = [layers.Dense(4, activation="tanh", name=name)(start) for name in ("n2", "n0", "n1")]
    inner = keras.Model(start, [wide[1] * 2.0 - wide[0], wide[2]], name="inner")
    tower = keras.Sequential(
        [layers.Dense(4, name="t1"), layers.BatchNormalization(name="t2"), layers.Dense(4, name="t3")], name="tower"
    )
    a, b = inner(x)
    c, d = inner(tower(y))
    z = tf.abs(a - tower(d)) + tf.nn.relu(b) * c
    z = keras2_house.Block(4, name="block")(tf.reshape(tf.stack([z, tf.maximum(z, 0.1)], axis=1), [-1, 8]))
    z = layers.Dense(4, activation=keras2_house.bent, name="bent")(z)
    return keras.Model({"image": image, "tokens": tokens}, layers.Dense(3, activation="softmax", name="logits")(z))


def of_keras_2_archives() -> None:
    """Archives of the model of operations and of a subclassed one, named after the version of Keras."""
    import keras2_house
    from tensorflow import keras

    keras.utils.set_random_seed(0)
    name = "keras" + "_".join(version("keras").split(".")[:2])
    archive = {"save_format": "keras_v3"} if name == "keras2_12" else {}  # which wrote HDF5 under the name otherwise
    x = inputs()
    x["image"] = x["image"][:, :6, :6]
    model = graph_of_keras_2(keras)
    spread(model)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    once = [layer for layer in model.layers if len(layer.inbound_nodes) == 1 and layer.name not in x]
    whole = keras.Model(model.inputs, [layer.output for layer in once])
    values: dict[str, np.ndarray] = {}
    for layer, output in zip(once, whole.predict(x, verbose=0), strict=True):
        parts = output if isinstance(output, list) else [output]
        address = layer.name.replace(".", "%2E")
        values |= {address if len(parts) == 1 else f"{address}:{n}": np.asarray(part) for n, part in enumerate(parts)}
    values["logits"] = model.predict(x, verbose=0)
    model.save(FOLDER / f"{name}.keras", **archive)
    if name == "keras2_12":  # the last one whose legacy files have no modules inside of layers
        model.save(FOLDER / f"{name}.h5")
    save_values(name, x, values)
    net, rows = keras2_house.Net(name="net"), {"x": np.random.default_rng(2).normal(size=(3, 4)).astype("float32")}
    net(rows["x"])
    spread(net)
    net.save(FOLDER / f"{name}_net.keras", **archive)
    save_values(f"{name}_net", rows, {"output": np.asarray(net(rows["x"]))})
    if name == "keras2_15":
        start = keras.Input((4,), name="x")
        keras.Model(start, net(start)).save(FOLDER / f"{name}_net.h5")
        with_losses_of_its_own(keras)
        with_masks(keras)


def with_masks(keras: Any) -> None:
    """A model whose masks go through recurrent layers with and without initial states, attention and a sum."""
    layers = keras.layers
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.Embedding(11, 4, mask_zero=True, name="embedding")(tokens)
    y, h, c = layers.LSTM(4, return_sequences=True, return_state=True, name="encoder")(x)
    y = layers.Add(name="sum")([y, layers.MultiHeadAttention(2, 2, name="attention")(y, y)])
    y = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both")(y)
    z = layers.LSTM(4, return_sequences=True, name="decoder")(x, initial_state=[h, c])
    z = layers.Bidirectional(layers.LSTM(4), name="ends")(z, initial_state=[c, h, h, c])
    model = keras.Model(tokens, [layers.GlobalAveragePooling1D(name="mean")(y), z])
    spread(model)
    rows = {"tokens": inputs()["tokens"]}
    model.save(FOLDER / "keras2_15_masks.keras")
    names = ["embedding", "sum", "attention", "both", "decoder", "ends", "mean"]
    whole = keras.Model(tokens, [model.get_layer(name).output for name in names])
    save_values("keras2_15_masks", rows, dict(zip(names, map(np.asarray, whole(rows["tokens"])), strict=True)))


def with_losses_of_its_own(keras: Any) -> None:
    """A model with a layer that leads to a loss and to no output, of the class and shape of another one."""
    import tensorflow as tf

    start = keras.Input((4,), name="x")
    first = keras.layers.Dense(4, name="first")(start)
    aside = keras.layers.Dense(4, name="aside")(start)
    model = keras.Model(start, keras.layers.Dense(4, name="last")(first))
    model.add_loss(tf.reduce_mean(tf.square(first - aside)))
    model.add_metric(tf.reduce_mean(first), name="size")
    model.compile("sgd", "mse")
    spread(model)
    rows = {"x": np.random.default_rng(2).normal(size=(3, 4)).astype("float32")}
    model.save(FOLDER / "keras2_15_losses.keras")
    model.save(FOLDER / "keras2_15_losses.h5")
    values = {
        name: np.asarray(keras.Model(start, model.get_layer(name).output)(rows["x"])) for name in ("first", "last")
    }
    save_values("keras2_15_losses", rows, values)


def of_keras_2_integers() -> None:
    """Layers of integer dtypes, which Keras 2 gives other numbers as they are, and a lookup that has weights there."""
    from tensorflow import keras

    layers = keras.layers
    number = keras.Input((4,), name="number")
    word = keras.Input((2,), dtype="int64", name="word")
    made = [
        layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0], name="bins")(number),
        layers.Flatten(dtype="int32", name="flat")(layers.Reshape((2, 2), dtype="int64", name="square")(number)),
        layers.Embedding(4, 2, name="embedding")(layers.Hashing(4, name="hash")(word)),
        layers.IntegerLookup(vocabulary=[3, 5, 7], output_mode="tf_idf", idf_weights=[0.3, 0.4, 0.5], name="lookup")(
            word
        ),
        layers.CategoryEncoding(8, output_mode="count", dtype="int32", name="count")(word),
    ]
    model = keras.Model({"number": number, "word": word}, made)
    spread(model)
    rows = {
        "number": np.array([[0.9, -1.5, 0.4, 1.7], [-0.4, -0.2, -0.9, 0.2]], "float32"),
        "word": np.array([[3, 6], [7, 5]]),
    }
    model.save(FOLDER / "keras2_14_integers.h5")
    names = ["bins", "square", "flat", "hash", "embedding", "lookup", "count"]
    whole = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    values = dict(zip(names, map(np.asarray, whole.predict(rows, verbose=0)), strict=True))
    save("keras2_14_integers", model, rows, values, ".keras")


def of_keras_2_masks() -> None:
    """A SavedModel of layers that make masks and hand them on."""
    import keras

    assert keras.__version__.startswith("2."), f"this is Keras {keras.__version__}"
    keras.utils.set_random_seed(0)
    layers = keras.layers
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    signal = keras.Input((5, 3), name="signal")
    x = layers.Embedding(11, 4, mask_zero=True, name="embedding")(tokens)
    y = layers.Dense(4, activation="tanh", name="dense")(layers.Masking(name="masking")(signal))
    x = layers.Concatenate(name="both")([x, layers.Add(name="sum")([x, y])])
    x = layers.LayerNormalization(name="normal")(layers.Attention(name="attention")([x, x]))
    x = layers.Dense(2, name="logits")(layers.GlobalAveragePooling1D(name="mean")(x))
    model = keras.Model({"tokens": tokens, "signal": signal}, x)
    spread(model)
    sample = {"tokens": inputs()["tokens"], "signal": np.random.default_rng(2).normal(0, 1, (EXAMPLES, 5, 3))}
    sample["signal"] = sample["signal"].astype("float32")
    sample["signal"][:, 3:] = 0
    names = [layer.name for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    whole = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    values = dict(zip(names, map(np.asarray, whole.predict(sample, verbose=0)), strict=True))
    save("keras2_masks", model, sample, values, "")
    (FOLDER / "keras2_masks" / "keras_metadata.pb").unlink()  # which nothing but Keras 2 reads


def of_keras_2_recurrent() -> None:
    """A SavedModel of recurrent layers behind each other, one of which takes the states of another, and of no layers.

    A SavedModel keeps names of Keras only where they are those of scopes, so that `tf.math.multiply` is a layer too.
    """
    import keras

    assert keras.__version__.startswith("2."), f"this is Keras {keras.__version__}"
    layers = keras.layers
    signal, first = keras.Input((5, 3), name="signal"), keras.Input((4,), name="first")
    x = layers.LSTM(4, return_sequences=True, name="lower")(signal)
    x, hidden, carry = layers.LSTM(4, return_sequences=True, return_state=True, name="upper")(x)
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True, name="gru"), name="both")(x)
    x = layers.GRU(4, return_sequences=True, name="below")(x)
    x = layers.GRU(4, return_sequences=True, go_backwards=True, name="above")(x, initial_state=hidden)
    x = layers.SimpleRNN(4, name="simple")(x)
    model = keras.Model({"signal": signal, "first": first}, layers.Add(name="sum")([first * 2.0 + x, carry]))
    spread(model)
    rng = np.random.default_rng(2)
    rows = {"signal": rng.normal(size=(3, 5, 3)).astype("float32"), "first": rng.normal(size=(3, 4)).astype("float32")}
    operations = [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    values = {}
    for layer, output in zip(operations, keras.Model(model.inputs, [o.output for o in operations])(rows), strict=True):
        name = layer.name.replace(".", "%2E")
        several = output if isinstance(output, (list, tuple)) else None
        values |= {f"{name}:{number}": np.asarray(v) for number, v in enumerate(several)} if several else {}
        values |= {name: np.asarray(output)} if several is None else {}
    model.export(FOLDER / "keras2_recurrent")
    save_values("keras2_recurrent", rows, values)


if __name__ == "__main__":
    maker = sys.argv[1]
    kinds = {"keras2": of_keras_2, "keras2_words": of_keras_2_words, "keras2_archives": of_keras_2_archives}
    kinds |= {"keras2_masks": of_keras_2_masks, "keras2_recurrent": of_keras_2_recurrent}
    kinds |= {"keras2_integers": of_keras_2_integers}
    kinds.get(maker, lambda: of_backend(maker))()
