"""The process that runs a model: how it starts, how it ends, and what is said when it cannot."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from support.backend_models import save_with_own_layer
from support.command import SAMPLES, Run
from support.forked import forked_interpreter
from support.signalled import start_command
from tfdump.errors import ModelError
from tfdump.model.backends import process as of_process
from tfdump.model.backends.options import Backend
from tfdump.model.backends.process import BackendProcess

MODEL, X = SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy"
ELSEWHERE = ("--backend-python", sys.executable)


def programs_of(folder: Path) -> list[int]:
    """The processes with a backend that run in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"backends/start.py" in (entry / "cmdline").read_bytes() and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:  # it has ended meanwhile, or is of another user
            continue
    return found


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    for name, words in {
        str(tmp_path / "no"): "does not exist",
        str(tmp_path): "is a folder (name the interpreter in it, such as",
        str(tmp_path / "plain"): "is not executable",
        "no-such-python": "does not exist",
    }.items():
        with pytest.raises(ModelError, match="--backend-python") as error:
            BackendProcess(Backend("jax", name))
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exit 0", "it does not answer as a Python interpreter"),
        ("echo hello, this is no message", "it does not answer as a Python interpreter"),
        ("echo 'no Python here' >&2; exit 3", "no Python here"),
        ("exec sleep 100", "it does not answer as a Python interpreter"),
    ],
)
def test_a_program_that_is_no_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setattr(of_process, "_FIRST_WORD_WITHIN", 1.0)
    with pytest.raises(ModelError) as error:
        BackendProcess(Backend("jax", str(script(tmp_path / "python", text))))
    assert words in str(error.value)
    assert "name a Python interpreter: --backend-python PATH" in str(error.value)


def test_a_python_that_is_too_old_says_so(tmp_path: Path) -> None:
    """Any version may be the limit, so it is set above this one."""
    start = Path(of_process.__file__).with_name("start.py").read_text()
    (tmp_path / "start.py").write_text(start.replace("LOWEST = (3, 10)", "LOWEST = (4, 1)"))
    done = subprocess.run([sys.executable, tmp_path / "start.py", "x", "2", "1"], capture_output=True, text=True)
    assert done.stderr.endswith("and a backend needs Python 4.1 or newer\n")


def test_a_backend_that_is_not_installed() -> None:
    process = BackendProcess(Backend("jax"))
    with pytest.raises(ModelError) as error:
        process.ask("start", backend="jax", seed=0)
    process.close()
    assert str(error.value) == (
        f"--backend jax needs jax in the environment of {sys.executable} (install it there: pip install 'jax[cpu]', or "
        "name the Python of an environment that has it: --backend-python PATH)"
    )
    assert not process.runs


def test_the_process_imports_nothing_but_its_own(tmp_path: Path) -> None:
    """Before it imports Keras, it has NumPy, and of this environment nothing else."""
    code = (
        "import runpy, sys, os\n"
        "sys.argv = ['start.py', *sys.argv[1:]]\n"
        "import atexit\n"
        "names = lambda: {name.partition('.')[0] for name in sys.modules}\n"
        "before = names()\n"
        "exit = os._exit\n"
        "os._exit = lambda status: (os.write(2, repr(sorted(names() - before - sys.stdlib_module_names)).encode()),"
        " exit(status))\n"
        "runpy.run_path(sys.argv[0] if False else START, run_name='__main__')\n"
    ).replace("START", repr(str(Path(of_process.__file__).with_name("start.py"))))
    folder = Path(of_process.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, folder, "2", str(os.getpid())], input=b"", capture_output=True, timeout=60
    )
    assert done.stderr.decode() in ("['numpy', 'tfdump']", "['ml_dtypes', 'numpy', 'tfdump']"), done.stderr


