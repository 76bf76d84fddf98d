"""Inputs and dumps that declare more than they hold, or more than may be held at once; none needs TensorFlow."""

import io
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tfdump.dump.reader import open_dump
from tfdump.errors import DumpError, InputError
from tfdump.files.hdf5 import check_declared
from tfdump.files.limits import allowed, allowed_bytes, check_bytes, default_max_bytes
from tfdump.inputs.arguments import open_argument, parse_argument
from tfdump.inputs.ragged import RaggedReader
from tfdump.inputs.readers import Reader

MEBI = 1 << 20


def opened(text: Path | str) -> Reader:
    """Open the first array of an INPUT argument."""
    return open_argument(parse_argument(str(text)))[0].reader


def highest_memory() -> int:
    """The most memory that this process has had, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# --- the limit itself


def test_the_limit_holds_inside_and_not_outside() -> None:
    assert allowed_bytes() is None
    with allowed(5), allowed(7):
        assert allowed_bytes() == 7
    assert allowed_bytes() is None
    check_bytes(1 << 60, None, "it takes", InputError)
    check_bytes(7, 7, "it takes", InputError)
    with pytest.raises(InputError, match=r"it takes 8 B, more than the 7 B allowed \(allow it: --max-bytes\)"):
        check_bytes(8, 7, "it takes", InputError)


def test_the_default_is_a_quarter_of_the_memory() -> None:
    total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) << 10
    assert 0 < default_max_bytes() <= total // 4 + MEBI


# --- inputs


def test_a_member_of_an_npz_that_declares_more_than_is_there(tmp_path: Path) -> None:
    """A compressed member whose sizes in the archive are lies: zeros shrink by 1032 at the most."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(np.zeros(MEBI, "f4")))
    size = struct.pack("<I", archive.infolist()[0].file_size)
    data = (tmp_path / "x.npz").read_bytes()
    assert data.count(size) == 2
    (tmp_path / "x.npz").write_bytes(data.replace(size, struct.pack("<I", (1 << 32) - 2)))
    with pytest.raises(InputError, match="declares more bytes than the archive holds"):
        opened(tmp_path / "x.npz")


def test_a_bomb_is_read_by_rows_and_never_whole(tmp_path: Path) -> None:
    rows = np.zeros((64, MEBI), "f4")
    np.savez_compressed(tmp_path / "x.npz", x=rows)
    assert (tmp_path / "x.npz").stat().st_size < MEBI
    del rows
    reader = opened(tmp_path / "x.npz")
    with allowed(8 * MEBI):
        assert not reader.read(3, 4).any()
        with pytest.raises(InputError, match=r"x.npz::x: one batch of rows takes 16.0 MiB.*--max-bytes"):
            reader.read(0, 4)


def test_a_compressed_array_in_fortran_order_is_read_whole_within_the_limit(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((4, MEBI), "f4", order="F"))
    reader = opened(tmp_path / "x.npz")
    with allowed(8 * MEBI), pytest.raises(InputError, match=r"16.0 MiB.*--max-bytes"):
        reader.read(0, 1)
    with allowed(32 * MEBI):
        assert reader.read(0, 1).shape == (1, MEBI)


def test_a_length_to_pad_to_that_no_memory_holds(tmp_path: Path) -> None:
    """A model declares the length, and the rows are short."""
    np.savez(tmp_path / "x.npz", **{"x.values": np.ones(3, "f4"), "x.row_splits": np.array([0, 1, 3])})
    reader = opened(tmp_path / "x.npz")
    assert isinstance(reader, RaggedReader)
    reader.pad_to(16 * MEBI)
    with allowed(64 * MEBI):
        assert reader.read(0, 1).shape == (1, 16 * MEBI)
        with pytest.raises(InputError, match=r"padded to \(2, 16777216\), takes 128.0 MiB.*--max-bytes"):
            reader.read(0, 2)


def chunked(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 40,), "f4", chunks=(MEBI,), compression="gzip")


def contiguous(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 30, 1 << 10), "f4")


