"""Errors have one base, and suggestions of near names help."""

import tokenize
import warnings

import pytest

from tfdump import errors
from tfdump.errors import TfdumpError, near, reason_of


@pytest.mark.parametrize("name", ["InputError", "ModelError", "UntrustedModelError", "SelectionError", "DumpError"])
def test_every_error_is_a_tfdump_error(name: str) -> None:
    with pytest.raises(TfdumpError):
        raise getattr(errors, name)("trouble")


def test_a_warning_of_tfdump_is_a_user_warning() -> None:
    with pytest.warns(UserWarning, match="cast"):
        warnings.warn("cast", errors.TfdumpWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        ("conv_9", ["conv_1", "dense"], "; near: 'conv_1'"),
        ("dense", ["encoder.dense", "x"], "; near: 'encoder.dense'"),
        ("DENSE", ["my_dense_layer_of_mine", "x"], "; near: 'my_dense_layer_of_mine'"),
        ("query", ["conv"], ""),
        ("query", [], ""),
        ("", ["conv"], ""),
    ],
)
def test_near_names_what_resembles_the_whole_the_end_or_a_part(wanted: str, known: list[str], expected: str) -> None:
    assert near(wanted, known) == expected


def test_near_names_at_most_three_and_none_twice() -> None:
    listed = near("conv", ["conv1", "conv1", "conv2", "conv3", "conv4"])
    assert listed.count("'") == 6
    assert len(set(listed.removeprefix("; near: ").split(", "))) == 3


def test_near_takes_an_iterator() -> None:
    assert near("conv_9", iter(["conv_1"])) == "; near: 'conv_1'"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("too short\nsecond line"), "too short"),
        (tokenize.TokenError("EOF in multi-line statement", (2, 0)), "EOF in multi-line statement"),
        (KeyError("sizes"), "it has no 'sizes'"),
        (
            KeyError("Unable to open object (object 'x' doesn't exist)"),
            "Unable to open object (object 'x' doesn't exist)",
        ),
        (FileNotFoundError(2, "No such file", "x"), "[Errno 2] No such file: 'x'"),
        (
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
            "'utf-8' codec can't decode byte 0xff in position 0: invalid",
        ),
        (EOFError(), "EOFError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_reason_is_words_and_one_line(error: Exception, expected: str) -> None:
    assert reason_of(error) == expected
