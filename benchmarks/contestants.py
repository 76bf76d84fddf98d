"""Models with random weights and their inputs, and what a user would do instead of tfdump, for every race."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from measure import settle

Arrays = dict[str, Any]


def save(folder: Path, model: Any, arrays: Mapping[str, Any]) -> None:
    """Save a model and its inputs, one `.npy` an input: by its name, or `x` where there is one."""
    model.save(folder / "model.keras")
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def make_resnet(folder: Path, examples: int, size: int = 224) -> None:
    """ResNet50: 175 layers that put out 150 MB for an example of 224x224."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None, input_shape=(size, size, 3), name="resnet50")
    pictures = np.random.default_rng(0).random((examples, size, size, 3), dtype="float32")
    save(folder, model, {"x": pictures})


def make_bert(folder: Path, examples: int, layers: int = 2, width: int = 128, length: int = 128) -> None:
    """A BERT of keras-hub in the size of its `tiny` (2 layers, 128 wide) or `small` (4 layers, 512 wide)."""
    import keras
    import keras_hub

    keras.utils.set_random_seed(0)
    model = keras_hub.models.BertBackbone(
        vocabulary_size=2000,
        num_layers=layers,
        num_heads=width // 64,
        hidden_dim=width,
        intermediate_dim=4 * width,
        max_sequence_length=length,
    )
    random = np.random.default_rng(0)
    shape = (examples, length)
    save(
        folder,
        model,
        {
            "token_ids": random.integers(0, 2000, shape, dtype="int32"),
            "padding_mask": np.ones(shape, "int32"),
            "segment_ids": np.zeros(shape, "int32"),
        },
    )


def make_lstm(folder: Path, examples: int, length: int = 100) -> None:
    """Two LSTM layers over sequences of 32 numbers."""
    import keras

    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((length, 32), name="x")
    for number in range(2):
        x = keras.layers.LSTM(64, return_sequences=True, name=f"lstm{number}")(x)
    x = keras.layers.Dense(10, activation="softmax", name="out")(x)
    numbers = np.random.default_rng(0).random((examples, length, 32), dtype="float32")
    save(folder, keras.Model(inputs, x), {"x": numbers})


def make_tabular(folder: Path, examples: int) -> None:
    """Four dense layers over rows of 32 numbers."""
    import keras

    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((32,), name="x")
    for number in range(4):
        x = keras.layers.Dense(64, activation="relu", name=f"dense{number}")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(x))
    save(folder, model, {"x": np.random.default_rng(0).random((examples, 32), dtype="float32")})


def make_cnn(folder: Path, examples: int, depth: int = 6, width: int = 32, size: int = 32) -> None:
    """A chain of convolutions with ReLU."""
    import keras

    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((size, size, 3), name="x")
    for number in range(depth):
        x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pool")(x))
    save(folder, model, {"x": np.random.default_rng(0).random((examples, size, size, 3), dtype="float32")})


def load(folder: Path) -> Any:
    """Load the model as a user would."""
    import keras

    return keras.models.load_model(folder / "model.keras", compile=False)


def arrays_of(folder: Path, model: Any, mmap: bool = True) -> Arrays:
    """Open the inputs of a model, by name."""
    mode: Any = "r" if mmap else None
    return {name: np.load(path, mmap_mode=mode) for name, path in files_of(folder, model).items()}


def files_of(folder: Path, model: Any) -> dict[str, Path]:
    """The files of the inputs of a model, by name."""
    names = [tensor.name for tensor in model.inputs]
    return {name: folder / f"{name if len(names) > 1 else 'x'}.npy" for name in names}


