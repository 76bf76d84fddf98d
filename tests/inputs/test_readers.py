"""Arrays in real files come back by rows; damaged files are errors and never crashes."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from tfdump.errors import InputError
from tfdump.inputs.readers import ArrayReader, Hdf5Reader, NpyReader, Reader, open_npy, open_npz, read_npy_stream
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.tensors import InputSpec


def open_all(path: Path) -> dict[str, NpyReader]:
    """Open every array of an archive."""
    return {name: opened() for name, opened in open_npz(path).items()}


X = np.arange(24, dtype=np.float32).reshape(6, 2, 2)


def npy_bytes(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version, allow_pickle=False)
    return stream.getvalue()


def header_only(header: str) -> bytes:
    """A `.npy` file of version 1 with any header, padded as the format asks."""
    text = header.encode("latin1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def whole(reader: Reader) -> np.ndarray:
    return reader.read(0, reader.shape[0])


# .npy


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "i1", "<u8", ">i4", "?", "<c8", "<U3", "S4"])
def test_npy_files_come_back_by_rows(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.array((np.arange(24) % 5).astype(dtype).reshape(6, 2, 2), order=order)
    np.save(tmp_path / "x.npy", array)
    reader = open_npy(tmp_path / "x.npy")
    assert (reader.shape, reader.dtype) == ((6, 2, 2), np.dtype(dtype))
    np.testing.assert_array_equal(whole(reader), array)
    for start, stop in ((2, 5), (0, 1), (5, 6), (3, 3)):  # backwards too
        np.testing.assert_array_equal(reader.read(start, stop), array[start:stop])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    (tmp_path / "x.npy").write_bytes(npy_bytes(X, version))
    np.testing.assert_array_equal(whole(open_npy(tmp_path / "x.npy")), X)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1,)])
def test_arrays_without_numbers_keep_their_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape))
    reader = open_npy(tmp_path / "x.npy")
    assert (reader.shape, whole(reader).shape) == (shape, shape)


def test_rows_can_be_changed_without_changing_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    reader = open_npy(tmp_path / "x.npy")
    reader.read(0, 2)[:] = 99
    np.testing.assert_array_equal(whole(reader), X)


def test_a_truncated_npy_is_refused_at_any_length(tmp_path: Path) -> None:
    complete = npy_bytes(X)
    for length in range(len(complete)):
        (tmp_path / "x.npy").write_bytes(complete[:length])
        with pytest.raises(InputError, match=r"x\.npy"):
            open_npy(tmp_path / "x.npy")


def test_a_truncated_npy_shows_what_was_expected_and_what_came(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy_bytes(X)[:-10])
    with pytest.raises(InputError, match=r"truncated.* 96 bytes for the shape \(6, 2, 2\), and the file has 86"):
        open_npy(tmp_path / "x.npy")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    reader = open_npy(tmp_path / "x.npy")
    with (tmp_path / "x.npy").open("r+b") as stream:
        stream.truncate(140)
    with pytest.raises(InputError, match="ended early: 84 bytes"):
        whole(reader)


def test_bytes_behind_the_array_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy_bytes(X) + b"more")
    np.testing.assert_array_equal(whole(open_npy(tmp_path / "x.npy")), X)


@pytest.mark.parametrize("array", [np.array([{"a": 1}, None], object), np.array([[1], [1, 2]], object)])
def test_pickled_objects_are_never_loaded(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match="pickled Python objects, which tfdump never loads"):
        open_npy(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "[1, 2]",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': 7, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.5,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3)}",
        "__import__('os').system('true')",
    ],
)
def test_a_nonsensical_header_is_an_error(tmp_path: Path, header: str) -> None:
    (tmp_path / "x.npy").write_bytes(header_only(header) + bytes(64))
    with pytest.raises(InputError, match=r"x\.npy"):
        open_npy(tmp_path / "x.npy")


@pytest.mark.parametrize("header", ["{'shape': (2,", "{'descr': '<f4", "", "{'shape': (2,)}", "[", "\\"])
def test_a_header_that_is_none_is_explained_in_words(tmp_path: Path, header: str) -> None:
    """Python's own reason, whatever its version calls it; not the tuple that Python makes of some."""
    (tmp_path / "x.npy").write_bytes(header_only(header))
    with pytest.raises(InputError, match=r"x\.npy is not a \.npy array \(\w") as raised:
        open_npy(tmp_path / "x.npy")
    assert "((" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_damaged_byte_of_the_header_crashes(tmp_path: Path) -> None:
    """Whatever one byte of the header becomes, the file is read or refused."""
    complete = npy_bytes(X)
    refused = 0
    for position in range(128):
        for byte in (0, ord("("), ord("'"), ord("-"), ord("9"), 255):
            (tmp_path / "x.npy").write_bytes(complete[:position] + bytes([byte]) + complete[position + 1 :])
            try:
                reader = open_npy(tmp_path / "x.npy")
                reader.read(0, min(1, *reader.shape))
            except InputError:
                refused += 1
    assert refused > 100


