"""`tfdump compare` of an `.onnx` file with itself, against `polygraphy run`, which also compares all tensors of it.

    python benchmarks/onnx_peer.py

Whole processes on one batch of pictures. Both run ONNX Runtime twice with every tensor as an output, and compare the
tensors of the two runs.
"""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from measure import Row, compare, contest_here, elapsed, run_script

PICTURES = 32
BIN = Path(sys.executable).parent

EXPORT = """
import sys
import keras
import numpy as np

keras.utils.set_random_seed(0)
model = keras.applications.MobileNetV3Small(weights=None, name="mobilenet", include_preprocessing=False)
model(np.zeros((1, 224, 224, 3), "float32"))
model.export(sys.argv[1], format="onnx", verbose=False)
"""

LOADER = """
import numpy as np

def load_data():
    yield {{"{name}": np.load("{path}")}}
"""


def process(*words: object) -> float:
    """Run a process, throw away what it prints, and return the seconds; raises CalledProcessError."""
    return elapsed(lambda: subprocess.run([*map(str, words)], capture_output=True, check=True))


def race() -> list[Row]:
    """Race."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, pictures = folder / "model.onnx", folder / "x.npy"
        process(sys.executable, "-c", EXPORT, model)
        np.save(pictures, np.random.default_rng(0).random((PICTURES, 224, 224, 3), dtype=np.float32))
        import onnxruntime

        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        loader = folder / "loader.py"
        loader.write_text(LOADER.format(name=session.get_inputs()[0].name, path=pictures))
        ours = (BIN / "tfdump", "compare", model, model, pictures, "--batch-size", PICTURES)
        peer = (BIN / "polygraphy", "run", model, "--onnxrt", "--onnxrt", "--onnx-outputs", "mark", "all")
        samples = contest_here(
            {
                "ours": partial(process, *ours),
                "peer": partial(process, *peer, "--data-loader-script", loader, "--fail-fast"),
            },
            warm_up=1,
        )
    race = f"compare of an .onnx file with itself, {PICTURES} pictures"
    return [compare(race, samples["ours"], "polygraphy run, all outputs", samples["peer"], goal=1.0)]


if __name__ == "__main__":
    run_script({}, race)