def tops(model: Any) -> list[Any]:
    """The layers of the model itself, but its inputs."""
    import keras

    return [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


def tfdump_activations(folder: Path, target: Path, room: int = 0, **choices: Any) -> float:
    """Dump with tfdump as the command line does; return the seconds without start-up and loading.

    It begins with `room` bytes of memory at hand. `layers` are patterns, `inputs` arguments of the command line; the
    rest are those of ActivationOptions, RunOptions and StoreOptions. With `until_nan`, clean examples are searched, and
    nothing is written.
    """
    from tfdump.address import Selection
    from tfdump.captures import Captures
    from tfdump.inputs.arguments import open_arguments
    from tfdump.model.loading.load import load_model
    from tfdump.model.loading.user_code import import_user_code
    from tfdump.run.activations.options import ActivationOptions
    from tfdump.run.activations.run import open_activations
    from tfdump.run.options import RunOptions, StoreOptions

    custom = import_user_code(("keras_hub",)) if (folder / "token_ids.npy").exists() else None
    loaded = load_model(folder / "model.keras", custom=custom)
    files = [f"{name}={path}" for name, path in files_of(folder, loaded.model).items()]
    arguments = open_arguments(choices.pop("inputs", files))
    searches = choices.pop("until_nan", False)
    options = ActivationOptions(
        selection=Selection(choices.pop("layers", ()), (), choices.pop("depth", None)),
        until_nan=searches,
        compression=choices.pop("compression", "none"),
        captures=Captures(ops=choices.pop("ops", False)),
        store=StoreOptions(
            statistics=choices.pop("statistics", False),
            values=choices.pop("values", True),
            dtype=choices.pop("dtype", None),
            save_inputs=searches,
        ),
        run=RunOptions(**choices),
    )
    target.unlink(missing_ok=True)
    settle(room)
    start = time.perf_counter()
    with open_activations(loaded, arguments, options, lambda text: None) as run:
        if searches:
            assert run.search() is None
        else:
            with run.open_writer(target, force=True) as writer:
                run.write(writer, "")
    return time.perf_counter() - start


def bare_forward(folder: Path, batch: int, layers: Sequence[str] | None = None, rewrites: bool = True) -> float:
    """Run the model, or a sub-model of some layers, in a `tf.function`, batch by batch, and keep nothing.

    Without `rewrites`, TensorFlow computes every operation as it stands in the model, with the bits of an eager run.
    """
    import keras
    import tensorflow as tf

    model = load(folder)
    arrays = arrays_of(folder, model)
    names = ("remapping", "arithmetic_optimization", "constant_folding")
    tf.config.optimizer.set_experimental_options(dict.fromkeys(names, rewrites))
    start = time.perf_counter()
    called = model
    if layers is not None:
        called = keras.Model(model.inputs, [model.get_layer(name).output for name in layers])
    forward = tf.function(lambda inputs: called(inputs, training=False), reduce_retracing=True)
    count = len(next(iter(arrays.values())))
    for first in range(0, count, batch):
        forward({name: tf.constant(array[first : first + batch]) for name, array in arrays.items()})
    seconds = time.perf_counter() - start
    tf.config.optimizer.set_experimental_options(dict.fromkeys(names, True))  # for those behind
    return seconds


def forward_of_all(folder: Path, batch: int) -> float:
    """Compute every layer's output and keep nothing."""
    import keras
    import tensorflow as tf

    model = load(folder)
    rows = arrays_of(folder, model)["x"]
    part = keras.Model(model.inputs, [layer.output for layer in tops(model)])
    start = time.perf_counter()
    forward = tf.function(lambda x: part(x, training=False), reduce_retracing=True)
    for first in range(0, len(rows), batch):
        forward(tf.constant(rows[first : first + batch]))
    return time.perf_counter() - start


def submodel_predict(folder: Path, target: Path, batch: int, room: int = 0) -> float:
    """Do what forum answers say: a model of all outputs, `predict`, and h5py."""
    import h5py
    import keras

    model = load(folder)
    arrays = arrays_of(folder, model, mmap=False)
    settle(room)
    start = time.perf_counter()
    layers = tops(model)
    values = keras.Model(model.inputs, [layer.output for layer in layers]).predict(arrays, batch_size=batch, verbose=0)
    with h5py.File(target, "w") as file:
        for layer, value in zip(layers, values, strict=True):
            file[layer.name] = value
    return time.perf_counter() - start


def hooked_eager(folder: Path, target: Path, batch: int, room: int = 0) -> float:
    """Watch every layer's call in an eager loop, and append what it returns to datasets of h5py."""
    import h5py
    import keras
    import tensorflow as tf

    model = load(folder)
    arrays = arrays_of(folder, model)
    count = len(next(iter(arrays.values())))
    identities = {id(layer) for layer in tops(model)}
    results: dict[str, Any] = {}
    original = keras.layers.Layer.__call__

    def watched(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(layer, *args, **kwargs)
        if id(layer) in identities:
            results[layer.name] = result
        return result

    settle(room)
    start = time.perf_counter()
    keras.layers.Layer.__call__ = watched
    try:
        with h5py.File(target, "w") as file:
            for first in range(0, count, batch):
                model(
                    {name: tf.constant(array[first : first + batch]) for name, array in arrays.items()}, training=False
                )
                for name, tensor in results.items():
                    value = tensor.numpy()
                    if name not in file:
                        file.create_dataset(name, (count, *value.shape[1:]), value.dtype, chunks=(1, *value.shape[1:]))
                    file[name][first : first + len(value)] = value
    finally:
        keras.layers.Layer.__call__ = original
    return time.perf_counter() - start


MAKERS: dict[str, Callable[..., None]] = {
    "ResNet50": make_resnet,
    "BERT": make_bert,
    "LSTM": make_lstm,
    "CNN": make_cnn,
    "tabular": make_tabular,
}
