"""A process that is forked with TensorFlow imported is like a new one in all that a parent gives to its children."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.forked import forked_python
from support.signalled import default_signals

CODE = """
import json, os, signal, sys
mask = os.umask(0)
ignored = [int(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]
streams = (sys.stdin, sys.stdout, sys.stderr)
streams = [(s.isatty(), s.encoding, s.errors, s.line_buffering, s.fileno()) for s in streams]
here = [os.getcwd(), dict(os.environ), mask, ignored, str(signal.getsignal(signal.SIGINT)), streams]
print(json.dumps([here, sys.argv, sys.path[0], __name__, sys.stdin.read()]))
print("an error", file=sys.stderr)
sys.exit(7)
"""


@pytest.mark.parametrize("words", [["-c", CODE, "a b", ""], ["folder/script.py", "x"], ["-m", "script", "-x"]])
@pytest.mark.parametrize("ignored", [[], [signal.SIGINT, signal.SIGTERM]])
def test_what_a_process_has_from_its_parent(tmp_path: Path, words: list[str], ignored: list[signal.Signals]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "script.py").write_text(CODE)
    folder = tmp_path / "folder" if words[0] == "-m" else tmp_path

    def prepare() -> None:
        os.umask(0o027)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    options = {"cwd": folder, "env": {"PATH": "/usr/bin", "PYTHONIOENCODING": "latin-1"}, "preexec_fn": prepare}
    ended = []
    for python in ([sys.executable], forked_python()):
        with default_signals():
            done = subprocess.run([*python, *words], input="in", capture_output=True, text=True, **options)
        ended.append((done.returncode, json.loads(done.stdout), done.stderr))
    assert ended[0] == ended[1]
    assert ended[0][0] == 7
    assert set(ended[0][1][0][3]) >= set(ignored)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_ends_the_client_too(number: signal.Signals) -> None:
    code = f"import os; os.kill(os.getpid(), {int(number)})"
    assert subprocess.run([*forked_python(), "-c", code]).returncode == -number


def test_a_client_that_is_killed_takes_its_process_along(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    code = "import time; print('begun', flush=True); time.sleep(600)"
    client = subprocess.Popen([*forked_python(), "-c", code], stdout=writer)
    os.close(writer)
    assert os.read(reader, 10) == b"begun\n"
    client.kill()
    client.wait()
    assert os.read(reader, 10) == b""  # nobody can write any more
    os.close(reader)


@pytest.mark.tensorflow
def test_tensorflow_is_there_and_has_made_nothing() -> None:
    """Threads of TensorFlow would be missing after a fork."""
    code = (
        "import sys; before = set(sys.modules); import tensorflow, keras\n"
        "from tensorflow.python.eager import context\n"
        "assert {'tensorflow', 'keras'} <= before and context.context()._context_handle is None\n"
        "assert float(tensorflow.reduce_sum(tensorflow.ones((300, 300)) @ tensorflow.ones((300, 300)))) == 300.0**3"
    )
    assert subprocess.run([*forked_python(), "-c", code]).returncode == 0


def test_the_process_that_forks_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from support.forked import forked_python; "
        "print(forked_python()[-1])"
    )
    tests = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    end = time.monotonic() + 60
    while folder.exists():  # it is removed in the end
        assert time.monotonic() < end
        time.sleep(0.1)
