"""The parent of a command: crashes, hangs, signals both ways, and what they cost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from support.signalled import default_signals

START = """
import ctypes, itertools, os, signal, sys, time
from tfdump.process import signals, supervisor
def run():
    signals.install()
    try:
        {body}
    except signals.Terminated as ended:
        return ended.status
    return 0
{before}
sys.argv = ["tfdump", "show", "x=d.h5::/a", "none.h5"]
os._exit(supervisor.run_supervised(run, sys.stderr.write))
"""
ENDLESS = "sum(itertools.repeat(1))"
"""In C, and with Python's lock held, as HDF5 goes around in circles on some damaged files."""

CRASHED = "on d.h5: the file is damaged, or too large for the library\n"


HERE = "os.write(os.open('here', os.O_CREAT | os.O_WRONLY), b'x')"
"""Tells that a command has come so far; unlike a file of Python, it has no end in which a signal would be lost."""


def started(folder: Path, body: str, before: str = "") -> subprocess.Popen[str]:
    (folder / "d.h5").touch()
    code = START.format(body=body, before=before)
    with default_signals():
        return subprocess.Popen([sys.executable, "-c", code], cwd=folder, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, words = process.communicate(timeout=120)
    return process.returncode, words


def wait_for(path: Path) -> str:
    """Return what a process writes into a file."""
    for _ in range(12_000):
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.01)
    raise AssertionError(f"nothing is written into {path.name}")


@pytest.mark.parametrize(
    ("body", "status"), [("pass", 0), ("return 1", 1), ("os._exit(2)", 2)], ids=["fine", "differs", "trouble"]
)
def test_the_status_of_the_command_is_that_of_the_process(tmp_path: Path, body: str, status: int) -> None:
    assert ended(started(tmp_path, body)) == (status, "")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGABRT)", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGBUS)", "SIGBUS"),
    ],
)
def test_a_crash_is_one_line_that_names_the_files(tmp_path: Path, body: str, name: str) -> None:
    assert ended(started(tmp_path, body)) == (2, f"Error: HDF5 or TensorFlow crashed ({name}) {CRASHED}")


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    outcome = ended(started(tmp_path, ENDLESS, "supervisor.HANGS_AFTER = 1"))
    assert outcome == (2, f"Error: HDF5 or TensorFlow hangs {CRASHED}")


def test_what_takes_long_and_lets_others_run_does_not_hang(tmp_path: Path) -> None:
    """Neither a loop in Python, nor waiting."""
    body = "[0 for _ in itertools.takewhile(lambda _: time.process_time() < 2.5, itertools.repeat(0))]; time.sleep(2.5)"
    assert ended(started(tmp_path, body, "supervisor.HANGS_AFTER = 1")) == (0, "")


def test_a_command_that_hangs_can_be_interrupted(tmp_path: Path) -> None:
    process = started(tmp_path, f"{HERE}; {ENDLESS}", "supervisor._NO_ANSWER_AFTER = 1")
    wait_for(tmp_path / "here")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "Error: ended by SIGTERM\n")


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGQUIT, 131),
        (signal.SIGXCPU, 128 + signal.SIGXCPU),
    ],
)
def test_signals_reach_the_command_once(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """Also where both processes get them, as from a terminal; the command counts them."""
    body = "\n        ".join(
        (
            "try:",
            f"    {HERE}; time.sleep(60)",
            "except signals.Terminated as one:",
            "    time.sleep(0.3); open('once', 'w').write('x'); return one.status",
        )
    )
    for whole_group in (False, True):
        (tmp_path / "here").unlink(missing_ok=True)
        process = started(tmp_path, body, "os.setpgrp()")
        wait_for(tmp_path / "here")
        os.killpg(process.pid, number) if whole_group else process.send_signal(number)
        assert ended(process) == (status, "")
        (tmp_path / "once").unlink()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_what_the_shell_has_ignored_stays_ignored(tmp_path: Path, number: signal.Signals) -> None:
    """As `nohup tfdump ...` and `tfdump ... &` in a script ask for it."""
    body = f"{HERE}; time.sleep(1)"
    process = started(tmp_path, body, f"os.setpgrp(); signal.signal({int(number)}, signal.SIG_IGN)")
    wait_for(tmp_path / "here")
    os.killpg(process.pid, number)
    assert ended(process) == (0, "")


@pytest.mark.skipif(shutil.which("nohup") is None, reason="the system has no nohup")
def test_nohup_has_its_way(tmp_path: Path) -> None:
    """From before the first line of the command to after its last one."""
    np.save(tmp_path / "x.npy", np.zeros((200_000, 10)))
    shell = ["nohup", "sh", "-c", 'echo ready; exec "$@"', "sh"]  # nohup itself needs a moment
    command = [*shell, sys.executable, "-m", "tfdump", "diff", "x.npy", "x.npy"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with default_signals():
        process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)
    assert process.stdout.readline() == "ready\n"
    while process.poll() is None:
        os.killpg(process.pid, signal.SIGHUP)
        time.sleep(0.01)
    status, words = ended(process)
    assert status == 0, words


def test_a_command_that_the_system_kills_says_so(tmp_path: Path) -> None:
    status, words = ended(started(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)"))
    assert (status, words.count("\n")) == (137, 1)
    assert words.startswith("Error: ended by SIGKILL, perhaps because memory ran out")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_the_command_ends_with_its_parent(tmp_path: Path) -> None:
    process = started(
        tmp_path, "os.write(os.open('here', os.O_CREAT | os.O_WRONLY), b'%d' % os.getpid()); time.sleep(60)"
    )
    child = int(wait_for(tmp_path / "here"))
    assert child != process.pid
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":  # dead, and nobody asked for its status yet
            return
        time.sleep(0.01)
    raise AssertionError("the command goes on without its parent")
