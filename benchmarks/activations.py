"""All activations of ResNet50: tfdump against a sub-model with all outputs, the bare forward pass, and a raw write.

    python benchmarks/activations.py [EXAMPLES]

Each contestant runs in a process of its own, several times; start-up and loading do not count. Prints medians, and
ratios to tfdump.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from measure import measure, print_race, report, write_raw

BATCH = 2


def make_files(folder: Path, examples: int) -> None:
    """Save a ResNet50 with random weights, and its input."""
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.ResNet50(weights=None).save(folder / "model.keras")
    np.save(folder / "x.npy", np.random.default_rng(0).random((examples, 224, 224, 3), dtype="float32"))


def tfdump_route(folder: Path) -> float:
    """Dump everything with tfdump, as the command line does."""
    from tfdump.activation_run import ActivationOptions, open_activations
    from tfdump.inputs.arguments import open_argument, parse_argument
    from tfdump.model.load import load_model

    loaded = load_model(folder / "model.keras")
    given = open_argument(parse_argument(str(folder / "x.npy")))
    start = time.perf_counter()
    with (
        open_activations(loaded, given, ActivationOptions(), print) as run,
        run.open_writer(folder / "tfdump.h5", force=True) as writer,
    ):
        run.write(writer, "")
    return time.perf_counter() - start


def submodel_route(folder: Path) -> float:
    """Do what forum answers say: a model of all outputs, predict, and h5py."""
    import h5py
    import keras

    model = keras.models.load_model(folder / "model.keras", compile=False)
    start = time.perf_counter()
    layers = model.layers[1:]
    values = keras.Model(model.inputs, [layer.output for layer in layers]).predict(
        np.load(folder / "x.npy"), batch_size=BATCH, verbose=0
    )
    with h5py.File(folder / "submodel.h5", "w") as file:
        for layer, value in zip(layers, values, strict=True):
            file[layer.name] = value
    return time.perf_counter() - start


def forward_route(folder: Path) -> float:
    """Run the model and keep nothing."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(folder / "model.keras", compile=False)
    x = np.load(folder / "x.npy", mmap_mode="r")
    start = time.perf_counter()
    forward = tf.function(lambda batch: model(batch, training=False))
    for first in range(0, len(x), BATCH):
        forward(tf.constant(x[first : first + BATCH]))
    return time.perf_counter() - start


def raw_write_route(folder: Path) -> float:
    """Write as many bytes as the dump has."""
    return write_raw(folder / "raw.bin", (folder / "tfdump.h5").stat().st_size)


ROUTES = {
    "tfdump": tfdump_route,
    "sub-model, predict, h5py": submodel_route,
    "bare forward pass": forward_route,
    "raw write of the same bytes": raw_write_route,
}


def main() -> None:
    """Race."""
    if len(sys.argv) == 3:
        report(ROUTES[sys.argv[1]](Path(sys.argv[2])))
        return
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, examples)
        results = {route: measure(__file__, route, folder) for route in ROUTES}
        size = (folder / "tfdump.h5").stat().st_size
    print(f"ResNet50 at 224x224, every layer's output, {examples} examples, {size / 1e9:.2f} GB")
    print_race(results, "tfdump")


if __name__ == "__main__":
    main()
