"""Names of examples, looked up in a dump by row, by number and by name."""

from pathlib import Path

import numpy as np
import pytest

import tfdump
from support.check_dumps import write_dump
from support.example_names import photos, with_names
from tfdump.dump.examples import StoredExamples, example_aside, example_text
from tfdump.errors import DumpError


def made(folder: Path, names: list[str], first: int = 0) -> Path:
    """A dump of one tensor whose examples have these names."""
    tensors = {"activations/d": np.zeros((len(names), 2), "f4")}
    return with_names(write_dump(folder / "d.h5", tensors, first_example=first), names)


def examples_of(dump: tfdump.Dump) -> StoredExamples:
    assert dump.examples is not None
    return dump.examples


def test_names_are_read_row_by_row_across_blocks(tmp_path: Path) -> None:
    names = photos(10_000)
    with tfdump.open(made(tmp_path, names)) as dump:
        examples = examples_of(dump)
        assert [examples.name(row) for row in (0, 4095, 4096, 9999, 1)] == [
            names[row] for row in (0, 4095, 4096, 9999, 1)
        ]


def test_an_example_is_named_by_its_number_in_the_input(tmp_path: Path) -> None:
    with tfdump.open(made(tmp_path, photos(4), first=10)) as dump:
        assert [dump.example_id(number) for number in (10, 13)] == ["cat/0.jpg", "dog/3.jpg"]
        assert [dump.example_id(number) for number in (9, 14, None)] == [None, None, None]


def test_a_dump_without_names_names_no_example(tmp_path: Path) -> None:
    with tfdump.open(write_dump(tmp_path / "d.h5", {"activations/d": np.zeros((2, 2), "f4")})) as dump:
        assert dump.examples is None
        assert dump.example_id(0) is None


@pytest.mark.parametrize(
    ("name", "row"), [("cat/1.jpg", 1), ("3.jpg", 3), ("x/cat/1.jpg", 4), ("plain", 5), ("17", 6), ("twice", 7)]
)
def test_a_row_is_found_by_name_or_by_the_end_of_one(name: str, row: int, tmp_path: Path) -> None:
    names = ["cat/0.jpg", "cat/1.jpg", "dog/2.jpg", "dog/3.jpg", "x/cat/1.jpg", "plain", "17", "twice", "twice"]
    with tfdump.open(made(tmp_path, names)) as dump:
        assert examples_of(dump).row(name) == row


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cat/2.jpg", "has no example 'cat/2.jpg'; near: 'cat/1.jpg'"),
        ("1.jpg", "has 2 examples that end in '1.jpg': 'cat/1.jpg', 'dog/1.jpg' (write out one of them)"),
        ("jpg", "has no example 'jpg'"),
        ("", "has no example ''"),
    ],
)
def test_a_name_that_tells_no_row_is_an_error(name: str, message: str, tmp_path: Path) -> None:
    with tfdump.open(made(tmp_path, ["cat/1.jpg", "dog/1.jpg"])) as dump, pytest.raises(DumpError) as caught:
        examples_of(dump).row(name)
    assert message in str(caught.value)


def test_a_name_is_looked_for_in_all_blocks(tmp_path: Path) -> None:
    with tfdump.open(made(tmp_path, photos(9000))) as dump:
        assert examples_of(dump).row("dog/8999.jpg") == 8999


def test_words() -> None:
    assert example_text(17, None) == "example 17"
    assert example_text(17, "cat/1.jpg") == "example 17 (cat/1.jpg)"
    assert example_aside(17, None) == "(example 17)"
    assert example_aside(17, "cat/1.jpg") == "(example 17, cat/1.jpg)"


def test_words_stay_on_their_line() -> None:
    assert example_text(1, "a\nb\x1b[2J.jpg") == "example 1 (a\\x0ab\\x1b[2J.jpg)"
