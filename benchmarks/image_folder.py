"""Features of a folder of JPEG files, against `image_dataset_from_directory` with `prefetch`, and `predict`.

    python benchmarks/image_folder.py
    IMAGES=10000 python benchmarks/image_folder.py

Images of 500x375 through MobileNetV2 to its pooled features, stored in HDF5 with the names of the files. All are whole
processes: start-up, loading and listing count. The pixels are the same to the last bit. TensorFlow and the loaded model
take more than half of the memory of both, so what is above them is compared too.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import Row, compare, contest, run_script

IMAGES = int(os.environ.get("IMAGES", "2000"))
SIZE = 224
BATCH = 32


def command_route(folder: Path, *options: str) -> float:
    """Run `tfdump activations` on the pooled features."""
    start = time.perf_counter()
    from tfdump.cli.main import run

    words = ["-l", "pool", "-o", str(folder / "dump.h5"), "-f", "-q", *options]
    status = run(["activations", str(folder / "model.keras"), str(folder / "photos"), *words])
    if status:
        sys.exit(status)
    return time.perf_counter() - start


def dataset_route(folder: Path) -> float:
    """Do the same as the tutorials of Keras do."""
    start = time.perf_counter()
    import h5py
    import keras
    import tensorflow as tf

    model = keras.models.load_model(folder / "model.keras", compile=False)
    images = keras.utils.image_dataset_from_directory(
        folder / "photos", labels=None, image_size=(SIZE, SIZE), batch_size=BATCH, shuffle=False, verbose=False
    )
    names = images.file_paths
    features = keras.Model(model.inputs, model.get_layer("pool").output).predict(
        images.prefetch(tf.data.AUTOTUNE), verbose=0
    )
    with h5py.File(folder / "features.h5", "w") as file:
        file["features"] = features
        file["names"] = names
    return time.perf_counter() - start


def frugal_route(folder: Path) -> float:
    """Run `tfdump activations` in little memory."""
    return command_route(folder, "--memory", "64MiB")


def loading_route(folder: Path) -> float:
    """Load the model, and do nothing with it."""
    start = time.perf_counter()
    import keras

    keras.models.load_model(folder / "model.keras", compile=False)
    return time.perf_counter() - start


ROUTES = {"command": command_route, "frugal": frugal_route, "dataset": dataset_route, "loading": loading_route}


def make(folder: Path, count: int) -> None:
    """Draw images with some noise, as large as photos of their size, and save a model with random weights."""
    import keras
    from PIL import Image

    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNetV2(input_shape=(SIZE, SIZE, 3), include_top=False, weights=None)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(network.output)
    keras.Model(network.inputs, pooled).save(folder / "model.keras")
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    noise = random.normal(0, 12, (64, 375, 500, 3)).astype(np.float32)
    rows, columns = np.mgrid[:375, :500].astype(np.float32)
    for number in range(count):
        waves = [np.sin(rows / random.uniform(5, 60) + columns / random.uniform(5, 60)) for _ in range(3)]
        pixels = np.clip(np.stack(waves, -1) * 70 + 128 + noise[number % 64], 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number:06}.jpg", quality=85)


def race() -> list[Row]:
    """Race."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, IMAGES)
        samples = contest(__file__, list(ROUTES), folder)
    race = f"pooled features of {IMAGES:,} JPEG files"
    theirs = samples["dataset"]
    against = "image_dataset_from_directory, predict"
    rows = []
    for name, route in ((race, "command"), (f"{race}, --memory 64MiB", "frugal")):
        ours = samples[route]
        rows.append(compare(name, ours.seconds, against, theirs.seconds, goal=0.9))
        rows.append(compare(f"{name}: memory", ours.megabytes, against, theirs.megabytes, "MB", 1 / 3))
    above = [[peak - base for peak, base in zip(samples[route].megabytes, samples["loading"].megabytes, strict=True)]
             for route in ("frugal", "dataset")]  # fmt: skip
    rows.append(compare(f"{rows[-1].race} above the loaded model", above[0], against, above[1], "MB", 1 / 3))
    return rows


if __name__ == "__main__":
    run_script(ROUTES, race)
