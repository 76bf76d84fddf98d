"""A tensor is read in pieces that cover it once, whatever its shape and chunks."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdump.dump.parts import Part, pieces
from tfdump.errors import DumpError

SHAPES = st.lists(st.integers(0, 7), max_size=4).map(tuple)


@given(SHAPES, st.sampled_from([1, 4, 8]), st.integers(1, 600), st.data())
def test_pieces_cover_every_element_once_in_order(
    shape: tuple[int, ...], itemsize: int, most: int, data: st.DataObject
) -> None:
    chunks = data.draw(st.none() | st.tuples(*(st.integers(1, 4) for _ in shape)))
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    parts = [numbers[key].reshape(-1) for key in pieces(shape, itemsize, chunks, most)]
    assert np.array_equal(np.concatenate([*parts, numbers[:0].reshape(-1)]) if shape else parts[0], numbers.reshape(-1))
    assert all(part.size == 1 or part.size * itemsize <= most for part in parts)


def test_pieces_hold_whole_chunks_where_one_fits() -> None:
    starts = [key[0].start for key in pieces((100, 4), 4, (8, 4), 16 * 30)]
    assert starts == list(range(0, 100, 24))


def test_a_scalar_is_one_piece() -> None:
    assert list(pieces((), 8, None)) == [()]


def test_text_and_numbers_are_read_as_they_are(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["n"] = np.arange(10)
        file.create_dataset("t", data=["é", b"\xff"], dtype=h5py.string_dtype())
        assert [block.tolist() for _, block in Part("", file["n"]).blocks(32)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        text = Part("", file["t"])
        assert text.is_text
        assert text.read().tolist() == ["é", "\\xff"]


def test_a_dataset_that_declares_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        huge = file.create_dataset("huge", shape=(1 << 40,), dtype="f4", chunks=(1024,))
        with pytest.raises(DumpError, match=r"'/huge' is damaged: it declares more values than the file holds"):
            Part("", huge)
