"""The time of whole processes: what every command needs before it does anything.

    python benchmarks/start_up.py

`--help`, `show` and `diff` against a Python that imports click, h5py and numpy; `layers` of `.onnx` and `.tflite` files
against the same and the library that runs them; `activations` on a tiny model against a Python that imports Keras,
loads the model and calls it.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from contestants import MAKERS
from measure import Row, compare, contest_here, elapsed, run_script

IMPORTS = [sys.executable, "-c", "import click, h5py, numpy"]
TFDUMP = [str(Path(sys.executable).with_name("tfdump"))]
RUNTIMES = {"onnx": "onnxruntime", "tflite": "ai_edge_litert.interpreter"}
"""The module that runs the files of an ending."""

CALL = "import keras, numpy, sys; keras.models.load_model(sys.argv[1])(numpy.load(sys.argv[2]))"


CONVERT = {
    "onnx": "import keras, numpy, sys; m = keras.models.load_model(sys.argv[1]); m(numpy.load(sys.argv[2])); "
    "m.export('{target}', format='onnx', verbose=False)",
    "tflite": "import keras, sys, tensorflow as tf; m = keras.models.load_model(sys.argv[1]); "
    "open('{target}', 'wb').write(tf.lite.TFLiteConverter.from_keras_model(m).convert())",
}
"""How a Keras model is written in another format."""


def process(*command: str) -> float:
    """Run a process, throw away what it prints, and return the seconds; raises CalledProcessError."""
    return elapsed(lambda: subprocess.run(command, capture_output=True, check=True))


def convert(folder: Path, ending: str) -> Path:
    """Write the model in a folder in another format, in a process of its own; return the path."""
    target = folder / f"model.{ending}"
    code = CONVERT[ending].format(target=str(target))
    subprocess.run([sys.executable, "-c", code, *map(str, folder.glob("*.keras")), str(folder / "x.npy")],
                   capture_output=True, check=True)  # fmt: skip
    return target


def race() -> list[Row]:
    """Race."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        MAKERS["tabular"](folder, examples=8)
        files = (str(folder / "model.keras"), str(folder / "x.npy"))
        dump = str(folder / "d.h5")
        subprocess.run([*TFDUMP, "activations", *files, "-o", dump], capture_output=True, check=True)
        for command in (["--help"], ["show", dump], ["diff", dump, dump]):
            ours, theirs = partial(process, *TFDUMP, *command), partial(process, *IMPORTS)
            samples = contest_here({"tfdump": ours, "imports": theirs}, rounds=11)
            name = f"tfdump {command[0]}"
            rows.append(compare(name, samples["tfdump"], "import click, h5py, numpy", samples["imports"], goal=1.3))
        for ending, module in RUNTIMES.items():
            ours = partial(process, *TFDUMP, "layers", str(convert(folder, ending)))
            theirs = partial(process, sys.executable, "-c", f"import click, h5py, numpy, {module}")
            samples = contest_here({"tfdump": ours, "imports": theirs}, rounds=11)
            name, peer = f"tfdump layers x.{ending}", f"import click, h5py, numpy, {module}"
            rows.append(compare(name, samples["tfdump"], peer, samples["imports"], goal=1.3))
        ours = partial(process, *TFDUMP, "activations", *files, "-f", "-o", dump)
        samples = contest_here({"tfdump": ours, "keras": partial(process, sys.executable, "-c", CALL, *files)})
        name = "tfdump activations, tiny model"
        rows.append(compare(name, samples["tfdump"], "load and call in Keras", samples["keras"], goal=1.1))
    return rows


if __name__ == "__main__":
    run_script({}, race)
