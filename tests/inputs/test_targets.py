"""Which files are inputs and which are the targets."""

import numpy as np
import pytest

from tfdump.errors import InputError
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.targets import Argument, split_targets
from tfdump.tensors import InputSpec

ONE = [InputSpec("x", (None, 2), "float32")]
TWO = [InputSpec("left", (None, 2), "float32"), InputSpec("right", (None, 2), "float32")]
OPTIONAL = [*ONE, InputSpec("mask", None, None, optional=True)]


def plain(text: str, name: str | None = None) -> Argument:
    """An argument of one array, perhaps `NAME=FILE`."""
    label = f"{name}={text}" if name else text
    return label, [InputArray(name, ArrayReader(np.zeros((1, 2)), text))]


def archive(text: str, *keys: str) -> Argument:
    return text, [InputArray(key, ArrayReader(np.zeros((1, 2)), f"{text}::{key}"), optional_name=True) for key in keys]


def labels(arrays: list[InputArray]) -> list[str]:
    return [item.label for item in arrays]


@pytest.mark.parametrize(
    ("arguments", "specs", "inputs", "targets"),
    [
        ([plain("x.npy"), plain("y.npy")], ONE, ["x.npy"], ["y.npy"]),
        ([plain("x.npy", "x"), plain("y.npy")], ONE, ["x.npy"], ["y.npy"]),
        ([plain("l"), plain("r"), plain("y")], TWO, ["l", "r"], ["y"]),
        ([plain("r", "right"), plain("l"), plain("y")], TWO, ["r", "l"], ["y"]),
        ([plain("r", "right"), plain("l", "left"), plain("y")], TWO, ["r", "l"], ["y"]),
        ([archive("p.npz", "left", "right"), plain("y")], TWO, ["p.npz::left", "p.npz::right"], ["y"]),
        ([archive("p.npz", "arr_0", "arr_1"), plain("y")], TWO, ["p.npz::arr_0", "p.npz::arr_1"], ["y"]),
        ([archive("p.npz", "left"), plain("r"), plain("y")], TWO, ["p.npz::left", "r"], ["y"]),
        ([plain("x"), archive("y.npz", "price", "kind")], ONE, ["x"], ["y.npz::price", "y.npz::kind"]),
        ([archive("x.npz", "x"), archive("y.npz", "y")], ONE, ["x.npz::x"], ["y.npz::y"]),
        ([archive("x.npz", "anything"), plain("y")], ONE, ["x.npz::anything"], ["y"]),
        ([plain("x"), plain("m"), plain("y")], OPTIONAL, ["x", "m"], ["y"]),
        ([plain("x"), plain("y")], OPTIONAL, ["x"], ["y"]),
        ([plain("x"), plain("y")], None, ["x"], ["y"]),
        ([plain("a"), plain("b"), plain("c"), plain("y")], None, ["a", "b", "c"], ["y"]),
        ([archive("p.npz", "a", "b"), plain("y")], None, ["p.npz::a", "p.npz::b"], ["y"]),
    ],
)
def test_one_more_than_the_inputs_is_the_targets(
    arguments: list[Argument], specs: list[InputSpec] | None, inputs: list[str], targets: list[str]
) -> None:
    arrays, target_arrays = split_targets(arguments, specs)
    assert (labels(arrays), labels(target_arrays)) == (inputs, targets)


@pytest.mark.parametrize(
    ("arguments", "specs"),
    [
        ([plain("x")], ONE),
        ([archive("x.npz", "x")], ONE),
        ([plain("l"), plain("r")], TWO),
        ([archive("p.npz", "left", "right")], TWO),
        ([plain("r", "right"), plain("l", "left")], TWO),
        ([plain("x")], None),
        ([archive("p.npz", "a", "b")], None),
    ],
)
def test_inputs_alone_lack_the_targets(arguments: list[Argument], specs: list[InputSpec] | None) -> None:
    with pytest.raises(InputError, match="the targets are missing") as raised:
        split_targets(arguments, specs)
    assert "--targets FILE" in str(raised.value)
    assert "--objective" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "specs"),
    [
        ([plain("only")], TWO),
        ([archive("p.npz", "left"), plain("y")], [*TWO, InputSpec("third", None, None)]),
        ([plain("a"), plain("b"), plain("c")], ONE),
        ([plain("a"), plain("b"), plain("c"), plain("d")], TWO),
        ([archive("p.npz", "left", "right"), plain("y"), plain("z")], TWO),
        ([plain("a", "lft"), plain("b", "right"), plain("y")], TWO),
    ],
)
def test_any_other_number_shows_both_readings(arguments: list[Argument], specs: list[InputSpec]) -> None:
    with pytest.raises(InputError, match="neither reading fits") as raised:
        split_targets(arguments, specs)
    message = str(raised.value)
    texts = [text for text, _ in arguments]
    names = ", ".join(f"'{spec.name}'" for spec in specs)
    assert f"the model takes {len(specs)} input{'s' * (len(specs) > 1)} ({names})" in message
    assert f"all files as inputs ({' '.join(texts)}) without targets" in message
    assert f"nor {' '.join(texts[:-1]) or 'nothing'} as inputs with {texts[-1]} as targets" in message
    assert "--targets FILE" in message
    assert "\n" not in message


def test_an_archive_with_more_than_the_inputs_holds_them_all() -> None:
    """What an archive has beside the inputs is left out when the inputs are read, and does not count here."""
    inputs, targets = split_targets([archive("p.npz", "left", "ids", "right"), plain("y")], TWO)
    assert {"p.npz::left", "p.npz::right"} <= set(labels(inputs))
    assert labels(targets) == ["y"]


def test_no_array_is_opened() -> None:
    def never() -> ArrayReader:
        raise AssertionError("opened")

    arrays = [InputArray("left", never, "l", optional_name=True), InputArray("right", never, "r", optional_name=True)]
    inputs, targets = split_targets([("p.npz", arrays), ("y", [InputArray(None, never, "y")])], TWO)
    assert (labels(inputs), labels(targets)) == (["l", "r"], ["y"])


def test_two_files_for_two_inputs_are_not_one_input_and_its_targets() -> None:
    """The first file alone would leave an input empty, so both are inputs, and the targets are what is missing."""
    with pytest.raises(InputError, match="the targets are missing"):
        split_targets([plain("l"), plain("y")], TWO)
