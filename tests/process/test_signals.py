"""Signals that come while modules are imported, and those that other code takes for its own."""

import subprocess
import sys
from pathlib import Path

from support.signalled import default_signals

BEGIN = """
import os, signal, sys, time
sys.path.insert(0, ".")
from tfdump.process import signals
signals.install()
def tell():
    os.kill(os.getpid(), signal.SIGTERM)
"""


def printed(folder: Path, code: str) -> list[str]:
    command = [sys.executable, "-c", BEGIN + code]
    with default_signals():
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.split()


IMPORTING = """
signals._UNSAFE_AT_MOST = {seconds}
try:
    import module
    print(module.whole)
    time.sleep(30)
except signals.Terminated as ended:
    print(ended.status)
"""
MODULE = "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep({seconds})\nwhole = 'whole'\n"


def test_a_signal_waits_for_the_end_of_an_import(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE.format(seconds=0.3))
    assert printed(tmp_path, IMPORTING.format(seconds=30)) == ["whole", "143"]


CALLING = """
import functools
sys.path.insert(0, "tensorflow")
import module
try:
    print(module.called(functools.cmp_to_key(lambda one, other: (tell(), time.sleep(0.3)) and 0)))
    time.sleep(30)
except signals.Terminated as ended:
    print(ended.status)
"""


def test_a_signal_waits_for_the_end_of_a_call_into_tensorflow(tmp_path: Path) -> None:
    """Such a call runs Python again, here by way of `sorted`, whose C code stands for TensorFlow's."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "module.py").write_text("def called(key):\n    return len(sorted('ab', key=key))\n")
    assert printed(tmp_path, CALLING) == ["2", "143"]


KERAS = """
def body():
    tell()
    time.sleep(30)
sys.path[:0] = ["tensorflow", "keras"]
import module, layer
try:
    module.called(lambda: layer.called(body))
except signals.Terminated as ended:
    print(ended.status)
"""


def test_a_signal_does_not_wait_where_keras_runs_nearer_than_tensorflow(tmp_path: Path) -> None:
    """While a model is traced, TensorFlow runs around all of it."""
    for folder, name in (("tensorflow", "module"), ("keras", "layer")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text("def called(body):\n    body()\n")
    assert printed(tmp_path, "signals._UNSAFE_AT_MOST = 1000" + KERAS) == ["143"]


def test_a_signal_does_not_wait_for_ever(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE.format(seconds=30))
    assert printed(tmp_path, IMPORTING.format(seconds=0.3)) == ["143"]


def test_a_signal_that_other_code_takes_is_raised_again(tmp_path: Path) -> None:
    code = """
try:
    tell()
    time.sleep(30)
except BaseException as error:  # as code in C does, which prints what it cannot pass on
    print(type(error).__name__)
try:
    signals.raise_waiting()
except signals.Terminated as ended:
    print(ended.status)
signals.raise_waiting()
print("once")
"""
    assert printed(tmp_path, code) == ["Terminated", "143", "once"]


def test_a_signal_that_is_held_back_waits(tmp_path: Path) -> None:
    code = """
try:
    with signals.held_back():
        tell()
        time.sleep(0.2)
        print("held")
        signals.raise_waiting()
except signals.Terminated as ended:
    print(ended.status)
"""
    assert printed(tmp_path, code) == ["held", "143"]
