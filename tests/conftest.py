"""What all tests share: TensorFlow kept quiet, the command line in this process, and in one of its own."""

import gc
import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.command import Ended, Run
from support.forked import forked_python

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
gc.disable()  # until all tests are imported: imports make many objects and almost no garbage
WRITES_NO_BYTECODE, sys.dont_write_bytecode = sys.dont_write_bytecode, False  # compiling all tests takes 15 seconds

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # others may be using it: no test may fail because it is slow

SLOW = {
    "test_activations_until_nan.py",
    "test_by_value_models.py",
    "test_documents.py",
    "test_fuzz.py",
    "test_other_systems.py",
    "test_preprocess.py",
    "test_sudden_ends.py",
}
"""Files that take long for the number of their tests."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take long, where each core takes files: the last one lets the other cores wait."""
    if hasattr(config, "workerinput"):
        numbers = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path.name not in SLOW, -numbers[item.path]))


def pytest_collection_finish() -> None:
    """End what is for imports alone, and let garbage collections pass by the million objects that they made."""
    sys.dont_write_bytecode = WRITES_NO_BYTECODE
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def left_to_the_end() -> Iterator[None]:
    """Let garbage collections pass by what a file of tests leaves: the libraries keep it, and it grows and grows."""
    yield
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
