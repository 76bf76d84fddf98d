"""Rows that are read ahead from the file itself are those of HDF5, and the end of a file is seen."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tfdump.dump.parts import Part
from tfdump.dump.shards.read_ahead import blocks_ahead
from tfdump.errors import DumpError

VALUES = np.random.default_rng(3).normal(size=(23, 4, 3))

BLOCKS = [(0, 6), (6, 14), (14, 21), (21, 23)]


@pytest.fixture(scope="module")
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize("dtype", ["<f4", "<i8", ">f8", "?", "<f2", "<c8"])
@pytest.mark.parametrize(
    "layout",
    [
        {"chunks": (5, 4, 3)},
        {"chunks": (23, 4, 3)},
        {"chunks": (1, 4, 3)},
        {"chunks": (5, 2, 3)},
        {"chunks": (5, 4, 3), "compression": "gzip"},
        {"chunks": (5, 4, 3), "fletcher32": True},
        {},
    ],
    ids=str,
)
def test_blocks_are_the_rows(tmp_path: Path, thread: ThreadPoolExecutor, dtype: str, layout: dict[str, Any]) -> None:
    values = (VALUES * 9).astype(dtype)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=values, **layout)
    with h5py.File(tmp_path / "x.h5") as file:
        count = 0
        for (start, stop), block in zip(BLOCKS, blocks_ahead(Part("", file["x"]), BLOCKS, thread), strict=True):
            np.testing.assert_array_equal(block, values[start:stop])
            assert block.dtype == values.dtype
            count += 1
    assert count == len(BLOCKS)


def test_chunks_that_were_never_written_are_fill_values(tmp_path: Path, thread: ThreadPoolExecutor) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (23, 4), "f4", chunks=(5, 4), fillvalue=7)[:5] = 1
    with h5py.File(tmp_path / "x.h5") as file:
        sums = [float(block.sum()) for block in blocks_ahead(Part("", file["x"]), [(0, 5), (5, 23)], thread)]
    assert sums == [20, 7 * 18 * 4]


def test_a_file_that_ends_early_is_said(tmp_path: Path, thread: ThreadPoolExecutor) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=VALUES, chunks=(5, 4, 3))
    with h5py.File(path) as file:
        last = file["x"].id.get_chunk_info_by_coord((20, 0, 0)).byte_offset
        blocks = blocks_ahead(Part("", file["x"]), BLOCKS, thread)
        np.testing.assert_array_equal(next(blocks), VALUES[:6])
        with path.open("r+b") as raw:
            raw.truncate(last + 8)
        with pytest.raises(DumpError, match=r"x\.h5: '/x' is damaged: the file ends before its values"):
            list(blocks)
