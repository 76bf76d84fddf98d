"""Large files leave memory while they are written, whole and in order; small ones and the beginning stay."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.page_cache import WINDOW, can_tell, in_memory
from tfdump.dump.disk import write_behind
from tfdump.dump.disk.write_behind import WriteBehind, resident_bytes
from tfdump.dump.reader import open_dump
from tfdump.dump.writer import DumpWriter
from tfdump.tensors import TensorInfo


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_behind, "WINDOW", WINDOW)


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "large", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def test_what_is_behind_leaves_memory_and_the_beginning_stays(handle: int, small_windows: None) -> None:
    if not can_tell(handle):
        pytest.skip("this file system keeps its files in memory, or does not tell")
    values = np.random.default_rng(0).bytes(11 * WINDOW)
    end = time.monotonic() + 30
    dropped = False
    while not dropped and time.monotonic() < end:
        os.pwrite(handle, values, 0)
        os.fsync(handle)
        behind = WriteBehind(handle, resident=4 * WINDOW)
        behind.reached(len(values))
        time.sleep(0.2)
        behind.close()
        dropped = not any(in_memory(handle, window * WINDOW + WINDOW // 2) for window in range(4, 8))
    assert dropped
    assert all(in_memory(handle, window * WINDOW) for window in range(4))
    assert os.pread(handle, len(values), 0) == values


def test_a_dump_that_left_memory_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_behind, "WINDOW", 1 << 20)
    values = np.random.default_rng(1).standard_normal((64, 1 << 16), dtype=np.float32)

    def write(path: Path, resident: int) -> bytes:
        monkeypatch.setattr(write_behind, "resident_bytes", lambda: resident)
        info = TensorInfo("a", "a", "", ("Dense",), 0, "float32", (-1, 1 << 16))
        with DumpWriter(path) as writer:
            collector = writer.collector(info, values, axis0="example", examples=64, batches=1)
            for start in range(0, 64, 7):
                collector.append(values[start : start + 7])
            writer.link("activations", info, collector, {})
            writer.describe({"format": "tfdump", "format_version": np.int64(1), "kind": "activations"}, None, ())
        return path.read_bytes()

    assert write(tmp_path / "left.h5", 0) == write(tmp_path / "stayed.h5", 1 << 40)
    with open_dump(tmp_path / "left.h5") as dump:
        np.testing.assert_array_equal(dump["a"].read(), values)


def trailing() -> int:
    return sum(thread.name == "tfdump-behind" for thread in threading.enumerate())


def test_a_system_that_takes_no_advice_is_left_alone(small_windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lost.append)
    read, write = os.pipe()
    try:
        behind = WriteBehind(write, resident=0)
        behind.reached(4 * WINDOW)
        end = time.monotonic() + 30
        while trailing() and time.monotonic() < end:
            time.sleep(0.01)
        behind.reached(8 * WINDOW)
        disabled = trailing() == 0
        behind.close()
    finally:
        os.close(read)
        os.close(write)
    assert disabled
    assert not lost


def test_no_thread_for_what_stays(handle: int) -> None:
    behind = WriteBehind(handle)
    behind.reached(resident_bytes())
    stayed = trailing()
    behind.reached(resident_bytes() + write_behind.WINDOW)
    left = trailing()
    behind.close()
    assert resident_bytes() >= 1 << 30
    assert (stayed, left, trailing()) == (0, 1, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of processes are those of POSIX")
def test_without_threads_dumps_are_written_and_compared_all_the_same(tmp_path: Path) -> None:
    """A user who may have no further process may have no further thread either; the administrator has no limit.

    So the administrator's process becomes one of another user, who can read and write what the administrator can: the
    environment and the folder may be below one that only its owner may enter.
    """
    script = """
import ctypes, os, resource, sys, threading
import numpy as np
from pathlib import Path
from tfdump.comparison.diff import diff
from tfdump.dump.disk import write_behind
from tfdump.dump.disk.stream import DumpStream

if os.getuid() == 0:
    kernel, keep_capabilities, version, dac_override = ctypes.CDLL(None), 8, 0x20080522, 1 << 1
    if sys.platform != "linux" or kernel.prctl(keep_capabilities, 1, 0, 0, 0):
        sys.exit(77)
    os.setuid(61234)
    own = (ctypes.c_uint32 * 2)(version, 0), (ctypes.c_uint32 * 6)(dac_override, dac_override, 0, 0, 0, 0)
    if kernel.capset(*own):
        sys.exit(77)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    threading.Thread(target=int).start()
except RuntimeError:
    pass
else:
    sys.exit(77)
path = Path(sys.argv[1])
values = np.arange(3 << 20, dtype=np.float32)
np.save(path / "a.npy", values)
np.save(path / "b.npy", values + 1)
(path / "large").touch()
write_behind.resident_bytes = lambda: 0
stream = DumpStream(path / "large")
for _ in range(6):
    stream.write(bytes(32 << 20))
stream.raise_failure()
stream.close()
print((path / "large").stat().st_size, diff(path / "a.npy", path / "b.npy").tensors[0].comparison.count)
"""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("the system does not limit the threads of this user")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(6 * (32 << 20)), str(3 << 20)]
