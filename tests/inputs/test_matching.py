"""Matching arrays to the inputs of a model."""

import numpy as np
import pytest

from tfdump.errors import InputError
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.matching import match
from tfdump.inputs.readers import ArrayReader
from tfdump.tensors import InputSpec

LEFT, RIGHT, MASK = (
    InputSpec("left", (None, 2), "float32"),
    InputSpec("right", (None, 2), "int32"),
    InputSpec("mask", None, None, optional=True),
)


def array(label: str) -> ArrayReader:
    return ArrayReader(np.zeros((1, 2)), label)


def plain(*labels: str) -> list[InputArray]:
    return [InputArray(None, array(label)) for label in labels]


def named(**labels: str) -> list[InputArray]:
    return [InputArray(name, array(label)) for name, label in labels.items()]


def keyed(*keys: str) -> list[InputArray]:
    return [InputArray(key, array(f"a.npz::{key}"), optional_name=True) for key in keys]


def matched(arrays: list[InputArray], *specs: InputSpec) -> dict[str, str]:
    """The label of the array of each input."""
    return {name: reader.label for name, reader in match(arrays, specs).items()}


@pytest.mark.parametrize(
    ("arrays", "specs", "expected"),
    [
        (plain("x"), [LEFT], {"left": "x"}),
        (plain("x", "y"), [LEFT, RIGHT], {"left": "x", "right": "y"}),
        (named(right="x", left="y"), [LEFT, RIGHT], {"left": "y", "right": "x"}),
        (named(right="x") + plain("y"), [LEFT, RIGHT], {"left": "y", "right": "x"}),
        (plain("y") + named(left="x"), [LEFT, RIGHT], {"left": "x", "right": "y"}),
        (keyed("right", "left"), [LEFT, RIGHT], {"left": "a.npz::left", "right": "a.npz::right"}),
        (keyed("arr_0", "arr_1"), [LEFT, RIGHT], {"left": "a.npz::arr_0", "right": "a.npz::arr_1"}),
        (keyed("arr_0"), [LEFT], {"left": "a.npz::arr_0"}),
        (plain("x"), [LEFT, MASK], {"left": "x"}),
        (plain("x", "y"), [LEFT, MASK], {"left": "x", "mask": "y"}),
        (plain("x"), [MASK, LEFT], {"left": "x"}),
        (plain("x", "y"), [MASK, LEFT], {"mask": "x", "left": "y"}),
        (named(mask="m") + plain("x"), [LEFT, MASK], {"mask": "m", "left": "x"}),
        (keyed("left") + plain("y"), [LEFT, RIGHT], {"left": "a.npz::left", "right": "y"}),
    ],
)
def test_arrays_go_to_the_inputs_they_name_and_the_others_in_order(
    arrays: list[InputArray], specs: list[InputSpec], expected: dict[str, str]
) -> None:
    assert matched(arrays, *specs) == expected


def test_arrays_of_an_archive_that_are_no_inputs_are_not_left_out() -> None:
    with pytest.raises(InputError, match=r"a.npz::labels is no input .*'left'\); name what to use: left=a.npz::left"):
        matched(keyed("left", "labels"), LEFT)
    with pytest.raises(InputError, match=r"a\.npz::labels, a\.npz::ids are no inputs of the model"):
        matched(keyed("labels", "left", "ids"), LEFT, MASK)


@pytest.mark.parametrize("arrays", [plain("x", "y"), keyed("arr_0", "arr_1"), named(left="x") + plain("y")])
def test_one_array_of_several_that_are_optional_has_to_be_named(arrays: list[InputArray]) -> None:
    other = InputSpec("other", None, None, optional=True)
    with pytest.raises(InputError, match=r"can be any of the optional inputs 'mask', 'other' \(name it: mask=FILE\)"):
        matched(arrays, LEFT, MASK, other)
    assert matched([*plain("x"), *named(other="o")], LEFT, MASK, other) == {"left": "x", "other": "o"}
    assert matched(plain("x", "y", "z"), LEFT, MASK, other) == {"left": "x", "mask": "y", "other": "z"}


@pytest.mark.parametrize(
    ("arrays", "specs", "complaint"),
    [
        (named(lef="x"), [LEFT], r"no input 'lef'; near: 'left' \(its inputs: 'left'\)"),
        (named(left="x") + named(left="y"), [LEFT], "'left' is given twice: x, y"),
        (plain("x"), [LEFT, RIGHT], "takes 2 inputs, 'left' float32, 'right' int32, and 1 array is given"),
        (plain("x", "y", "z"), [LEFT, RIGHT], "takes 2 inputs, .* and 3 arrays are given"),
        (plain("x", "y"), [LEFT], "takes 1 input, 'left' float32, and 2 arrays are given"),
        ([], [LEFT], "0 arrays are given"),
        (plain("x", "y", "z"), [LEFT, MASK], r"'mask' \(optional\), and 3 arrays"),
        (keyed("a", "b"), [LEFT], r"none of the arrays 'a', 'b' .*FILE::KEY"),
        (keyed("left"), [LEFT, RIGHT], "takes 2 inputs, .* and 1 array is given"),
        (named(left="x") + plain("y", "z"), [LEFT, RIGHT], "and 3 arrays are given"),
    ],
)
def test_what_does_not_fit_is_refused(arrays: list[InputArray], specs: list[InputSpec], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        matched(arrays, *specs)
