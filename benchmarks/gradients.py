"""All gradients of ResNet50: tfdump against a plain `tape.gradient` over the same batches and a raw write.

    python benchmarks/gradients.py

With respect to every weight, activation and input. All in one process, several times; start-up and loading do not
count, tracing does.
"""

import os
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from measure import Row, compare, contest_here, run_script, settle, write_raw

EXAMPLES = 4
ROOM = 2 << 30
"""Bytes of memory at hand, more than the dump takes."""
LOSS = "sparse_categorical_crossentropy"


def make_files(folder: Path, examples: int) -> None:
    """Save a ResNet50 with random weights, its input and its labels."""
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.ResNet50(weights=None).save(folder / "model.keras")
    random = np.random.default_rng(0)
    np.save(folder / "x.npy", random.random((examples, 224, 224, 3), dtype="float32"))
    np.save(folder / "y.npy", random.integers(0, 1000, examples))


def tfdump_route(folder: Path) -> float:
    """Dump everything with tfdump, as the command line does."""
    from tfdump.inputs.arguments import open_each
    from tfdump.model.loading.load import load_model
    from tfdump.run.gradients.options import WRT, GradientOptions
    from tfdump.run.gradients.run import open_gradients

    loaded = load_model(folder / "model.keras")
    arguments = open_each([str(folder / "x.npy"), str(folder / "y.npy")])
    options = GradientOptions(wrt=WRT, losses=(LOSS,))
    settle(ROOM)
    start = time.perf_counter()
    with (
        open_gradients(loaded, arguments, None, [], options, lambda text: None) as run,
        run.open_writer(folder / "tfdump.h5", force=True) as writer,
    ):
        run.write(writer, "")
    return time.perf_counter() - start


def tape_route(folder: Path) -> float:
    """Differentiate with respect to the weights and the input, batch by batch, adding up; keep nothing else.

    The gradients of the activations are computed on the way.
    """
    import h5py
    import keras
    import tensorflow as tf

    with h5py.File(folder / "tfdump.h5") as file:
        batch = int(file.attrs["batch_size"])
    model = keras.models.load_model(folder / "model.keras", compile=False)
    x, y = np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy")
    loss = keras.losses.get("SparseCategoricalCrossentropy")

    @tf.function
    def gradients(inputs, targets):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(targets, model(inputs, training=False))
        return tape.gradient(value, [*model.trainable_variables, inputs])

    start = time.perf_counter()
    total = None
    for first in range(0, len(x), batch):
        *weights, _ = gradients(tf.constant(x[first : first + batch]), tf.constant(y[first : first + batch]))
        total = weights if total is None else [a + b for a, b in zip(total, weights, strict=True)]
    return time.perf_counter() - start


def raw_write_route(folder: Path) -> float:
    """Write as many bytes as the dump has, and throw both away."""
    size = (folder / "tfdump.h5").stat().st_size
    (folder / "tfdump.h5").unlink()
    return write_raw(folder / "raw.bin", size, ROOM)


ROUTES = {"tfdump": tfdump_route, "tape": tape_route, "raw write": raw_write_route}


def race() -> list[Row]:
    """Race."""
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), EXAMPLES)
        routes = {name: partial(route, Path(folder)) for name, route in ROUTES.items()}
        samples = contest_here(routes, rounds=2, warm_up=1)
    together = [sum(pair) for pair in zip(samples["tape"], samples["raw write"], strict=True)]
    name = f"gradients of ResNet50, {EXAMPLES} examples"
    return [compare(name, samples["tfdump"], "tape.gradient + raw write", together)]


if __name__ == "__main__":
    run_script({}, race)
