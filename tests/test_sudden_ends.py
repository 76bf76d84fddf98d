"""Some tens of sudden ends, on the way from arrays to the disk, and a few of whole runs; `make ends` has hundreds."""

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from support.command import ROOT, SAMPLES, Run
from support.forked import forked_python
from support.signalled import default_signals
from tfdump.dump.writer import DumpWriter
from tfdump.errors import DumpError
from tfdump.tensors import TensorInfo

ENDS = ROOT / "tests" / "ends.py"


def test_tens_of_sudden_ends() -> None:
    done = subprocess.run(
        [sys.executable, ENDS, "--runs", "writer", "--kills", "24", "--small"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    counts = {line[8:]: int(line[:6]) for line in done.stdout.splitlines() if line[:6].strip().isdigit()}
    assert sum(number for kind, number in counts.items() if "killed" in kind) >= 24
    assert "ends, and every output was whole or untouched" in done.stdout


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("after", [0, 3, 10])
def test_a_failing_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: int
) -> None:
    """At the first write, among the values, and when the file is closed."""
    (tmp_path / "d.h5").write_bytes(b"old")
    pwrite, calls = os.pwrite, []

    def failing(handle: int, data: bytes, position: int) -> int:
        calls.append(position)
        if len(calls) > after:
            raise OSError(number, os.strerror(number))
        return pwrite(handle, data, position)

    monkeypatch.setattr(os, "pwrite", failing)
    info = TensorInfo("t", "t", "t", (), 0, "float32", None)
    values = np.ones((512, 1024), np.float32)

    def write() -> None:
        with DumpWriter(tmp_path / "d.h5", force=True) as writer:
            collector = writer.collector(info, values, axis0="example", examples=1024, batches=2)
            for _ in range(2):
                collector.append(values)
            writer.link("activations", info, collector, {})

    with pytest.raises(DumpError, match=os.strerror(number)):
        write()
    assert len(calls) > after
    assert (os.listdir(tmp_path), (tmp_path / "d.h5").read_bytes()) == (["d.h5"], b"old")


END_AFTER = """
import os, sys
from tfdump.dump.journal import Journal
append, count, (most, number) = Journal.append, [0], map(int, sys.argv[1:3])
def counted(journal, *batch):
    append(journal, *batch)
    count[0] += 1
    if count[0] == most:
        os.kill(os.getpid(), number)
Journal.append = counted
sys.argv = ["tfdump", *sys.argv[3:]]
from tfdump.cli.entry import main
main()
"""
"""Sends itself a signal when so many batches are kept."""


@pytest.mark.tensorflow
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(tmp_path: Path) -> None:
    command = ["activations", SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy", "--batch-size", "32"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True}
    whole = subprocess.run([*forked_python(), "-m", "tfdump", *command, "-o", "whole.h5"], **options)
    assert whole.returncode == 0
    for number, status in ((signal.SIGKILL, 137), (signal.SIGTERM, 143)):
        script = [*forked_python(), "-c", END_AFTER, "2", str(int(number))]
        with default_signals():
            done = subprocess.run([*script, *command, "-o", "d.h5", "--resume"], **options)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"whole.h5", "d.h5.partial"} | ({"d.h5.new.partial"} if number == signal.SIGKILL else set())
    done = subprocess.run([*forked_python(), "-m", "tfdump", *command, "-o", "d.h5", "--resume"], **options)
    assert done.returncode == 0, done.stderr
    resumed = re.search("resumes after ([0-9]+) examples", done.stderr)
    assert resumed is not None
    assert 128 <= int(resumed[1]) < 300
    assert {path.name for path in tmp_path.iterdir()} == {"whole.h5", "d.h5"}
    assert (tmp_path / "d.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.tensorflow
def test_too_little_memory_is_one_line_that_says_what_to_lower(tfdump: Run, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((1024,)), keras.layers.RepeatVector(2**30)])
    model.save(tmp_path / "huge.keras")
    np.save(tmp_path / "x.npy", np.ones((4, 1024), np.float32))
    allowed = ("--max-bytes", "100TiB")
    done = tfdump("activations", "huge.keras", "x.npy", "-o", "d.h5", "-l", "repeat*", *allowed)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "Error: out of memory" in done.stderr
    assert done.stderr.endswith("(lower --batch-size or --memory)\n")
    assert sorted(os.listdir(tmp_path)) == ["huge.keras", "x.npy"]