def test_a_huge_promise_is_refused_without_taking_the_memory(tmp_path: Path) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 1000000000000000)}"
    (tmp_path / "x.npy").write_bytes(header_only(header) + bytes(64))
    with pytest.raises(InputError, match="truncated"):
        open_npy(tmp_path / "x.npy")


# A .npy stream


@pytest.mark.parametrize("array", [X, np.asfortranarray(X[:, 0]), np.zeros((0, 3)), np.float32(1)])
def test_a_stream_that_cannot_seek_is_read(array: np.ndarray) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.rest = npy_bytes(np.asarray(array))

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            piece, self.rest = self.rest[: min(len(buffer), 7)], self.rest[min(len(buffer), 7) :]
            buffer[: len(piece)] = piece
            return len(piece)

    reader = read_npy_stream(Pipe(), "standard input")
    assert reader.shape == np.shape(array)
    np.testing.assert_array_equal(reader.read(0, len(array) if np.ndim(array) else 1).reshape(np.shape(array)), array)


def test_an_empty_stream_is_named() -> None:
    with pytest.raises(InputError, match="standard input is empty"):
        read_npy_stream(io.BytesIO(), "standard input")


@pytest.mark.parametrize("length", [1, 6, 50, 130, 200])
def test_a_truncated_stream_is_an_error(length: int) -> None:
    with pytest.raises(InputError, match="standard input"):
        read_npy_stream(io.BytesIO(npy_bytes(X)[:length]), "standard input")


def test_a_large_stream_goes_to_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfdump.inputs.readers._SMALL_BYTES", 50)
    reader = read_npy_stream(io.BytesIO(npy_bytes(X)), "standard input")
    assert reader._stream._rolled
    np.testing.assert_array_equal(whole(reader), X)


