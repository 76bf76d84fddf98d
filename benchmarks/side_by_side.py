"""`tfdump compare` of MobileNetV3 with its `.tflite` file, against the dumps of both and `tfdump diff`.

Also with `--isolate`, against the same comparison without it.

    python benchmarks/side_by_side.py [PICTURES]

Whole processes that run the command line; both dumps and the comparison share one process, so that TensorFlow starts
once on either side. Dumps of 1,000 pictures need 55 GB of disk; without it, 200 pictures are compared.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import Row, compare, contest, run_script

MANY, FEWER, FEW = 1000, 200, 32
NEEDED = 60 << 30


def make_models(folder: Path, examples: int) -> None:
    """Save MobileNetV3 with random weights and statistics, its `.tflite` file, and pictures."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV3Small((224, 224, 3), weights=None, name="mobilenet")
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, layer.moving_variance.shape))
    model.save(folder / "model.keras")
    (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    pictures = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (examples, 224, 224, 3))
    for picture in pictures:
        picture[...] = random.random((224, 224, 3), dtype=np.float32) * 255
    np.save(folder / "few.npy", pictures[:FEW])


def _command(*words: object) -> None:
    from tfdump.cli.main import run

    if run([*map(str, words), "-q"]) == 2:
        sys.exit(2)


def compared(folder: Path, name: str = "x.npy", *options: str) -> float:
    """Run `tfdump compare`; leave the bytes that it wrote in a file."""
    start, before = time.perf_counter(), _bytes(folder)
    _command("compare", folder / "model.keras", folder / "model.tflite", folder / name, *options)
    seconds = time.perf_counter() - start
    (folder / "compared.disk").write_text(str(_bytes(folder) - before))
    return seconds


def dumped(folder: Path) -> float:
    """Dump both, and run `tfdump diff`; leave the bytes of the dumps in a file."""
    start = time.perf_counter()
    for kind in ("keras", "tflite"):
        _command("activations", folder / f"model.{kind}", folder / "x.npy", "-o", folder / f"{kind}.h5", "-f")
    _command("diff", folder / "keras.h5", folder / "tflite.h5")
    seconds = time.perf_counter() - start
    (folder / "dumped.disk").write_text(
        str(sum((folder / f"{kind}.h5").stat().st_size for kind in ("keras", "tflite")))
    )
    for kind in ("keras", "tflite"):
        (folder / f"{kind}.h5").unlink()
    return seconds


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".disk")


def isolated(folder: Path, name: str = "x.npy") -> float:
    """Run `tfdump compare --isolate`."""
    return compared(folder, name, "--isolate")


ROUTES = {"compared": compared, "isolated": isolated, "dumped": dumped}


def race() -> list[Row]:
    """Race."""
    counts = [int(word) for word in sys.argv[1:] if word.isdigit()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        room = shutil.disk_usage(folder).free > NEEDED
        examples = counts[0] if counts else MANY if room else FEWER
        make_models(folder, examples)
        samples = contest(__file__, list(ROUTES), folder, rounds=1 if examples > FEWER else 2)
        disk = {route: int((folder / f"{route}.disk").read_text()) / 1e6 for route in ROUTES}
        few = contest(__file__, ["compared", "isolated"], folder, "few.npy", rounds=1)
    race = f"compare, MobileNetV3 and its TFLite, {examples:,} pictures"
    ours, theirs, alone = samples["compared"], samples["dumped"], samples["isolated"]
    against = "two dumps and diff"
    return [
        compare(race, ours.seconds, against, theirs.seconds, goal=0.8),
        compare(f"{race}: disk", [disk["compared"]], against, [disk["dumped"]], "MB", 0.01),
        compare(f"{race}: memory", ours.megabytes[:1], f"{FEW} pictures", few["compared"].megabytes, "MB", 1.1),
        compare(f"{race}, --isolate", alone.seconds, "compare without it", ours.seconds, goal=1.5),
        compare(
            f"{race}, --isolate: memory", alone.megabytes[:1], f"{FEW} pictures", few["isolated"].megabytes, "MB", 1.1
        ),
    ]


if __name__ == "__main__":
    run_script(ROUTES, race)
