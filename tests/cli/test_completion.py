"""Completion in a real bash, of addresses that hold the characters at which bash splits words."""

import os
import pty
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from support.made_dumps import make_dump

NAMES = ["lstm:states.0", "lstm:states.1", "shared", "shared@1", "shared@2:a", "shared@2:b", "mha:attention_scores"]
SETUP = 'bind "set enable-bracketed-paste off"; eval "$(_TFDUMP_COMPLETE=bash_source tfdump)"; touch ready\n'

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"no {path.name}"
        time.sleep(0.05)


def typed(line: str, output: Path) -> None:
    """Type a line with its tabs into an interactive bash, which makes the output."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(output.parent)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], os.environ | {"PATH": path, "TERM": "dumb"})
    try:
        os.write(master, SETUP.encode())
        wait_for(output.parent / "ready")
        os.write(master, f"{line}\n".encode())
        wait_for(output)
    finally:
        os.close(master)  # which ends bash, as a terminal that is closed does
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("keys", "address"),
    [
        ("mh\t", "mha:attention_scores"),
        ("ls\t0\t", "lstm:states.0"),
        ("lstm:st\t1", "lstm:states.1"),
        ("shared@1\t", "shared@1"),
        ("shared@2\tb\t", "shared@2:b"),
        ("activations/lst\t1\t", "activations/lstm:states.1"),
        ("'lstm:\t1'", "lstm:states.1"),
    ],
)
def test_addresses_in_bash(tmp_path: Path, keys: str, address: str) -> None:
    """Every tensor holds its own number, so that the file tells which address stood on the command line."""
    make_dump(tmp_path / "d.h5", {name: np.full((2, 3), number, "f4") for number, name in enumerate(NAMES)})
    typed(f"tfdump cat d.h5 {keys} -o out.npy", tmp_path / "out.npy")
    number = NAMES.index(address.removeprefix("activations/"))
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.full((2, 3), number))
