"""Inputs larger than the memory leave it behind the reader, and come back whole; smaller ones stay."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from page_cache import WINDOW, can_tell, in_memory
from tfdump.inputs import read_behind
from tfdump.inputs.read_behind import ReadBehind
from tfdump.inputs.readers import Hdf5Reader, Reader, open_npy

ROWS = 88
VALUES = np.random.default_rng(0).integers(0, 256, (ROWS, 1 << 20), np.uint8)  # a row is 1 MiB
"""More than ten windows, so that most of them are behind at the end."""


def open_as_npy(path: Path) -> Reader:
    np.save(path.with_suffix(".npy"), VALUES)
    path.with_suffix(".npy").rename(path)
    return open_npy(path)


def open_as_contiguous(path: Path) -> Reader:
    with h5py.File(path, "w") as file:
        file["x"] = VALUES
    return Hdf5Reader(h5py.File(path)["x"], "x")


def open_as_compressed(path: Path) -> Reader:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=VALUES, chunks=(3, 1 << 19), compression="gzip", compression_opts=1)
    return Hdf5Reader(h5py.File(path)["x"], "x")


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "input", os.O_RDWR | os.O_CREAT)
    if not can_tell(opened):
        pytest.skip("this file system keeps its files in memory, or does not tell")
    yield opened
    os.close(opened)


def kept(path: Path, reader: Reader) -> list[bool]:
    """Read everything in order; return for every window of the file whether it is in memory then."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    for start in range(0, ROWS, 5):
        rows = reader.read(start, min(start + 5, ROWS))
        np.testing.assert_array_equal(rows, VALUES[start : start + 5])
    found = [in_memory(handle, offset) for offset in range(WINDOW // 2, os.fstat(handle).st_size, WINDOW)]
    os.close(handle)
    return found


@pytest.mark.parametrize("opened", [open_as_npy, open_as_contiguous, open_as_compressed])
def test_what_was_read_leaves_memory_only_where_the_file_is_larger(
    tmp_path: Path, handle: int, opened: Callable[[Path], Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_behind, "WINDOW", WINDOW)
    path = tmp_path / "data"
    monkeypatch.setattr(read_behind, "memory_bytes", lambda: VALUES.nbytes + (1 << 20))
    assert all(kept(path, opened(path)))
    path.unlink()
    monkeypatch.setattr(read_behind, "memory_bytes", lambda: VALUES.nbytes // 2)
    found = kept(path, opened(path))
    assert len(found) > 8
    assert sum(found) <= 3  # what was read after the last time


def test_rows_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_behind, "WINDOW", 1)
    monkeypatch.setattr(read_behind, "memory_bytes", lambda: 0)
    for name, opened in (("a", open_as_npy), ("b", open_as_contiguous), ("c", open_as_compressed)):
        reader = opened(tmp_path / name)
        for start, stop in ((0, 2), (0, 50), (40, 60), (3, 3), (0, 2), (87, 88)):
            np.testing.assert_array_equal(reader.read(start, stop), VALUES[start:stop])


def test_a_system_that_takes_no_advice_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_behind, "memory_bytes", lambda: -1)
    read, write = os.pipe()
    try:
        behind = ReadBehind(read)  # a pipe cannot forget
        behind.add(read_behind.WINDOW)
        behind.add(read_behind.WINDOW)
    finally:
        os.close(read)
        os.close(write)
