"""Rows that arrive in any pieces are in the file in order, in chunks of whole rows."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tfdump.dump.rows import RowDataset, Storage
from tfdump.dump.writer import storage_for

SMALL = 64  # bytes a chunk: 8 rows of two float32


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        yield file


def write(file: h5py.File, blocks: list[np.ndarray], rows: int | None, storage: Storage) -> h5py.Dataset:
    written = RowDataset(file, blocks[0].dtype, blocks[0].shape[1:], rows, storage)
    for block in blocks:
        written.append(block)
    written.flush()
    file["found"] = written.dataset
    return file["found"]


def storages() -> list[Storage]:
    return [
        Storage(SMALL),
        Storage(SMALL, {"compression": "gzip", "compression_opts": 1}),
        Storage(1),
        Storage(),
    ]


@pytest.mark.parametrize("storage", storages(), ids=["plain", "gzip", "a row a chunk", "one chunk"])
@pytest.mark.parametrize("sizes", [[50], [1] * 50, [8, 8, 8, 8, 8, 8, 2], [7, 13, 30], [3, 0, 47], [20, 4, 26]])
@pytest.mark.parametrize("known", [True, False], ids=["rows known", "growing"])
def test_pieces_of_any_size_join_in_order(file: h5py.File, storage: Storage, sizes: list[int], known: bool) -> None:
    values = np.arange(100, dtype=np.float32).reshape(50, 2)
    dataset = write(file, np.split(values, np.cumsum(sizes)[:-1]), 50 if known else None, storage)
    np.testing.assert_array_equal(dataset[()], values)


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f8", "c8"])
@pytest.mark.parametrize("tail", [(), (3,), (2, 1, 3)])
def test_every_dtype_and_rank_comes_back(file: h5py.File, dtype: str, tail: tuple[int, ...]) -> None:
    values = (np.arange(11 * np.prod(tail, dtype=int)) % 2).astype(dtype).reshape(11, *tail)
    dataset = write(file, [values[:4], values[4:]], 11, Storage(SMALL))
    assert dataset.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(dataset[()], values)


def test_text_comes_back(file: h5py.File) -> None:
    values = np.array([b"a", b"", b"long " * 50, b"na\xc3\xafve"], object)
    written = RowDataset(file, h5py.string_dtype("utf-8"), (), 4, Storage(SMALL))
    for text in values:
        written.append(np.array([text], object))
    written.flush()
    assert written.dataset[()].tolist() == values.tolist()


@pytest.mark.parametrize("rows", [20, None])
def test_chunks_are_whole_rows_and_a_power_of_two(file: h5py.File, rows: int | None) -> None:
    assert write(file, [np.zeros((20, 3), np.float32)], rows, Storage(SMALL)).chunks == (4, 3)


def test_a_dataset_of_known_length_does_not_grow_later(file: h5py.File) -> None:
    assert write(file, [np.zeros((20, 3), np.float32)], 20, Storage(SMALL)).maxshape == (20, 3)


def test_the_unused_rows_of_the_last_chunk_are_zeros(file: h5py.File) -> None:
    dataset = write(file, [np.ones((11, 2), np.float32)], 11, Storage(SMALL))
    assert dataset.chunks == (6, 2)
    _, raw = dataset.id.read_direct_chunk((6, 0))
    assert np.frombuffer(raw, np.float32).tolist() == [1] * 10 + [0] * 2


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (4, 2, 0), (0, 0), (0,)])
@pytest.mark.parametrize("known", [True, False])
def test_empty_tensors_are_zero_length_and_not_null(file: h5py.File, shape: tuple[int, ...], known: bool) -> None:
    dataset = write(file, [np.zeros(shape, np.float32)], shape[0] if known else None, Storage())
    assert dataset.shape == shape
    assert dataset.id.get_space().get_simple_extent_type() == h5py.h5s.SIMPLE


def test_a_waiting_row_does_not_follow_later_changes_of_its_batch(file: h5py.File) -> None:
    batch = np.ones((3, 2), np.float32)
    written = RowDataset(file, batch.dtype, (2,), 3, Storage(SMALL))
    written.append(batch)
    batch[:] = 7
    written.flush()
    assert (written.dataset[()] == 1).all()


# Steps


def write_steps(file: h5py.File, values: np.ndarray, sizes: list[int], storage: Storage) -> h5py.Dataset:
    """Write values of shape (steps, rows, ...) step after step, each in blocks of the given sizes."""
    steps, rows, *tail = values.shape
    written = RowDataset(file, values.dtype, tuple(tail), rows, storage, steps)
    for step in values:
        for block in np.split(step, np.cumsum(sizes)[:-1]):
            written.append(block)
    written.flush()
    return written.dataset


@pytest.mark.parametrize("storage", storages(), ids=["plain", "gzip", "a row a chunk", "one chunk"])
@pytest.mark.parametrize("sizes", [[50], [1] * 50, [8, 8, 8, 8, 8, 8, 2], [7, 13, 30], [3, 0, 47], [47, 3]])
def test_rows_of_every_step_stand_behind_a_step_axis(file: h5py.File, sizes: list[int], storage: Storage) -> None:
    values = np.arange(300, dtype=np.float32).reshape(3, 50, 2)
    dataset = write_steps(file, values, sizes, storage)
    assert dataset.shape == dataset.maxshape == (3, 50, 2)
    np.testing.assert_array_equal(dataset[()], values)


@pytest.mark.parametrize(("rows", "chunk"), [(70, 8), (11, 6), (5, 5)])
def test_no_chunk_holds_rows_of_two_steps_and_unused_rows_are_zeros(file: h5py.File, rows: int, chunk: int) -> None:
    dataset = write_steps(file, np.ones((3, rows, 2), np.float32), [rows], Storage(SMALL))
    assert dataset.chunks == (1, chunk, 2)
    last = rows - rows % chunk if rows % chunk else rows - chunk
    for step in range(3):
        _, raw = dataset.id.read_direct_chunk((step, last, 0))
        rest = np.frombuffer(raw, np.float32).reshape(chunk, 2)
        assert rest[: rows - last].tolist() == [[1, 1]] * (rows - last)
        assert rest[rows - last :].tolist() == [[0, 0]] * (chunk - rows + last)


def test_the_rows_of_a_step_are_in_the_file_at_its_end(file: h5py.File) -> None:
    written = RowDataset(file, np.dtype("f4"), (2,), 11, Storage(SMALL), 2)
    written.append(np.ones((11, 2), np.float32))
    np.testing.assert_array_equal(written.dataset[0], np.ones((11, 2)))
    np.testing.assert_array_equal(written.dataset[1], np.zeros((11, 2)))


def test_text_of_every_step_comes_back(file: h5py.File) -> None:
    written = RowDataset(file, h5py.string_dtype("utf-8"), (), 3, Storage(SMALL), 2)
    for text in ([b"a", b"b"], [b"c"], [b"d"], [b"e", b"f"]):
        written.append(np.array(text, object))
    assert written.dataset[()].tolist() == [[b"a", b"b", b"c"], [b"d", b"e", b"f"]]


@pytest.mark.parametrize("shape", [(3, 0, 2), (3, 4, 0), (3, 0), (0, 4, 2)])
@pytest.mark.parametrize("filters", [{}, {"compression": "gzip"}])
def test_empty_steps_are_zero_length_and_not_null(file: h5py.File, shape: tuple[int, ...], filters: dict) -> None:
    dataset = write_steps(file, np.zeros(shape, np.float32), [shape[1]], Storage(SMALL, filters))
    assert dataset.shape == shape
    assert dataset.id.get_space().get_simple_extent_type() == h5py.h5s.SIMPLE


def test_compressed_steps_are_smaller(file: h5py.File) -> None:
    values = np.zeros((3, 5000, 16), np.float32)
    values[:, ::7] = 1
    dataset = write_steps(file, values, [1999, 3001], storage_for("gzip", 1 << 14))
    assert (dataset.compression, dataset.chunks) == ("gzip", (1, 256, 16))
    np.testing.assert_array_equal(dataset[()], values)
    assert dataset.id.get_storage_size() < values.nbytes / 10


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_compressed_dataset_is_smaller_and_equal(file: h5py.File, compression: str) -> None:
    if compression == "zstd":
        pytest.importorskip("hdf5plugin")
    values = np.zeros((5000, 16), np.float32)
    values[::7] = 1
    dataset = write(file, np.array_split(values, 9), 5000, storage_for(compression))
    np.testing.assert_array_equal(dataset[()], values)
    assert dataset.id.get_storage_size() < values.nbytes / 10


def test_gzip_is_the_portable_filter(file: h5py.File) -> None:
    assert write(file, [np.zeros((5, 2))], 5, storage_for("gzip")).compression == "gzip"


def test_without_compression_there_is_no_filter(file: h5py.File) -> None:
    dataset = write(file, [np.zeros((5, 2))], 5, storage_for("none"))
    assert dataset.id.get_create_plist().get_nfilters() == 0
    assert dataset.id.get_storage_size() == dataset.nbytes


@pytest.mark.parametrize("is_text", [True, False], ids=["text", "wide rows, compressed"])
def test_the_order_in_which_datasets_are_closed_leaves_no_trace(tmp_path: Path, is_text: bool) -> None:
    """HDF5 keeps such chunks until a dataset is flushed or closed, and puts them into the file only then."""
    dtype = h5py.string_dtype("utf-8") if is_text else np.dtype("f4")
    storage = Storage(SMALL, {} if is_text else {"compression": "gzip"})
    for name in ("first", "last"):
        with h5py.File(tmp_path / name, "w") as file:
            datasets = [RowDataset(file, dtype, (40,), 3, storage) for _ in range(2)]
            for number, written in enumerate(datasets):
                written.append(np.full((3, 40), b"%d" % number if is_text else number, object if is_text else "f4"))
                file[str(number)] = written.finish()
            del written
            datasets.pop(0 if name == "first" else 1)
            datasets.clear()
    assert (tmp_path / "first").read_bytes() == (tmp_path / "last").read_bytes()