# .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_archives_come_back_by_rows_in_any_order(tmp_path: Path, save: object) -> None:
    big = np.random.default_rng(0).normal(size=(500, 40))
    save(tmp_path / "a.npz", x=X, fortran=np.asfortranarray(X[:, 0]), big=big)
    readers = open_all(tmp_path / "a.npz")
    assert list(readers) == ["x", "fortran", "big"]
    for start, stop in ((100, 200), (0, 50), (499, 500)):
        np.testing.assert_array_equal(readers["big"].read(start, stop), big[start:stop])
        np.testing.assert_array_equal(readers["x"].read(1, 3), X[1:3])
    np.testing.assert_array_equal(readers["fortran"].read(2, 5), X[2:5, 0])
    assert readers["x"].label == f"{tmp_path / 'a.npz'}::x"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_an_archive_that_are_read_in_turns_do_not_change_each_other(tmp_path: Path, save: object) -> None:
    first, second = np.arange(5000.0), -np.arange(3000.0)
    save(tmp_path / "a.npz", first=first, second=second)
    readers = open_all(tmp_path / "a.npz")
    for start in (1000, 2500, 10, 2990):  # forward by more than one buffer, and back
        np.testing.assert_array_equal(readers["first"].read(start, start + 10), first[start : start + 10])
        np.testing.assert_array_equal(readers["second"].read(start, start + 10), second[start : start + 10])
    np.testing.assert_array_equal(readers["first"].read(4990, 5000), first[4990:])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_npz_is_refused_at_any_length(tmp_path: Path, save: object) -> None:
    save(tmp_path / "whole.npz", x=X)
    complete = (tmp_path / "whole.npz").read_bytes()
    for length in range(2, len(complete), 3):
        (tmp_path / "a.npz").write_bytes(complete[:length])
        with pytest.raises(InputError, match=r"a\.npz"):
            open_all(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_damaged_byte_of_an_archive_goes_unnoticed_or_crashes(tmp_path: Path, save: object) -> None:
    """The checksum of an archive finds what its structure does not."""
    save(tmp_path / "whole.npz", x=X)
    complete = (tmp_path / "whole.npz").read_bytes()
    refused = 0
    for position in range(len(complete)):
        damaged = bytearray(complete)
        damaged[position] ^= 0x55
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            readers = open_all(tmp_path / "a.npz")
            values = [whole(reader) for reader in readers.values()]
        except InputError:
            refused += 1
        else:
            assert len(values) == 1
            np.testing.assert_array_equal(values[0], X)
    assert refused > len(complete) / 2


def test_damage_in_the_middle_of_a_compressed_array_is_an_error(tmp_path: Path) -> None:
    """The checksum finds some of it, the decompression the rest."""
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=50_000))
    complete = (tmp_path / "a.npz").read_bytes()
    for position in range(len(complete) // 4, len(complete) // 2, len(complete) // 200):
        (tmp_path / "a.npz").write_bytes(complete[:position] + bytes(400) + complete[position + 400 :])
        reader = open_all(tmp_path / "a.npz")["x"]
        with pytest.raises(InputError, match=r"a\.npz::x"):
            whole(reader)


@pytest.mark.parametrize("order", ["False", "True"])
def test_a_member_that_promises_more_than_it_holds_is_refused(tmp_path: Path, order: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': {order}, 'shape': (3, 1000000000000000)}}"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header_only(header) + bytes(64))
    with pytest.raises(InputError, match=r"a\.npz::x"):
        open_all(tmp_path / "a.npz")["x"].read(0, 1)


def test_a_short_member_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", npy_bytes(X)[:-10])
    with pytest.raises(InputError, match=r"a\.npz::x"):
        whole(open_all(tmp_path / "a.npz")["x"])


def test_an_archive_without_arrays_is_refused(tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "a.npz", "w").close()
    with pytest.raises(InputError, match="holds no arrays"):
        open_all(tmp_path / "a.npz")


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello there")
    with pytest.raises(InputError, match=r"a\.zip::readme\.txt is not a \.npy array"):
        open_all(tmp_path / "a.zip")


def test_members_that_nobody_asks_for_may_be_anything(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3), meta=np.array([{}], object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("readme.txt", "hello there")
    assert open_npz(tmp_path / "a.npz")["x"]().read(0, 3).tolist() == [1, 1, 1]


def test_pickled_members_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="never loads"):
        open_all(tmp_path / "a.npz")


# HDF5 and memory


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "i1", "<u8", "?", "<c8", "S4"])
@pytest.mark.parametrize("options", [{}, {"chunks": (2, 1, 2), "compression": "gzip"}])
def test_hdf5_datasets_come_back_by_rows(tmp_path: Path, dtype: str, options: dict) -> None:
    array = (np.arange(24) % 5).astype(dtype).reshape(6, 2, 2)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        reader = Hdf5Reader(file.create_dataset("x", data=array, **options), "d.h5::/x")
        assert reader.shape == (6, 2, 2)
        np.testing.assert_array_equal(reader.read(2, 5), array[2:5])


def test_hdf5_text_comes_back_as_bytes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        reader = Hdf5Reader(file.create_dataset("x", data=["é", "b"], dtype=h5py.string_dtype()), "d.h5::/x")
        assert reader.dtype == object
        assert reader.read(0, 2).tolist() == ["é".encode(), b"b"]


class CountedFile(io.BytesIO):
    """A file in memory that counts the bytes that are read of it."""

    count = 0

    def readinto(self, buffer: memoryview) -> int:
        self.count += len(buffer)
        return super().readinto(buffer)


