"""Memory: flat in the number of examples, within `--memory`, also where the requested layer is late in a deep model.

    python benchmarks/memory.py

Peaks of whole processes that run the command line. "Loaded" is a process that loads the same model, traces it, and
runs one example.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from contestants import MAKERS, arrays_of, load
from measure import Row, compare, contest, run_script

EXAMPLES = (64, 512, 4096)
MEMORY_MB = 16 * 1.048576


def command_route(folder: Path, *arguments: str) -> float:
    """Run `tfdump activations` on the model of the folder."""
    from tfdump.cli.main import run

    status = run(["activations", str(folder / "model.keras"), *arguments, "-o", str(folder / "dump.h5"), "-f", "-q"])
    if status:
        sys.exit(status)
    return 0.0


def loaded_route(folder: Path) -> float:
    """Load the model and run one example in a `tf.function`."""
    import tensorflow as tf

    model = load(folder)
    arrays = arrays_of(folder, model)
    forward = tf.function(lambda inputs: model(inputs, training=False))
    forward({name: tf.constant(array[:1]) for name, array in arrays.items()})
    return 0.0


ROUTES = {"command": command_route, "loaded": loaded_route}


def race() -> list[Row]:
    """Compare."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        MAKERS["CNN"](folder, examples=EXAMPLES[-1])
        everything = np.load(folder / "x.npy", mmap_mode="r")
        for count in EXAMPLES:
            np.save(folder / f"{count}.npy", everything[:count])
        small = "16MiB"  # so that 64 examples are several batches too
        peaks = {
            count: contest(__file__, ["command"], folder, folder / f"{count}.npy", "--memory", small, rounds=2)
            for count in EXAMPLES
        }
        megabytes = {count: peak["command"].megabytes for count, peak in peaks.items()}
        for count in EXAMPLES[1:]:
            race = f"CNN, {count:,} examples: memory"
            rows.append(compare(race, megabytes[count], f"{EXAMPLES[0]} examples", megabytes[EXAMPLES[0]], "MB", 1.05))
        (loaded,) = contest(__file__, ["loaded"], folder, rounds=1)["loaded"].megabytes
        most = [loaded + 4 * MEMORY_MB] * 2
        rows.append(
            compare("CNN, 4,096 examples: memory", megabytes[4096], "loaded model + 4 x --memory", most, "MB", 1.0)
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        MAKERS["ResNet50"](folder, examples=64)
        pictures = folder / "x.npy"
        late = contest(__file__, ["command"], folder, pictures, "-l", "predictions", rounds=1)["command"].megabytes
        loaded = contest(__file__, ["loaded"], folder, rounds=1)["loaded"].megabytes[0]
        most = [loaded + 4 * 268.4]
        rows.append(compare("ResNet50, -l predictions: memory", late, "loaded model + 4 x --memory", most, "MB", 1.0))
    return rows


if __name__ == "__main__":
    run_script(ROUTES, race)
