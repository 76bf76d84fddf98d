"""What reading, checking and comparing dumps in Python says of arguments of the wrong kind; needs no TensorFlow."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump
from support.dumps import write_dump
from tfdump.argument_kinds import flag, positive_number, texts
from tfdump.errors import TfdumpError


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (np.bool_(True), True), (1, True), (False, False), (0, False), (None, False)]
)
def test_switches(value: Any, expected: bool) -> None:
    assert flag("trust", value) is expected


@pytest.mark.parametrize("value", ["no", "", 2, -1, 1.0, [], {}, object(), np.array([True, False]), bool])
def test_what_is_no_switch(value: Any) -> None:
    """Least of all a text: `trust="no"` is none for a reader and true for Python."""
    with pytest.raises(TfdumpError, match=r"^trust .* is neither True nor False$"):
        flag("trust", value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "much", None, 1 + 2j])
def test_what_is_no_positive_number(value: Any) -> None:
    with pytest.raises(TfdumpError, match=r"^scale .* is not (above 0|a number)"):
        positive_number("scale", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b")), (np.array(["a"]), ("a",)), ((t for t in "ab"), ("a", "b"))],
)
def test_texts(value: Any, expected: tuple[str, ...]) -> None:
    assert texts("layers", value, "conv*") == expected


CALLS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda _: tfdump.open(3), "dump 3 is not a path to a file"),
    (lambda _: tfdump.open(b"d.h5"), "is not a path to a file"),
    (lambda _: tfdump.check(None), "dump None is not a path to a file"),
    (lambda d: tfdump.check(d, layers=3), "layers: 3 is not a string"),
    (lambda d: tfdump.check(d, exclude=["conv", None]), "exclude: None is not a string"),
    (lambda d: tfdump.check(d, depth="2"), "depth '2' is not a whole number of at least 0"),
    (lambda d: tfdump.check(d, fail_on=3), "fail_on: 3 is not a string"),
    (lambda d: tfdump.check(d, dead_examples=1.5), "dead_examples 1.5 is not a whole number of at least 1"),
    (lambda d: tfdump.check(d, vanish_ratio="low"), "vanish_ratio 'low' is not a number"),
    (lambda d: tfdump.check(d, progress=3), "progress 3 is not callable"),
    (lambda d: tfdump.diff(d, np.ones(3)), "give one, or arrays by name"),
    (lambda d: tfdump.diff([d], d), "is not a path to a file"),
    (lambda d: tfdump.diff(d, d, rtol="low"), "tolerance 'low' is not a number"),
    (lambda d: tfdump.diff(d, d, atol={"conv": [1]}), "tolerance [1] is not a number"),
    (lambda d: tfdump.diff(d, d, exact="no"), "exact 'no' is neither True nor False"),
    (lambda d: tfdump.diff(d, d, nan_equal="no"), "nan_equal 'no' is neither"),
    (lambda d: tfdump.diff(d, d, max_ulp=float("nan")), "max_ulp nan is not a whole number of at least 0"),
    (lambda d: tfdump.diff(d, d, min_cosine=[1]), "min_cosine [1] is not a number"),
    (lambda d: tfdump.diff(d, d, renamed=3), "renamed 3 is not a path to a file (a dict of names does it too)"),
    (lambda d: tfdump.diff(d, d, transpose=3), "transpose: 3 is not a string"),
    (lambda d: tfdump.open(d)[3], "3 is not an address"),
    (lambda d: tfdump.open(d)[None], "None is not an address"),
]


@pytest.mark.parametrize(("call", "words"), CALLS)
def test_arguments_of_another_kind_are_errors_that_name_them(
    tmp_path: Path, call: Callable[[Path], Any], words: str
) -> None:
    with pytest.raises(TfdumpError, match=re.escape(words)):
        call(write_dump(tmp_path / "d.h5"))


def test_none_and_numpy_numbers_are_taken(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "d.h5")
    assert not tfdump.check(dump, layers="conv", exclude=None, depth=np.int64(1)).failed
    arrays = {"a": np.ones(3, "f4")}
    assert tfdump.diff(arrays, arrays, layers=None, ignore=None, exact=None, max_ulp=np.int64(0)).same
