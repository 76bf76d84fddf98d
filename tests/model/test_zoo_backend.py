"""Keras is told to run on another backend: explained in one line, and no concern of commands that only read dumps."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from support.command import SAMPLES, Run

pytestmark = pytest.mark.tensorflow

WINE = SAMPLES / "wine_mlp.keras"


def environment(**changes: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"} | changes


@pytest.mark.parametrize("backend", ["jax", "torch", "nonsense"])
@pytest.mark.parametrize("command", ["layers", "activations", "gradients"])
def test_another_backend_is_explained(tfdump_process: Run, backend: str, command: str) -> None:
    inputs = [] if command == "layers" else [SAMPLES / "wine.npy"]
    done = tfdump_process(command, WINE, *inputs, env=environment(KERAS_BACKEND=backend))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: KERAS_BACKEND is '{backend}'")
    assert "KERAS_BACKEND=tensorflow" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("variable", "contents"), [({}, "jax"), ({"KERAS_BACKEND": ""}, "torch")])
def test_the_configuration_file_of_keras_does_not_decide(
    tfdump_process: Run, tmp_path: Path, variable: dict[str, str], contents: str
) -> None:
    """It is about the user's own programs; a model file of any backend runs on TensorFlow."""
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(f'{{"backend": "{contents}"}}')
    done = tfdump_process("layers", WINE, env=environment(HOME=str(tmp_path), **variable))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("normalize")


def test_commands_that_only_read_dumps_do_not_care(tfdump: Run, tfdump_process: Run) -> None:
    assert tfdump("activations", WINE, SAMPLES / "wine.npy", "-o", "d.h5").returncode == 0
    for arguments in (["show", "d.h5"], ["--help"], ["layers", "--help"], ["--version"]):
        assert tfdump_process(*arguments, env=environment(KERAS_BACKEND="nonsense")).returncode == 0


API = """
import numpy, tfdump
try:
    tfdump.activations({model!r}, numpy.ones((2, 13)))
except tfdump.TfdumpError as error:
    print(error)
"""


def test_the_python_api_says_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", API.format(model=str(WINE))],
        env=environment(KERAS_BACKEND="jax"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("KERAS_BACKEND is 'jax'")


@pytest.mark.skipif(find_spec("jax") is None, reason="Keras has no other backend here")
def test_keras_that_already_runs_on_another_backend_is_said() -> None:
    code = "import keras\n" + API.format(model=str(WINE))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(KERAS_BACKEND="jax"), capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Keras runs on 'jax' in this process")


def test_a_model_of_keras_2_in_memory_is_refused() -> None:
    import tfdump

    class OfKeras2:
        name = "old"

    with pytest.raises(tfdump.TfdumpError, match="OfKeras2 is not a model of Keras 3"):
        tfdump.activations(OfKeras2(), np.ones((2, 3)))
