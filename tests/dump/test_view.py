"""Slices of what is in a file: chunked arrays, and the rows and items of composites."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.dumps import ARRAYS, DEEP, RAGGED, SPLITS, STACK, describe, empty_dump, write_dump
from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.slicing import parse_slice
from tfdump.dump.view import RaggedOffsets, views_of
from tfdump.errors import DumpError, TfdumpError


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dump]:
    with open_dump(write_dump(tmp_path_factory.mktemp("view") / "d.h5")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("...", np.s_[...]),
        ("::-7,1:,:,::-1", np.s_[::-7, 1:, :, ::-1]),
        ("3,...,-1", np.s_[3, ..., -1]),
        ("40:10:-3,0,0,0", np.s_[40:10:-3, 0, 0, 0]),
        ("-1,-1,-1,-1", np.s_[-1, -1, -1, -1]),
    ],
)
@pytest.mark.parametrize("most", [1, 100, 5000, 1 << 20])
def test_a_chunked_array_is_sliced_as_numpy_slices(dump: Dump, text: str, key: tuple, most: int) -> None:
    (view,) = views_of(dump["conv"], parse_slice(text)).values()
    array = np.concatenate(list(view.blocks(most))).reshape(view.shape)
    assert np.array_equal(array, ARRAYS["conv"][key])
    assert array.dtype == np.float32


def test_the_first_integer_chooses_a_row_or_an_item(dump: Dump) -> None:
    cases = {
        ("ragged", "2"): RAGGED[1:6],
        ("ragged", "-1,::2,1"): RAGGED[1:6][::2, 1],
        ("ragged", "1"): RAGGED[1:1],
        ("deep", "1,0"): DEEP[0][2:2],
        ("deep", "1,1,-1"): DEEP[0][4],
        ("stack", "3,:,0"): STACK[3][:, 0],
        ("stack", "-1"): STACK[10],
    }
    for (address, text), expected in cases.items():
        (view,) = views_of(dump[address], parse_slice(text)).values()
        assert np.array_equal(view.read(), expected), (address, text)
        assert view.shape == expected.shape


@pytest.mark.parametrize(
    ("address", "text", "words"),
    [
        ("ragged", "3", "3 is out of range for a row of 'ragged', which is from -3 to 2"),
        ("ragged", ":,0", "must begin with an integer, which selects a row"),
        ("ragged", "0,1", "1 is out of range for axis 0 of row 0 of 'ragged'"),
        ("deep", "1", "must begin with an integer, which selects a row"),
        ("stack", "11", "11 is out of range for an item of 'stack'"),
        ("stack", "0,2", "2 is out of range for axis 0 of item 0 of 'stack'"),
        ("sparse", "0", "'sparse' is sparse and cannot be sliced"),
        ("statistics", "0", "'statistics' has statistics and no values"),
        ("unreached", "0", "'unreached' is not connected"),
    ],
)
def test_what_cannot_be_sliced_says_why(dump: Dump, address: str, text: str, words: str) -> None:
    with pytest.raises(TfdumpError, match=words):
        views_of(dump[address], parse_slice(text))


@pytest.mark.parametrize("splits", [[0, 2], [1, 6], [0, 4, 3, 6], [], [[0, 6]], [0.0, 6.0]])
def test_row_splits_that_do_not_fit_are_damage(tmp_path: Path, splits: list) -> None:
    with empty_dump(tmp_path / "d.h5") as file:
        group = file["activations"].create_group("r")
        group["values"], group["row_splits"] = RAGGED, splits
        describe(group, encoding="ragged")
    with open_dump(tmp_path / "d.h5") as opened, pytest.raises(DumpError, match="'r' is damaged: row_splits"):
        RaggedOffsets(opened["r"])


def test_the_offsets_give_row_and_position(dump: Dump) -> None:
    row, position = RaggedOffsets(dump["ragged"]).indices(0, 6)
    expected = [(r, n) for r in range(3) for n in range(SPLITS[r + 1] - SPLITS[r])]
    assert list(zip(row.tolist(), position.tolist(), strict=True)) == expected
    deep = RaggedOffsets(dump["deep"]).indices(1, 4)
    assert list(zip(*(axis.tolist() for axis in deep), strict=True)) == [(0, 0, 1), (1, 1, 0), (1, 1, 1), (1, 1, 2)]


def test_an_array_without_a_shape_is_damage(tmp_path: Path) -> None:
    with empty_dump(tmp_path / "d.h5") as file:
        group = file["activations"].create_group("s")
        group["values"], group["indices"] = np.ones(2, "f4"), h5py.Empty("i8")
        describe(group, encoding="sparse", dense_shape=np.array([4, 2]))
    with open_dump(tmp_path / "d.h5") as opened, pytest.raises(DumpError, match="it has no shape"):
        opened["s"].parts()
