"""What a file is, by its first bytes."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from tfdump.errors import InputError
from tfdump.files.formats import Mark, mark_of


def test_each_format_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2))
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    h5py.File(tmp_path / "a.h5", "w").close()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "a.tflite").write_bytes(b"\x80\0\0\0TFL3\0\0")
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "a.none").touch()
    marks = {path.suffix: mark_of(path, InputError) for path in tmp_path.iterdir()}
    assert marks == {
        ".npy": Mark.NPY,
        ".npz": Mark.ZIP,
        ".h5": Mark.HDF5,
        ".pkl": Mark.PICKLE,
        ".tflite": Mark.TFLITE,
        ".txt": Mark.OTHER,
        ".none": Mark.EMPTY,
    }


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^cannot read .*: Is a directory$"):
        mark_of(tmp_path, InputError)
