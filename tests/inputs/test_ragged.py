"""Rows of different lengths are padded to one, and their lengths are kept."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdump.errors import InputError
from tfdump.inputs.ragged import RaggedReader, SplitsReader, VlenReader, join_ragged
from tfdump.inputs.readers import ArrayReader

ROWS = [[1], [], [2, 3, 4], [5, 6]]


def splits_reader(rows: list[list], dtype: object = np.int32) -> SplitsReader:
    values = np.array([item for row in rows for item in row], dtype)
    splits = np.cumsum([0, *map(len, rows)])
    return SplitsReader(ArrayReader(values, "ids.values"), ArrayReader(splits, "ids.row_splits"), "ids")


@pytest.fixture(params=["splits", "vlen"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RaggedReader]:
    """ROWS, in each of the two ways to store them."""
    with h5py.File(tmp_path / "d.h5", "w") as file:
        if request.param == "splits":
            yield splits_reader(ROWS)
        else:
            dataset = file.create_dataset("ids", (len(ROWS),), h5py.vlen_dtype(np.int32))
            for number, row in enumerate(ROWS):
                dataset[number] = row
            yield VlenReader(dataset, "ids")


def test_rows_are_padded_at_the_end_to_the_longest(reader: RaggedReader) -> None:
    assert (reader.shape, reader.dtype) == ((4, 3), np.int32)
    assert reader.lengths.tolist() == [1, 0, 3, 2]
    assert reader.read(0, 4).tolist() == [[1, 0, 0], [0, 0, 0], [2, 3, 4], [5, 6, 0]]


def test_every_batch_is_padded_to_the_same_length(reader: RaggedReader) -> None:
    assert reader.read(0, 2).tolist() == [[1, 0, 0], [0, 0, 0]]
    assert reader.read(2, 2).shape == (0, 3)
    assert reader.read(3, 4).tolist() == [[5, 6, 0]]


def test_the_pad_value_and_the_length_can_be_chosen(reader: RaggedReader) -> None:
    reader.pad_with(-1, np.dtype("int32"))
    reader.pad_to(4)
    assert reader.shape == (4, 4)
    assert reader.read(2, 4).tolist() == [[2, 3, 4, -1], [5, 6, -1, -1]]


def test_a_length_below_the_longest_row_names_that_row(reader: RaggedReader) -> None:
    with pytest.raises(InputError, match="row 2 has 3 elements and does not fit into 2"):
        reader.pad_to(2)


def test_rows_can_be_had_without_padding(reader: RaggedReader) -> None:
    assert [row.tolist() for row in reader.rows(1, 4)] == [[], [2, 3, 4], [5, 6]]


@given(st.lists(st.lists(st.integers(1, 99), max_size=6), min_size=1, max_size=8), st.data())
def test_any_rows_come_back_in_any_batch(rows: list[list[int]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    longest = max(map(len, rows))
    expected = [row + [0] * (longest - len(row)) for row in rows[start:stop]]
    assert splits_reader(rows).read(start, stop).tolist() == expected


def test_values_may_be_vectors() -> None:
    values = np.arange(6.0).reshape(3, 2)
    reader = SplitsReader(ArrayReader(values, "v"), ArrayReader(np.array([0, 1, 3]), "s"), "x")
    assert reader.shape == (2, 2, 2)
    assert reader.read(0, 2).tolist() == [[[0, 1], [0, 0]], [[2, 3], [4, 5]]]


def test_only_empty_rows_have_no_length() -> None:
    reader = splits_reader([[], []])
    assert (reader.shape, reader.read(0, 2).shape) == ((2, 0), (2, 0))


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.int8])
def test_row_splits_may_be_any_integers(dtype: type) -> None:
    reader = SplitsReader(ArrayReader([7, 8], "v"), ArrayReader(np.array([0, 0, 2], dtype), "s"), "x")
    assert reader.read(0, 2).tolist() == [[0, 0], [7, 8]]


@pytest.mark.parametrize(
    ("splits", "complaint"),
    [
        ([], "one axis of integers"),
        ([[0, 2]], "one axis of integers"),
        ([0.0, 2.0], "one axis of integers"),
        (0, "one axis of integers"),
        ([1, 2], "rise from 0 to 2"),
        ([0, 1], "rise from 0 to 2"),
        ([0, 3], "rise from 0 to 2"),
        ([0, 2, 1, 2], r"not fall, and falls after row 1 \(from 2 to 1\)"),
        ([0, -1, 2], "not fall, and falls after row 0"),
    ],
)
def test_row_splits_that_do_not_fit_the_values_are_refused(splits: object, complaint: str) -> None:
    with pytest.raises(InputError, match=f"^s must (be )?{complaint}"):
        SplitsReader(ArrayReader([7, 8], "v"), ArrayReader(np.array(splits), "s"), "x")


def test_a_variable_length_dataset_has_one_axis(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        dataset = file.create_dataset("ids", (2, 2), h5py.vlen_dtype(np.int32))
        with pytest.raises(InputError, match=r"one axis of sequences, not the shape \(2, 2\)"):
            VlenReader(dataset, "ids")


def test_many_variable_length_rows_are_measured_in_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VlenReader, "_PASS", 3)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        dataset = file.create_dataset("ids", (8,), h5py.vlen_dtype(np.int64))
        for number in range(8):
            dataset[number] = np.arange(number % 5)
        assert VlenReader(dataset, "ids").lengths.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def openers(**arrays: list[int]) -> dict:
    return {name.replace("__", "."): (lambda rows=rows: ArrayReader(rows, "r")) for name, rows in arrays.items()}


def test_pairs_are_joined_and_the_rest_is_left_alone() -> None:
    joined = join_ragged(openers(a=[1], ids__row_splits=[0, 1], ids__values=[1], lone__values=[1]), "a.npz")
    assert set(joined) == {"a", "ids", "lone.values"}
    ids = joined["ids"]()
    assert isinstance(ids, SplitsReader)
    assert ids.label == "a.npz::ids"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"ids__row_splits": [0, 1]}, "has 'ids.row_splits' without 'ids.values'"),
        ({"ids__row_splits": [0, 1], "ids__values": [1], "ids": [1]}, "has both 'ids' and a ragged 'ids'"),
    ],
)
def test_half_a_pair_and_two_of_one_name_are_refused(arrays: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        join_ragged(openers(**arrays), "a.npz")
