"""What `--layer` and `--exclude` select in a dump: one rule for every command that reads dumps."""

import json
from pathlib import Path

import numpy as np
import pytest

from support.command import Run
from support.made_dumps import Tensor, make_dump
from tfdump.address import Selection
from tfdump.comparison.diff import diff
from tfdump.dump.reader import open_dump
from tfdump.dump.selection import choose

KERNEL = np.arange(6, dtype="f4").reshape(2, 3) + 1
GRADIENTS = {
    "gradients/weights/hidden.kernel": Tensor(KERNEL, layer="hidden", axis0="none"),
    "gradients/weights/hidden.bias": Tensor(KERNEL[0], layer="hidden", axis0="none"),
    "gradients/weights/head.kernel": Tensor(KERNEL.T, layer="head", axis0="none", **{"class": "Conv2D"}),
    "gradients/activations/hidden": Tensor(KERNEL, operation="Relu"),
}
NAMES = list(GRADIENTS)
WEIGHTS_OF_HIDDEN = NAMES[:2]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return make_dump(tmp_path / "g.h5", GRADIENTS, kind="gradients")


@pytest.mark.parametrize(
    ("layers", "exclude", "expected"),
    [
        (["hidden"], [], [NAMES[0], NAMES[1], NAMES[3]]),
        (["hidden.kernel"], [], [NAMES[0]]),
        (["gradients/weights/hidden.*"], [], WEIGHTS_OF_HIDDEN),
        (["gradients.weights.hidden.*"], [], WEIGHTS_OF_HIDDEN),
        (["type:Conv2D"], [], [NAMES[2]]),
        (["type:Relu"], [], [NAMES[3]]),
        ([], ["hidden"], [NAMES[2]]),
        (["hidden"], ["*.bias"], [NAMES[0], NAMES[3]]),
    ],
)
def test_a_tensor_is_selected_by_its_address_its_group_its_layer_or_its_class(
    dump: Path, layers: list[str], exclude: list[str], expected: list[str]
) -> None:
    with open_dump(dump) as opened:
        tensors = choose(opened, Selection(layers, exclude))
        assert sorted(f"{tensor.group}/{tensor.address}" for tensor in tensors) == sorted(expected)
    report = diff(dump, dump, layers=layers, exclude=exclude)
    assert sorted(str(tensor.name) for tensor in report.tensors) == sorted(expected)


def test_depth_counts_the_layer_and_not_the_weight(dump: Path) -> None:
    with open_dump(dump) as opened:
        assert len(choose(opened, Selection(max_depth=1))) == len(GRADIENTS)


def test_show_finds_the_weights_of_a_layer(tfdump: Run, dump: Path) -> None:
    items = json.loads(tfdump("show", dump, "-l", "hidden", "-x", "gradients/activations/*", "--json").stdout)["items"]
    assert sorted(item["address"] for item in items) == ["hidden.bias", "hidden.kernel"]


def test_diff_finds_the_weights_of_a_layer(tfdump: Run, dump: Path) -> None:
    other = dict(GRADIENTS)
    other[NAMES[0]] = Tensor(KERNEL * 2, layer="hidden", axis0="none")
    other[NAMES[2]] = Tensor(KERNEL.T * 2, layer="head", axis0="none")
    make_dump(dump.with_name("n.h5"), other, kind="gradients")
    done = tfdump("diff", dump, "n.h5", "-l", "hidden", "--json")
    assert done.returncode == 1
    verdicts = {item["name"]: item["status"] for item in json.loads(done.stdout)["items"]}
    assert verdicts == {NAMES[0]: "differs", NAMES[1]: "same", NAMES[3]: "same"}
    assert tfdump("diff", dump, "n.h5", "-l", "hidden", "-x", "hidden.kernel").returncode == 0


@pytest.mark.parametrize(
    ("command", "listed"),
    [
        (("check", "--all", "--json"), '"gradients/weights/hidden.kernel"'),
        (("cat", "--all", "-o", "first.npz"), "first.npz"),
        (("plot", "--all", "-o", "first.folder"), "hidden.kernel"),
        (("report", "-o", "first.html"), "first.html"),
    ],
)
def test_the_other_commands_find_the_weights_of_a_layer(
    tfdump: Run, dump: Path, command: tuple[str, ...], listed: str
) -> None:
    name, *options = command
    done = tfdump(name, dump, "-l", "hidden", *options)
    assert done.returncode == 0, done.stderr
    assert listed in done.stdout
    refused = tfdump(name, dump, "-l", "hiden", *(option.replace("first.", "other.") for option in options))
    assert refused.returncode == 2
    assert "no layer matches 'hiden'; near: 'hidden" in refused.stderr
