"""A journal gives back what was written, bit by bit; what was torn is cut off; what belongs to others is refused."""

import fcntl
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tfdump.dump.journal import MARK, Journal, journal_path
from tfdump.dump.packing import digest, fingerprint, pack, unpack
from tfdump.errors import DumpError
from tfdump.tensors import Ragged, Sparse

NUMBERS = np.arange(24, dtype=np.float32).reshape(4, 3, 2)

VALUES = {
    "rows": NUMBERS,
    "strided": NUMBERS[::2, :, ::-1],
    "fortran": np.asfortranarray(NUMBERS[0]),
    "scalar": np.array(1.5),
    "empty": np.zeros((3, 0), np.int16),
    "no rows": np.zeros((0, 3), np.float64),
    "bits": np.array([np.nan, -np.nan, -0.0, np.inf]),
    "bool": np.array([[True], [False]]),
    "complex": np.array([1 + 2j, -3j], np.complex64),
    "bfloat16": np.array([1.5, -2], ml_dtypes.bfloat16),
    "float8": np.array([1.5, -2], ml_dtypes.float8_e5m2),
    "odd": np.arange(3, dtype=np.uint8),
    "text": np.array([[b"a", b""], [b"\xff\0x", b"end"]], object),
    "no text": np.zeros((0, 2), object),
    "repeated": np.broadcast_to(np.float32(3), (5, 2)),
}
COMPOSITES = {
    "ragged": Ragged(np.arange(4, dtype=np.float32), (np.array([0, 1, 4]), np.array([0, 2, 2, 4]))),
    "sparse": Sparse(np.array([1.0, 2.0]), np.array([[0, 1], [1, 0]]), (2, 5)),
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "d.h5.partial", {}) as journal:
        journal.begin({"command": "tfdump"})
        yield journal


def equal(array: np.ndarray, value: np.ndarray) -> bool:
    if value.dtype == object:
        return array.shape == value.shape and array.tolist() == value.tolist()
    return (array.dtype, array.shape, array.tobytes()) == (value.dtype, value.shape, value.tobytes())


def reopened(path: Path, identity: dict | None = None) -> list:
    with Journal(path, {}) as journal:
        journal.begin(identity or {"command": "tfdump"})
        return list(journal.records())


def test_values_come_back_bit_by_bit(tmp_path: Path) -> None:
    with Journal(tmp_path / "d.h5.partial", {}) as journal:
        journal.begin({"command": "tfdump"})
        journal.append([*VALUES.values(), None], {"n": 1})
        journal.append(list(COMPOSITES.values()), {"n": 2})
    first, second = reopened(journal.path)
    assert (first.about, second.about) == ({"n": 1}, {"n": 2})
    assert first.values[-1] is None
    for name, array in zip(VALUES, first.values, strict=False):
        assert equal(array, VALUES[name]), name
    ragged, sparse = second.values
    assert equal(ragged.values, COMPOSITES["ragged"].values)
    assert [splits.tolist() for splits in ragged.row_splits] == [[0, 1, 4], [0, 2, 2, 4]]
    assert (sparse.values.tolist(), sparse.indices.tolist(), sparse.dense_shape) == ([1, 2], [[0, 1], [1, 0]], (2, 5))


def test_str_is_kept_as_the_bytes_that_would_be_stored() -> None:
    form, buffers = pack(np.array(["é", "\ud800"], object))
    texts = unpack(form, [np.frombuffer(buffer, np.uint8) for buffer in buffers])
    assert texts.tolist() == ["é".encode(), "\ud800".encode("utf-8", "surrogatepass")]


def test_one_number_repeated_takes_the_room_of_one() -> None:
    _, buffers = pack(np.broadcast_to(np.float32(3), (1000, 1000)))
    assert sum(len(buffer) for buffer in buffers) == 4


@pytest.mark.parametrize("other", [NUMBERS + 1e-3, NUMBERS.reshape(4, 6), NUMBERS.view(np.int32), NUMBERS[:3]])
def test_digests_tell_arrays_apart(other: np.ndarray) -> None:
    assert digest({"x": NUMBERS}) == digest({"x": NUMBERS.copy()})
    assert digest({"x": NUMBERS}) != digest({"x": other})
    assert digest({"x": NUMBERS}) != digest({"y": NUMBERS})
    assert fingerprint([NUMBERS, None]) == fingerprint([NUMBERS.copy(), None])
    assert fingerprint([NUMBERS]) != fingerprint([other])


def test_digests_tell_texts_apart_that_are_one_when_joined() -> None:
    assert digest({"x": np.array([b"ab", b"c"], object)}) != digest({"x": np.array([b"a", b"bc"], object)})


