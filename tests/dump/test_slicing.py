"""`--slice` takes what NumPy takes, and refuses the rest with one line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdump.dump.slicing import parse_slice
from tfdump.dump.view import MemoryPart, View
from tfdump.errors import TfdumpError

INTEGER = st.integers(-4, 3)
BOUND = st.none() | st.integers(-6, 6)
RANGE = st.tuples(BOUND, BOUND, st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))


def text_of(entry: object) -> str:
    if isinstance(entry, tuple):
        return ":".join("" if bound is None else str(bound) for bound in entry)
    return "..." if entry is Ellipsis else str(entry)


@given(st.lists(INTEGER | RANGE, max_size=3), st.integers(0, 3), st.booleans(), st.integers(1, 40))
def test_a_slice_takes_what_numpy_takes(entries: list, position: int, dots: bool, most: int) -> None:
    """Values, their order, their shape and their indices, read in pieces of any size."""
    if dots:
        entries = [*entries[:position], Ellipsis, *entries[position:]]
    if not entries:
        entries = [Ellipsis]
    numbers = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    key = tuple(slice(*entry) if isinstance(entry, tuple) else entry for entry in entries)
    expected = numbers[key]
    slicing = parse_slice(",".join(map(text_of, entries)))
    if expected.size == 0:
        with pytest.raises(TfdumpError, match="selects nothing from axis"):
            slicing.axes(numbers.shape, "'x'")
        return
    view = View(MemoryPart(numbers), slicing.axes(numbers.shape, "'x'"))
    assert view.shape == expected.shape
    assert np.concatenate(list(view.blocks(8 * most))).tolist() == expected.reshape(-1).tolist()
    assert np.array_equal(view.read(), expected)
    places = np.unravel_index(expected.reshape(-1), numbers.shape)
    assert np.array_equal(view.indices(0, view.size), places)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple), st.integers(1, 3))
def test_the_edges_are_those_that_numpy_shows(shape: tuple[int, ...], edge: int) -> None:
    numbers = np.arange(np.prod(shape)).reshape(shape)
    for axis, size in enumerate(shape):
        if size > 2 * edge:
            numbers = np.delete(numbers, np.s_[edge + 1 : size - edge], axis)
    view = View(MemoryPart(np.arange(np.prod(shape)).reshape(shape)))
    corners = np.ix_(*([n for n in range(size) if size <= 2 * edge or n != edge] for size in numbers.shape))
    assert np.array_equal(view.edges(edge)[corners], numbers[corners])


def test_brackets_and_blanks_and_a_last_comma_are_allowed() -> None:
    for text in ("1,::2", "[1, ::2]", " 1 , : : 2 ,", "+1,::+2"):
        assert parse_slice(text).entries == (1, slice(None, None, 2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' in --slice"),
        ("1,,2", "'' in --slice"),
        ("a", "'a' in --slice"),
        ("1.5", "'1.5' in --slice"),
        ("__import__('os')", "neither an integer"),
        ("1:2:3:4", "'1:2:3:4' in --slice"),
        ("::0", "the step 0"),
        ("...,...", "more than one '...'"),
        ("1" * 30, "neither an integer"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "neither an integer"),
    ],
)
def test_what_is_no_slice_is_refused(text: str, words: str) -> None:
    with pytest.raises(TfdumpError, match=words):
        parse_slice(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4", r"4 is out of range for axis 0 of 'x', which is from -4 to 3"),
        ("0,-4", r"-4 is out of range for axis 1"),
        ("...,9", r"9 is out of range for axis 2"),
        ("0,0,0,0", r"has 4 axes, and 'x' has 3"),
        ("10:20", r"selects nothing from axis 0 of 'x', which has 4"),
        (":,:,0", r"0 is out of range for axis 2 of 'x', which is empty"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, words: str) -> None:
    shape = (4, 3, 0) if "empty" in words else (4, 3, 2)
    with pytest.raises(TfdumpError, match=words):
        parse_slice(text).axes(shape, "'x'")


def test_all_of_an_empty_axis_is_empty() -> None:
    assert View(MemoryPart(np.zeros((0, 3))), parse_slice(":,1").axes((0, 3), "'x'")).shape == (0,)
