"""The memory of one dump at 256, 1024 and 4096 examples: tfdump, whose memory is flat, against predict.

    python benchmarks/memory.py

Prints the peak memory of each process, and its ratio to that of 256 examples.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from measure import measure, report

EXAMPLES = (256, 1024, 4096)


def make_files(folder: Path) -> None:
    """Save a small CNN with random weights, and its inputs."""
    import keras

    keras.utils.set_random_seed(0)
    x = image = keras.Input((32, 32, 3))
    for number in range(6):
        x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pool")(x)).save(folder / "model.keras")
    for examples in EXAMPLES:
        np.save(folder / f"{examples}.npy", np.random.default_rng(0).random((examples, 32, 32, 3), dtype="float32"))


def tfdump_route(folder: Path, examples: str) -> None:
    """Dump every layer, in batches of 64."""
    from tfdump.cli.main import run

    arguments = ["activations", folder / "model.keras", folder / f"{examples}.npy", "--batch-size", 64]
    status = run([*map(str, arguments), "-o", str(folder / "dump.h5"), "-f"])
    if status:
        sys.exit(status)


def predict_route(folder: Path, examples: str) -> None:
    """Predict all outputs with a sub-model, in batches of 64."""
    import keras

    model = keras.models.load_model(folder / "model.keras", compile=False)
    outputs = keras.Model(model.inputs, [layer.output for layer in model.layers[1:]])
    outputs.predict(np.load(folder / f"{examples}.npy"), batch_size=64, verbose=0)


ROUTES = {"tfdump": tfdump_route, "predict": predict_route}


def main() -> None:
    """Race."""
    if len(sys.argv) == 4:
        start = time.perf_counter()
        ROUTES[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
        report(time.perf_counter() - start)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        print(f"{'route':10}" + "".join(f"{f'{n} examples':>24}" for n in EXAMPLES))
        for route in ROUTES:
            peaks = [measure(__file__, route, folder, n).megabytes for n in EXAMPLES]
            print(f"{route:10}" + "".join(f"{peak:11.0f} MB ({peak / peaks[0]:6.3f}x)" for peak in peaks))


if __name__ == "__main__":
    main()
