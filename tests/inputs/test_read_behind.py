"""Inputs larger than the memory leave it behind the reader, and come back whole; smaller ones stay."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.page_cache import WINDOW, can_tell, in_memory
from tfdump.inputs import read_behind, readers
from tfdump.inputs.read_behind import ReadBehind
from tfdump.inputs.readers import Hdf5Reader, Reader, open_npy

ROWS, READ = 64, 50
MIB = 1 << 20
VALUES = np.random.default_rng(0).integers(0, 256, (ROWS, MIB), np.uint8)  # a row is 1 MiB, and cannot be compressed
LARGER, SMALLER = ROWS * MIB + MIB, ROWS * MIB - MIB
STAYS = 2 * WINDOW


def make_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, VALUES)


def make_hdf5(path: Path, **choices: object) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=VALUES, **choices)


def open_hdf5(path: Path) -> Reader:
    return Hdf5Reader(h5py.File(path)["x"], "x")


Kind = tuple[Callable[[Path], None], Callable[[Path], Reader]]
KINDS: dict[str, Kind] = {
    "npy": (make_npy, open_npy),
    "contiguous": (make_hdf5, open_hdf5),
    "chunked": (partial(make_hdf5, chunks=(2, MIB // 4)), open_hdf5),
    "compressed": (partial(make_hdf5, chunks=(3, MIB // 2), compression="gzip", compression_opts=1), open_hdf5),
}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    handle = os.open(tmp_path / "input", os.O_RDWR | os.O_CREAT)
    told = can_tell(handle)
    os.close(handle)
    if not told:
        pytest.skip("this file system keeps its files in memory, or does not tell")
    yield tmp_path / "input"
    (tmp_path / "input").unlink()


def read(path: Path, reader: Reader) -> list[bool]:
    """Read the first rows; return for every window of the file whether it is in memory then."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        for start in range(0, READ, 5):
            np.testing.assert_array_equal(reader.read(start, start + 5), VALUES[start : start + 5])
        return [in_memory(file.fileno(), offset) for offset in range(WINDOW // 2, path.stat().st_size, WINDOW)]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how much memory there seems to be."""
    monkeypatch.setattr(read_behind, "WINDOW", WINDOW)
    monkeypatch.setattr(read_behind, "cached_bytes", lambda: STAYS)
    return lambda size: monkeypatch.setattr(read_behind, "memory_bytes", lambda: size)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_was_read_of_larger_arrays_leaves_memory(
    path: Path, memory: Callable[[int], None], kind: str
) -> None:
    make, opened = KINDS[kind]
    make(path)

    def stayed_or_left() -> list[list[bool]]:
        memory(LARGER)
        stayed = read(path, opened(path))
        memory(SMALLER)
        left = read(path, opened(path))
        first, last = STAYS // WINDOW, READ * MIB // WINDOW
        return [stayed, left[:first], left[first + 1 : last], left[last:]]  # one in between may be in both

    expected = [[True] * 8, [True] * 2, [False] * 3, [True] * 2]
    attempts = 5  # the system may take a page for something else
    while attempts and (outcome := stayed_or_left()) != expected:
        attempts -= 1
    assert outcome == expected


def test_what_is_decompressed_anew_stays(
    tmp_path: Path, memory: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "LARGEST_BAND", 1000)
    monkeypatch.setattr(read_behind, "cached_bytes", lambda: 0)
    monkeypatch.setattr(read_behind, "WINDOW", 1)
    memory(0)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("x", data=VALUES[:, :100], chunks=(ROWS, 50), compression="gzip")
        reader = Hdf5Reader(dataset, "x")
        told: list[object] = []
        monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: told.append(arguments))
        np.testing.assert_array_equal(reader.read(0, 30), VALUES[:30, :100])
        assert reader.rereads
        assert not told
        Hdf5Reader(file.create_dataset("y", data=VALUES[:, :100]), "y").read(0, 30)  # where it is told
        assert told


def test_rows_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_behind, "WINDOW", 1)
    monkeypatch.setattr(read_behind, "cached_bytes", lambda: 0)
    monkeypatch.setattr(read_behind, "memory_bytes", lambda: 0)
    few = VALUES[:, :1000]
    np.save(tmp_path / "x.npy", few)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["contiguous"] = few
        file.create_dataset("chunked", data=few, chunks=(3, 300))
        file.create_dataset("compressed", data=few, chunks=(7, 400), compression="gzip")
        file.create_dataset("empty", data=few[:, :0])
        file["number"] = np.uint8(7)
        file.create_dataset("unwritten", (ROWS, 1000), np.uint8, chunks=(5, 300))
    with h5py.File(tmp_path / "x.h5") as file:
        expected = dict.fromkeys(("contiguous", "chunked", "compressed"), few)
        expected |= {"empty": few[:, :0], "unwritten": np.zeros_like(few)}
        opened: dict[str, Reader] = {name: Hdf5Reader(file[name], name) for name in expected}
        opened["npy"], expected["npy"] = open_npy(tmp_path / "x.npy"), few
        for name, reader in opened.items():
            for start, stop in ((0, 2), (0, 50), (40, 60), (3, 3), (0, 0), (0, 2), (63, 64)):
                np.testing.assert_array_equal(reader.read(start, stop), expected[name][start:stop])
        np.testing.assert_array_equal(Hdf5Reader(file["number"], "number").read(0, 1), [7])


class Places:
    """Rows of one byte, and which of them were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        self.asked.append((start, stop))
        return start, stop


def test_the_system_is_told_once_a_window(tmp_path: Path, memory: Callable[[int], None]) -> None:
    memory(0)
    places = Places()
    with (tmp_path / "x").open("wb") as file:
        behind = ReadBehind(file.fileno(), 1, places)
        for start in range(0, STAYS + 3 * WINDOW, WINDOW // 4):
            behind.add(start, start + WINDOW // 4, WINDOW // 4)
    assert places.asked == [(STAYS + number * WINDOW, STAYS + (number + 1) * WINDOW) for number in range(3)]


def test_a_system_that_takes_no_advice_is_left_alone(memory: Callable[[int], None]) -> None:
    memory(0)
    read, write = os.pipe()
    places = Places()
    try:
        behind = ReadBehind(read, 1, places)  # a pipe cannot forget
        behind.add(0, STAYS, STAYS)
        for start in (STAYS, 2 * STAYS):
            behind.add(start, start + STAYS, STAYS)
    finally:
        os.close(read)
        os.close(write)
    assert places.asked == [(STAYS, 2 * STAYS)]


def test_a_system_without_advice_is_not_asked(
    tmp_path: Path, memory: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    memory(0)
    places = Places()
    with (tmp_path / "x").open("wb") as file:
        behind = ReadBehind(file.fileno(), 1, places)
        for start in (0, STAYS):
            behind.add(start, start + STAYS, STAYS)
    assert not places.asked
