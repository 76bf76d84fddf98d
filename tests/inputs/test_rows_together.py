"""Rows of two inputs that both have names: what is said where the names differ."""

from pathlib import Path

import numpy as np
import pytest

from support.named_rows import NamedRows
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.identity import ListedNames, NumberedNames
from tfdump.inputs.rows_together import first_unequal_names, remarks_on_rows
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.tensors import InputSpec

FILES = ["photos/cat/1.jpg", "photos/cat/2.jpg", "photos/dog/3.jpg", "photos/dog/4.jpg"]


def difference(one: list[str], other: list[str]) -> tuple[int, str, str] | None:
    return first_unequal_names(ListedNames(one), ListedNames(other), 0, len(one))


@pytest.mark.parametrize(
    "ids",
    [
        FILES,
        ["cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg"],
        ["1.jpg", "2.jpg", "3.jpg", "4.jpg"],
        ["1", "2", "3", "4"],
        ["masks/1.png", "masks/2.png", "masks/3.png", "masks/4.png"],
        ["/data/photos/cat/1.jpg", "/data/photos/cat/2.jpg", "/data/photos/dog/3.jpg", "/data/photos/dog/4.jpg"],
    ],
)
def test_names_that_agree_in_one_form_agree(ids: list[str]) -> None:
    assert difference(FILES, ids) is None
    assert difference(ids, FILES) is None
    swapped = [ids[0], ids[2], ids[1], ids[3]]
    assert difference(FILES, swapped) == (1, FILES[1], ids[2])
    assert difference(swapped, FILES) == (1, ids[2], FILES[1])


@pytest.mark.parametrize(
    "ids",
    [
        ["patient 7", "patient 8", "patient 9", "patient 10"],
        ["4", "17", "18", "19"],  # one of them happens to be the name of a file
        ["left/1_l.png", "left/2_l.png", "left/3_l.png", "left/4_l.png"],
    ],
)
def test_names_of_different_kinds_are_not_compared(ids: list[str]) -> None:
    assert difference(FILES, ids) is None


def test_a_row_that_is_missing_is_where_the_names_begin_to_differ() -> None:
    assert difference(["1.5", "2.5", "4.5", "5.5"], ["1.5", "2.5", "3.5", "4.5"]) == (2, "4.5", "3.5")


def test_rows_behind_the_first_block_are_compared_too() -> None:
    names = [f"f/{number}.png" for number in range(140_000)]
    other = [name[2:-4] for name in names]
    assert difference(names, other) is None
    other[130_000] = "x"
    assert difference(names, other) == (130_000, "f/130000.png", "x")


def test_rows_that_are_counted_have_no_names_to_compare() -> None:
    counted = NamedRows([[0], [0]], [])
    counted.names = NumberedNames("data.csv")
    assert not list(remarks_on_rows([NamedRows([[0], [0]], ["data.csv:1", "data.csv:0"]), counted], 0, 2))


def test_a_source_says_where_the_files_of_a_folder_and_the_ids_of_a_table_differ(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "t.csv").write_text("id,value\na,1\nc,3\nb,2\n")
    (array,) = open_arguments([f"{tmp_path}/t.csv::value"], options=DataOptions(id_column="id"))
    readers = {
        "x": NamedRows(np.zeros((3, 2)), ["photos/a.png", "photos/b.png", "photos/c.png"]),
        "value": array.reader,
    }
    notes: list[str] = []
    specs = [InputSpec("x", (None, 2), "float64"), InputSpec("value", (None,), "int64")]
    Source(specs, readers, ReadingOptions(), notes.append)
    assert notes == [
        f"the rows of rows and {tmp_path}/t.csv::value go together by their order, and their names differ, first in "
        "example 1: 'photos/b.png' and 'c' (sort both alike)"
    ]
    Source(specs, readers, ReadingOptions(examples=(0, 1)), notes.append)
    assert len(notes) == 1