@pytest.mark.tensorflow
def test_prints_of_the_model_go_to_stderr_and_nothing_is_left(tfdump_process: Run, tmp_path: Path) -> None:
    save_with_own_layer(tmp_path, "print('called'); return x + 1")
    (tmp_path / "tmp").mkdir()
    done = tfdump_process(
        *("activations", "m.keras", "x.npy", "--import", "mine.py", *ELSEWHERE, "-o", "d.h5"),
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "d.h5\n"
    assert "called\n" in done.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["activations/own"][:], np.load(tmp_path / "x.npy") + 1)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert programs_of(tmp_path) == []


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("body", "how", "python"),
    [
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV", lambda: sys.executable),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL, perhaps because memory ran out", forked_interpreter),
        ("os._exit(3)", "ended with exit status 3", forked_interpreter),
    ],
    ids=["SIGSEGV", "SIGKILL", "status"],
)
def test_a_crash_is_one_line_behind_what_was_written(
    tfdump_process: Run, tmp_path: Path, body: str, how: str, python: Callable[[], str]
) -> None:
    save_with_own_layer(tmp_path, f"os.write(2, b'last words\\n'); {body}", "import os")
    words = ("--import", "mine.py", "--backend-python", python(), "-o", "d.h5")
    done = tfdump_process("activations", "m.keras", "x.npy", *words)
    assert done.returncode == 2
    assert "last words\n" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"Error: the process that runs the model on tensorflow {how}")
    assert not (tmp_path / "d.h5").exists()


@pytest.mark.tensorflow
def test_an_error_of_the_model_is_one_line_and_v_shows_its_traceback(tfdump: Run, tmp_path: Path) -> None:
    save_with_own_layer(tmp_path, "raise RuntimeError('no such luck')")
    words = ("activations", "m.keras", "x.npy", "--import", "mine.py", "--backend-python", forked_interpreter())
    done = tfdump(*words)
    assert done.returncode == 2
    assert done.stderr == "Error: the model fails on this input: no such luck\n"
    shown = tfdump("-v", *words).stderr
    assert "mine.py" in shown
    assert "RuntimeError" in shown


PEAK = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "tfdump", *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""
"""Prints the megabytes that the largest process of a command has taken."""


@pytest.mark.tensorflow
def test_the_memory_does_not_grow_with_the_examples(tmp_path: Path) -> None:
    """Ten times the examples are 220 MB of inputs more, and three times as much of tensors."""
    x = keras.Input((4096,), name="x")
    y = keras.layers.Activation("relu", name="a")(keras.ops.negative(x))
    keras.Model(x, keras.layers.Activation("tanh", name="b")(y)).save(tmp_path / "m.keras")
    peaks = []
    for examples in (1_500, 15_000):
        np.save(tmp_path / "x.npy", np.ones((examples, 4096), "float32"))
        words = ("activations", "m.keras", "x.npy", *ELSEWHERE, "--batch-size", "100", "--stats-only", "--force")
        done = subprocess.run([sys.executable, "-c", PEAK, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 80, peaks


@pytest.mark.tensorflow
def test_an_interruption_ends_the_process(tmp_path: Path) -> None:
    save_with_own_layer(tmp_path, "open('called', 'w'); time.sleep(600)", "import time")
    words = ("activations", "m.keras", "x.npy", "--import", "mine.py", *ELSEWHERE, "-o", "d.h5")
    command = start_command(*words, cwd=tmp_path)
    wait_until((tmp_path / "called").exists)
    assert len(programs_of(tmp_path)) == 1
    command.send_signal(signal.SIGINT)
    _, stderr = command.communicate(timeout=60)
    assert command.returncode == 130, stderr
    assert b"interrupted" in stderr
    wait_until(lambda: programs_of(tmp_path) == [], 5)
    assert not (tmp_path / "d.h5").exists()


@pytest.mark.tensorflow
def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    save_with_own_layer(tmp_path, "open('called', 'w'); time.sleep(600)", "import time")
    words = ("activations", "m.keras", "x.npy", "--import", "mine.py", *ELSEWHERE, "-o", "d.h5")
    command = start_command(*words, cwd=tmp_path)
    wait_until((tmp_path / "called").exists)
    command.kill()
    command.communicate(timeout=60)
    wait_until(lambda: programs_of(tmp_path) == [], 10)
