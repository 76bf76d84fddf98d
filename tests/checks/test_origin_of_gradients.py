"""Where NaN and Inf begin in the backward pass, on dumps with planted faults made with h5py alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np

import tfdump
from support.check_dumps import normal, write_dump
from tfdump.checks import CheckReport

GRADIENTS = "gradients/activations/"
WHOLE = {"axis0": "none"}


def bad(*rows: int, value: float = np.nan) -> np.ndarray:
    values = normal(20, 3)
    values[list(rows), 1] = value
    return values


def gradient(values: np.ndarray, reads: list[str], kind: str = "Dense", **further: Any) -> tuple[Any, dict[str, Any]]:
    return values, {"class": kind, "inputs": json.dumps(reads)} | further


def branches(root: np.ndarray, first: np.ndarray, second: np.ndarray, **further: Any) -> dict[str, Any]:
    """The gradients of `a`, which `root` and `b` read, and of what stands around them."""
    return {
        f"{GRADIENTS}a": gradient(first, ["inputs/x"], order=0, **further),
        f"{GRADIENTS}root": gradient(root, ["a"], "Sqrt", order=1, source="my_layers.py:9"),
        f"{GRADIENTS}b": gradient(second, ["a"], order=2),
        f"{GRADIENTS}head": gradient(bad(), ["root", "b"], order=3),
        "gradients/inputs/x": (first, {"class": "InputLayer"}),
        "gradients/weights/a.kernel": (first, WHOLE | {"layer": "a"}),
        "gradients/weights/b.kernel": (second, WHOLE | {"layer": "b"}),
    }


def checked(folder: Path, tensors: dict[str, Any], **options: Any) -> CheckReport:
    root = options.pop("root", {})
    loss = options.pop("loss", 0.5)
    return tfdump.check(write_dump(folder / "d.h5", tensors, loss=loss, kind="gradients", **root), **options)


def messages(report: CheckReport) -> list[str]:
    return [origin.message for origin in report.origins]


def test_a_gradient_is_an_origin_where_those_of_its_readers_are_clean(tmp_path: Path) -> None:
    report = checked(tmp_path, branches(bad(), bad(4), bad()))
    assert messages(report) == [
        "NaN starts in the gradient of 'a' (Dense), example 4: it passes backward through "
        "'root' (Sqrt, my_layers.py:9) and 'b' (Dense), whose gradients are clean"
    ]
    (origin,) = report.origins
    assert (origin.tensor, origin.example, origin.index, origin.certain) == (f"{GRADIENTS}a", 4, (4, 1), True)
    assert [one.tensor for one in origin.inputs] == [f"{GRADIENTS}root", f"{GRADIENTS}b"]
    assert [one.minimum for one in origin.inputs] == [bad()[4].min()] * 2


def test_independent_origins_are_listed_in_the_order_of_the_backward_pass(tmp_path: Path) -> None:
    report = checked(tmp_path, branches(bad(), bad(4, 7), bad(7)))
    assert [(one.tensor, one.example) for one in report.origins] == [(f"{GRADIENTS}b", 7), (f"{GRADIENTS}a", 4)]
    assert messages(report)[0] == (
        "NaN starts in the gradient of 'b' (Dense), example 7: it passes backward through 'head' (Dense), "
        "whose gradient is clean"
    )


def test_a_gradient_that_comes_from_inf_says_so(tmp_path: Path) -> None:
    infinite = bad(4, value=-np.inf)
    report = checked(tmp_path, branches(infinite, bad(4), bad()))
    through = "it passes backward through 'root' (Sqrt, my_layers.py:9) and 'b' (Dense)"
    assert messages(report) == [
        f"NaN starts in the gradient of 'a' (Dense), example 4: {through}, and the gradient of "
        "'root' (Sqrt, my_layers.py:9) holds Inf",
        "Inf starts in the gradient of 'root' (Sqrt, my_layers.py:9), example 4: it passes backward through "
        "'head' (Dense), whose gradient is clean",
    ]


def test_a_gradient_that_nobody_reads_comes_from_the_loss(tmp_path: Path) -> None:
    tensors = branches(bad(), bad(), bad()) | {f"{GRADIENTS}head": gradient(bad(2), ["root", "b"], order=3)}
    text = "NaN starts in the gradient of 'head' (Dense), example 2: it comes straight from the loss"
    assert messages(checked(tmp_path, tensors)) == [f"{text}, which is finite"]
    report = checked(tmp_path, tensors, loss=np.inf)
    assert messages(report)[0] == text
    assert messages(report)[1].startswith("Inf first appears in 'loss'")
    assert messages(checked(tmp_path, tensors, loss=np.nan)) == [
        "NaN first appears in 'loss': the forward pass made it (tfdump activations shows where)"
    ]


def test_the_gradient_of_a_weight_is_an_origin_where_those_at_the_outputs_of_its_layer_are_clean(
    tmp_path: Path,
) -> None:
    tensors = {
        f"{GRADIENTS}shared": gradient(bad(), ["inputs/x"], order=0),
        f"{GRADIENTS}shared@1": gradient(bad(), ["inputs/y"], order=1),
        f"{GRADIENTS}other": gradient(bad(3), ["shared", "shared@1"], order=2),
        "gradients/weights/shared.kernel": (bad(0), WHOLE | {"layer": "shared"}),
        "gradients/weights/other.kernel": (bad(0), WHOLE | {"layer": "other"}),
    }
    assert messages(checked(tmp_path, tensors)) == [
        "NaN starts in the gradient of 'other' (Dense), example 3: it comes straight from the loss, which is finite",
        "NaN starts in the gradient of the weight 'shared.kernel' at [0, 1]: the gradients of its layer's outputs "
        "'shared' (Dense) and 'shared@1' (Dense) are clean",
    ]


def test_what_is_inside_a_layer_passes_through_it(tmp_path: Path) -> None:
    """`block.act` is what the block returns, and nobody reads it by that address."""
    tensors = {
        f"{GRADIENTS}block.log": gradient(bad(5), ["inputs/x"], "Log", order=0),
        f"{GRADIENTS}block.act": gradient(bad(5), ["block.log"], "ReLU", order=1),
        f"{GRADIENTS}block": gradient(bad(5), ["inputs/x"], "Functional", order=2),
        f"{GRADIENTS}root": gradient(bad(), ["block"], "Sqrt", order=3),
        "gradients/inputs/x": bad(5, 6),
    }
    assert messages(checked(tmp_path, tensors)) == [
        "NaN starts in the gradient of 'block' (Functional), example 5: it passes backward through 'root' (Sqrt), "
        "whose gradient is clean",
        "NaN starts in the gradient of the input 'x', example 6: it passes backward through "
        "'block.log' (Log), whose gradient is clean",
    ]


def test_missing_gradients_are_a_doubt(tmp_path: Path) -> None:
    tensors = branches(bad(), bad(4), bad())
    del tensors[f"{GRADIENTS}b"]
    report = checked(tmp_path, tensors)
    assert messages(report) == [
        "NaN starts in the gradient of 'a' (Dense), example 4: it passes backward through "
        "'root' (Sqrt, my_layers.py:9), whose gradient is clean; the gradients of other layers that read it may not "
        "be in the dump"
    ]
    assert not report.origins[0].certain
    del tensors[f"{GRADIENTS}root"]
    text = f"NaN first appears in '{GRADIENTS}a' (example 4); everything nearer to the loss is clean"
    assert messages(checked(tmp_path, tensors)) == [text]
    tensors[f"{GRADIENTS}head"] = gradient(bad(4, 6), ["root", "b"], order=3)
    assert [one.tensor for one in checked(tmp_path, tensors).origins] == [f"{GRADIENTS}head"]


def test_activations_without_a_gradient_are_not_missing(tmp_path: Path) -> None:
    tensors = branches(bad(), bad(4), bad())
    del tensors[f"{GRADIENTS}b"]
    reason = json.dumps([{"address": "b", "reason": "int32, which has no gradient"}])
    assert checked(tmp_path, tensors, root={"not_captured": reason}).origins[0].certain


def test_with_training_all_examples_are_one(tmp_path: Path) -> None:
    report = checked(tmp_path, branches(bad(), bad(4, 7), bad(7)), root={"training": True})
    assert [(one.tensor, one.example) for one in report.origins] == [(f"{GRADIENTS}b", 7)]