@pytest.mark.parametrize("columns", [4, 64])
def test_every_compressed_chunk_is_read_once(columns: int) -> None:
    """In chunks of many examples, wider and narrower than a row, read in batches that cut through them."""
    values = np.random.default_rng(0).integers(0, 9, (5000, 64))
    counted = CountedFile()
    with h5py.File(counted, "w") as file:
        file.create_dataset("x", data=values, chunks=(1300, columns), compression="gzip")
    with h5py.File(counted, "r", rdcc_nbytes=0) as file:
        stored = file["x"].id.get_storage_size()
        reader = Hdf5Reader(file["x"], "x")
        counted.count = 0
        batches = [reader.read(start, min(start + 64, 5000)) for start in range(0, 5000, 64)]
        assert np.array_equal(np.concatenate(batches), values)
        assert stored <= counted.count < 1.1 * stored
        assert np.array_equal(reader.read(1000, 4000), values[1000:4000])
        assert reader.read(7, 7).shape == (0, 64)


def test_too_wide_a_band_of_chunks_is_not_kept(tmp_path: Path) -> None:
    """1 GiB of rows in one row of chunks, nearly all zeros."""
    with h5py.File(tmp_path / "d.h5", "w") as file:
        wide = file.create_dataset("x", (1 << 14, 1 << 14), "f4", chunks=(1 << 14, 1 << 8), compression="gzip")
        chunk = np.zeros((1 << 14, 1 << 8), "f4")
        chunk[100:104, :2] = 1
        wide.id.write_direct_chunk((0, 0), zlib.compress(chunk.tobytes(), 1))
        zeros = zlib.compress(bytes(chunk.nbytes), 1)
        for column in range(1 << 8, 1 << 14, 1 << 8):
            wide.id.write_direct_chunk((0, column), zeros)
        reader = Hdf5Reader(wide, "x")
        assert reader.rereads
        assert reader.read(98, 106)[:, :3].sum() == 8
        notes: list[str] = []
        Source([InputSpec("x", None, "float32")], {"x": reader}, ReadingOptions(), notes.append)
        (note,) = notes
        assert "chunks of 16384 rows, which take 1.0 GiB: too much to hold in memory" in note


def test_hdf5_references_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file, pytest.raises(InputError, match="references"):
        Hdf5Reader(file.create_dataset("x", (2,), h5py.ref_dtype), "d.h5::/x")


def test_a_dataset_that_cannot_be_decompressed_is_an_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        dataset = file.create_dataset("x", data=np.zeros((4, 1000)), chunks=(4, 1000), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), b"no deflate stream")
    with h5py.File(tmp_path / "d.h5") as file, pytest.raises(InputError, match=r"cannot read d\.h5::/x"):
        Hdf5Reader(file["x"], "d.h5::/x").read(0, 4)


def test_an_array_in_memory_is_read_by_rows() -> None:
    reader = ArrayReader([[1, 2], [3, 4], [5, 6]], "argument 0")
    assert (reader.shape, reader.label) == ((3, 2), "argument 0")
    assert reader.read(1, 3).tolist() == [[3, 4], [5, 6]]


@pytest.mark.parametrize("kind", ["npy", "hdf5", "memory"])
def test_a_single_number_is_read_as_its_only_row(tmp_path: Path, kind: str) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        reader: Reader = {
            "npy": lambda: NpyReader(io.BytesIO(npy_bytes(np.array(3.0))), "x"),
            "hdf5": lambda: Hdf5Reader(file.create_dataset("x", data=3.0), "x"),
            "memory": lambda: ArrayReader(3.0, "x"),
        }[kind]()
        assert reader.shape == ()
        assert reader.read(0, 1).reshape(-1).tolist() == [3.0]


def test_a_large_array_in_fortran_order_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(2 * 3 * 5 * 7, dtype=np.float64).reshape(7, 5, 3, 2)
    np.save(tmp_path / "f.npy", np.asfortranarray(array))
    monkeypatch.setattr("tfdump.inputs.readers._SMALL_BYTES", 100)
    reader = open_npy(tmp_path / "f.npy")
    np.testing.assert_array_equal(reader.read(2, 5), array[2:5])
    np.testing.assert_array_equal(reader.read(0, 7), array)