def lists(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 40,), h5py.vlen_dtype("i4"), chunks=(1024,))


@pytest.mark.parametrize("make", [chunked, contiguous, lists])
def test_a_dataset_that_declares_more_than_is_stored(tmp_path: Path, make: Callable[[h5py.File], Any]) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        make(file)
    before = highest_memory()
    with pytest.raises(InputError, match="declares more values than the file holds"):
        opened(tmp_path / "x.h5")
    assert highest_memory() - before < 64 * MEBI


def test_one_chunk_is_decompressed_whole_so_it_counts(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=np.zeros((64, MEBI), "u1"), chunks=(64, MEBI), compression="gzip")
    reader = opened(tmp_path / "x.h5")
    with allowed(8 * MEBI), pytest.raises(InputError, match=r"64.0 MiB.*--max-bytes"):
        reader.read(0, 1)
    assert reader.read(0, 1).shape == (1, MEBI)


def test_chunks_that_are_all_there_may_be_very_small(tmp_path: Path) -> None:
    """Other filters than gzip make zeros smaller than a thousandth; the file is honest all the same."""
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        zeros = np.zeros((64, MEBI), "f4")
        dataset = file.create_dataset("x", data=zeros, chunks=(1, MEBI), **hdf5plugin.Zstd(clevel=3))
        file.flush()
        assert zeros.nbytes > 1100 * file.id.get_filesize() or zeros.nbytes > 1100 * dataset.id.get_storage_size()
        check_declared(dataset, InputError)


def test_cycles_of_soft_links_are_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["y"] = h5py.SoftLink("/y"), h5py.SoftLink("/x")
    with pytest.raises(InputError, match="is a link to another place"):
        opened(f"{tmp_path / 'x.h5'}::x")


# --- dumps


def dump(path: Path, change: Callable[[h5py.File], Any]) -> Path:
    """Write the smallest dump there is, and change it."""
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["format"], file.attrs["format_version"] = "tfdump", 1
        tensor = file.create_dataset("activations/a", data=np.zeros(3, "f4"))
        tensor.attrs["address"], tensor.attrs["dtype"] = "a", "float32"
        file["config"] = "{}"
        change(file)
    return path


@pytest.mark.parametrize("depth", [0, 100_000])
def test_a_deeply_nested_config_of_a_dump(tmp_path: Path, depth: int) -> None:
    def change(file: h5py.File) -> None:
        del file["config"]
        file["config"] = '{"a": ' + "[" * depth + "]" * depth + "0" * (depth == 0) + "}"

    with open_dump(dump(tmp_path / "d.h5", change)) as opened:
        if depth == 0:
            assert opened.config == {"a": 0}
            return
        with pytest.raises(DumpError, match="'config' is damaged"):
            _ = opened.config


def on_the_root(file: h5py.File) -> None:
    file.attrs["padding"] = np.zeros(20 << 20, "u1")


def many_texts(file: h5py.File) -> None:
    file.attrs.create("padding", ["x"] * 5000, dtype=h5py.string_dtype())


def many_lists(file: h5py.File) -> None:
    lists = np.empty(5000, dtype=h5py.vlen_dtype("i4"))
    lists[:] = [np.arange(3, dtype="i4") for _ in lists]
    file.attrs.create("padding", lists, dtype=h5py.vlen_dtype("i4"))


@pytest.mark.parametrize("make", [on_the_root, many_texts, many_lists])
def test_an_attribute_larger_than_any(tmp_path: Path, make: Callable[[h5py.File], Any]) -> None:
    with pytest.raises(DumpError, match="the attribute 'padding' of '/' is damaged"):
        open_dump(dump(tmp_path / "d.h5", make))


def test_an_attribute_of_a_tensor_larger_than_any(tmp_path: Path) -> None:
    path = dump(tmp_path / "d.h5", lambda file: file["activations/a"].attrs.create("padding", np.zeros(20 << 20, "u1")))
    with open_dump(path) as opened, pytest.raises(DumpError, match="the attribute 'padding'"):
        _ = opened["a"]