def test_a_journal_cut_anywhere_gives_the_whole_batches_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "d.h5.partial"
    ends = []
    with Journal(path, {}) as journal:
        journal.begin({"command": "tfdump"})
        for number in range(3):
            ends.append(path.stat().st_size)
            journal.append([NUMBERS + number], {"n": number})
    ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        count = sum(end <= length for end in ends[1:])
        with Journal(path, {}) as journal:
            journal.begin({"command": "tfdump"})
            records = list(journal.records())
            assert [record.about["n"] for record in records] == list(range(count)), length
            for number in range(count, 3):
                journal.append([NUMBERS + number], {"n": number})
        assert path.read_bytes() == whole, length


def test_a_journal_with_a_flipped_bit_gives_the_batches_before_it(tmp_path: Path) -> None:
    path = tmp_path / "d.h5.partial"
    ends = []
    with Journal(path, {}) as journal:
        journal.begin({"command": "tfdump"})
        for number in range(3):
            ends.append(path.stat().st_size)
            journal.append([NUMBERS + number], {"n": number})
    whole = path.read_bytes()
    for position in range(ends[0], len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        count = sum(end <= position for end in ends) - 1
        assert [record.about["n"] for record in reopened(path)] == list(range(count)), position


def test_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "d.h5.partial"
    with Journal(path, {"code": {"a.py": "1"}}) as journal:
        journal.begin({"command": "tfdump activations", "batch_size": 4})
        journal.append([NUMBERS], {})
    before = path.read_bytes()
    for code, size, message in (("1", 8, "its batch_size is 4, and now it is 8"), ("2", 4, "its code is .*'1'.*'2'")):
        with Journal(path, {"code": {"a.py": code}}) as journal, pytest.raises(DumpError, match=message) as error:
            journal.begin({"command": "tfdump activations", "batch_size": size})
        assert "remove it to start over" in str(error.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"not JSON", b""),
        (b"[1]", b""),
        (b"", b""),
        (b'{"command": "tfdump"}', b"zz"),
        (b'{"command": "tfdump"}', b"\2\0\0\0{}"),
        (b'{"command": "tfdump"}', b'\x2a\0\0\0{"sizes": [], "forms": [{}], "about": {}}'),
        (
            b'{"command": "tfdump"}',
            b'\x47\0\0\0{"sizes": [], "forms": [{"dtype": "float32", "shape": [2]}], "about": {}}',
        ),
    ],
)
def test_frames_with_right_sums_that_no_run_wrote_are_refused(tmp_path: Path, first: bytes, second: bytes) -> None:
    path = tmp_path / "d.h5.partial"
    frames = [struct.pack("<QI", len(frame), zlib.crc32(frame)) + frame for frame in (first, second)]
    path.write_bytes(MARK + b"".join(frames))
    before = path.read_bytes()
    with pytest.raises(DumpError, match=r"is not a journal that tfdump wrote.*remove it to start over"):
        reopened(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "d.h5.partial"
    path.write_bytes(b"precious")
    with pytest.raises(DumpError, match="has the name that the journal needs, and is not a journal"):
        Journal(path, {})
    assert path.read_bytes() == b"precious"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"")
    (tmp_path / "d.h5.partial").symlink_to("precious")
    with pytest.raises(DumpError, match="cannot write"):
        Journal(tmp_path / "d.h5.partial", {})


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="No such file or directory"):
        Journal(tmp_path / "no" / "d.h5.partial", {})


def test_two_runs_cannot_have_one_journal(journal: Journal) -> None:
    with pytest.raises(DumpError, match="in use by another run"):
        Journal(journal.path, {})


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    path = tmp_path / "d.h5.partial"
    code = "import os, sys; from pathlib import Path; from tfdump.dump.journal import Journal\n"
    code += "journal = Journal(Path(sys.argv[1]), {}); journal.begin({'command': 'tfdump'}); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert path.exists()
    assert reopened(path) == []


def test_a_journal_that_vanishes_while_it_is_being_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the other run ends between the opening and the lock."""
    path = tmp_path / "d.h5.partial"
    lock, removed = fcntl.flock, []

    def lock_after_removal(handle: int, how: int) -> None:
        if not removed:
            path.unlink()
            removed.append(handle)
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", lock_after_removal)
    with Journal(path, {}) as journal:
        journal.begin({"command": "tfdump"})
        assert path.exists()
        assert os.path.samestat(path.stat(), os.fstat(journal._handle))


def test_a_journal_of_nothing_does_not_stay(tmp_path: Path) -> None:
    with Journal(tmp_path / "d.h5.partial", {}):
        pass
    assert os.listdir(tmp_path) == []


def test_it_lies_beside_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "d.h5").symlink_to(tmp_path / "real" / "e.h5")
    assert journal_path(tmp_path / "d.h5") == (tmp_path / "real" / "e.h5.partial").resolve()
