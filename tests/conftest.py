"""What all tests share: TensorFlow kept quiet, the command line in this process, and in one of its own."""

import gc
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import Ended, Run
from support.forked import forked_python

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_finish() -> None:
    """Let garbage collections pass by the million objects of the imported libraries, which never become garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def tfdump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `tfdump ARGS...` through its top-level group, in the test's folder, in this process."""
    from tfdump.cli import main

    def run(*args: object, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ended:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            capsys.readouterr()
            status = main.run([str(argument) for argument in args])
            written = capsys.readouterr()
        return Ended(status, written.out, written.err)

    return run


def run_in(folder: Path, *python: str) -> Run:
    def run(*args: object, stdin: bytes | None = None, **options: object) -> Ended:
        command = [*python, "-m", "tfdump", *map(str, args)]
        options = {"cwd": folder, "input": stdin, "capture_output": True, "timeout": 300} | options
        done = subprocess.run(command, **options)
        return Ended(done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode())

    return run


@pytest.fixture
def tfdump_process(tmp_path: Path) -> Run:
    """Run `tfdump ARGS...` in a process of its own, in the test's folder."""
    return run_in(tmp_path, sys.executable)


@pytest.fixture
def tfdump_forked(tmp_path: Path) -> Run:
    """Do the same in a process that begins with TensorFlow imported, for what is not about that."""
    return run_in(tmp_path, *forked_python())


@pytest.fixture(scope="session")
def names_weights(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Tell whether the installed TFLite converter keeps the names of the weights of a model's last layer."""
    import keras
    import tensorflow as tf

    from support.saved_formats import lite

    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dense(3, name="last")(keras.layers.Dense(5, name="first")(x)))
    file = lite(model, tmp_path_factory.mktemp("converter") / "m.tflite")
    names = [tensor["name"] for tensor in tf.lite.Interpreter(str(file)).get_tensor_details()]
    return any("last" in name for name in names)


@pytest.fixture
def converter_names_weights(names_weights: bool) -> None:
    """Skip the test where the converter forgets the names of the weights of a model's last layer."""
    if not names_weights:
        pytest.skip("this version of the converter does not name the weights of the last layer")
