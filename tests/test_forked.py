"""A process that is forked with TensorFlow imported is like a new one in all that a parent gives to its children."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.forked import forked_interpreter, forked_python
from support.signalled import default_signals

FILE = 77

CODE = """
import json, os, signal, sys
mask = os.umask(0)
ignored = [int(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]
streams = (sys.stdin, sys.stdout, sys.stderr)
streams = [(s.isatty(), s.encoding, s.errors, s.line_buffering, s.fileno()) for s in streams]
here = [os.getppid(), os.getcwd(), dict(os.environ), mask, ignored, str(signal.getsignal(signal.SIGINT)), streams]
print(json.dumps([here, sys.argv, sys.path[0], __name__, sys.stdin.read()]))
print("an error", file=sys.stderr)
os.write(int(os.environ["FILE"]), b"more")
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

    options = {
        "cwd": folder,
        "env": {"PATH": "/usr/bin", "PYTHONIOENCODING": "latin-1", "FILE": str(FILE)},
        "preexec_fn": prepare,
    }
    ended = []
    for python in ([sys.executable], forked_python(), [forked_interpreter(), "-u"]):
        reader, writer = os.pipe()
        os.dup2(writer, FILE)
        os.close(writer)
        with default_signals():
            done = subprocess.run(
                [*python, *words], input="in", capture_output=True, text=True, pass_fds=[FILE], **options
            )
        os.close(FILE)
        ended.append((done.returncode, json.loads(done.stdout), done.stderr, os.read(reader, 100)))
        os.close(reader)
    assert ended[0] == ended[1] == ended[2]
    assert ended[0][0] == 7
    assert ended[0][3] == b"more"
    assert set(ended[0][1][0][4]) >= set(ignored)


@pytest.mark.parametrize("redirection", ["", ">&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_closed(tmp_path: Path, redirection: str) -> None:
    """And files that are opened later have their numbers, with a new process and with a forked one."""
    code = (
        "import json, os, sys; number = os.open('.', os.O_RDONLY); os.close(number)\n"
        "streams = [stream and stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)]\n"
        "open('found', 'w').write(json.dumps([streams, min(number, 3)]))"
    )
    found = []
    for python in ([sys.executable], forked_python()):
        subprocess.run(["bash", "-c", f'"$@" {redirection}', "-", *python, "-c", code], cwd=tmp_path, check=True)
        found.append(json.loads((tmp_path / "found").read_text()))
    assert found[0] == found[1]
    assert found[0][0].count(None) == redirection.count("-")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_ends_the_client_too(number: signal.Signals) -> None:
    code = f"import os; os.kill(os.getpid(), {int(number)})"
    assert subprocess.run([*forked_python(), "-c", code]).returncode == -number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_signals_that_are_sent_to_the_client_reach_the_process(number: signal.Signals) -> None:
    """They reach it one by one, and it decides what comes of them."""
    code = (
        "import os, signal, sys, time\n"
        "count = 0\n"
        "def catch(*_):\n"
        "    global count\n"
        "    count += 1; os.write(1, b'caught\\n')\n"
        f"signal.signal({int(number)}, catch)\n"
        "os.write(1, b'begun\\n')\n"
        "while count < 2: time.sleep(0.01)\n"
        f"signal.signal({int(number)}, signal.SIG_DFL); os.write(1, b'defenseless\\n'); time.sleep(600)\n"
    )
    with default_signals():
        client = subprocess.Popen([*forked_python(), "-c", code], stdout=subprocess.PIPE, bufsize=0)
    assert client.stdout is not None
    for line in (b"begun\n", b"caught\n"):
        assert client.stdout.readline() == line
        client.send_signal(number)
    assert (client.stdout.readline(), client.stdout.readline()) == (b"caught\n", b"defenseless\n")
    client.send_signal(number)
    assert client.wait(60) == -number


def test_what_is_printed_without_a_buffer_outlives_a_crash() -> None:
    code = "import os; print('last words'); os.kill(os.getpid(), 9)"
    for options, printed in ((["-u"], b"last words\n"), ([], b"")):
        done = subprocess.run([forked_interpreter(), *options, "-c", code], stdout=subprocess.PIPE)
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, printed)


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
