"""Where units are, and what a softmax sums over: as the configuration says, whatever the position of the axis."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump
from support.check_dumps import functional, normal, of, the, write_dump

IMAGES = (20, 6, 5, 4)
"""Twenty examples; six channels first, or four last."""


def dead_channel(axis: int, channel: int) -> np.ndarray:
    """Rectified values that are zero in one channel, and in no other."""
    values = np.abs(normal(*IMAGES)) + 0.1
    np.moveaxis(values, axis, 0)[channel] = 0
    return values


def graph(*layers: tuple[str, str, dict[str, Any], list[str]]) -> dict[str, Any]:
    """The configuration of a functional model: class, name, settings, and the names of what each layer reads."""
    config = functional(*((kind, name, settings) for kind, name, settings, _ in layers))
    for layer, (*_, read) in zip(config["config"]["layers"], layers, strict=True):
        tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}} for name in read]
        layer["inbound_nodes"] = [{"args": tensors, "kwargs": {}}] if read else []
    return config


def checked(path: Path, tensors: dict[str, Any], config: Any) -> tuple[int, ...]:
    """The dead units of the one tensor that has some."""
    return the(tfdump.check(write_dump(path / "d.h5", tensors, config)), "dead").units


@pytest.mark.parametrize(
    ("kind", "settings", "axis"),
    [
        ("BatchNormalization", {"axis": 1}, 1),
        ("BatchNormalization", {"axis": [1]}, 1),
        ("BatchNormalization", {"axis": 3}, 3),
        ("GroupNormalization", {"axis": 1}, 1),
        ("Conv2D", {"data_format": "channels_first", "activation": "linear"}, 1),
        ("Conv2D", {"data_format": "channels_last", "activation": "linear"}, 3),
        ("MaxPooling2D", {"data_format": "channels_first"}, 1),
        ("TimeDistributed", {"layer": {"class_name": "BatchNormalization", "config": {"name": "b", "axis": 1}}}, 2),
        ("Dense", {"activation": "linear"}, 3),
        ("LayerNormalization", {"axis": [1]}, 3),  # what it normalizes over tells nothing of units
    ],
)
@pytest.mark.parametrize("rectifier", [("ReLU", {}), ("Activation", {"activation": "relu"}), ("Relu", {})])
def test_a_rectifier_has_the_units_of_what_it_reads(
    tmp_path: Path, kind: str, settings: Any, axis: int, rectifier: tuple[str, Any]
) -> None:
    class_name, more = rectifier
    config = graph(("InputLayer", "x", {}, []), (kind, "a", settings, ["x"]), (class_name, "r", more, ["a"]))
    tensors = {"activations/r": (dead_channel(axis, 2), {"class": class_name})}  # as `-l r` dumps it
    assert checked(tmp_path, tensors, config) == (2,)


def test_units_stay_where_they_are_behind_layers_that_move_none(tmp_path: Path) -> None:
    config = graph(
        ("InputLayer", "x", {}, []), ("BatchNormalization", "b", {"axis": 1}, ["x"]), ("Dropout", "d", {}, ["b"]),
        ("PReLU", "p", {"shared_axes": [2, 3]}, ["d"]), ("Add", "s", {}, ["p", "d"]), ("ReLU", "r", {}, ["s"]),
    )  # fmt: skip
    assert checked(tmp_path, {"activations/r": (dead_channel(1, 5), {"class": "ReLU"})}, config) == (5,)
    config = graph(
        ("InputLayer", "x", {}, []), ("BatchNormalization", "b", {"axis": 1}, ["x"]),
        ("Permute", "p", {"dims": [2, 3, 1]}, ["b"]), ("ReLU", "r", {}, ["p"]),
    )  # fmt: skip
    assert checked(tmp_path, {"activations/r": (dead_channel(3, 1), {"class": "ReLU"})}, config) == (1,)


def test_models_in_a_row_and_within_each_other(tmp_path: Path) -> None:
    """A Sequential whose first layer reads what stands before it, behind one that ends in a batch normalization."""
    inner = [{"class_name": "InputLayer", "config": {"name": "i"}},
             {"class_name": "BatchNormalization", "config": {"name": "b", "axis": 1}}]  # fmt: skip
    outer = [{"class_name": "Sequential", "config": {"name": "first", "layers": inner}},
             {"class_name": "Sequential", "config": {"name": "second", "layers": [
                 {"class_name": "ReLU", "config": {"name": "r"}}]}}]  # fmt: skip
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": outer}}
    tensors = {"activations/second.r": (dead_channel(1, 4), {"class": "ReLU"})}
    assert checked(tmp_path, tensors, config) == (4,)


def test_each_call_of_a_shared_rectifier_reads_its_own_layer(tmp_path: Path) -> None:
    config = graph(
        ("InputLayer", "x", {}, []), ("BatchNormalization", "a", {"axis": 1}, ["x"]), ("Dense", "b", {}, ["x"]),
        ("ReLU", "r", {}, ["a"]),
    )  # fmt: skip
    shared = config["config"]["layers"][-1]
    shared["inbound_nodes"].append(
        {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["b", 0, 0]}}], "kwargs": {}}
    )
    tensors = {"activations/r": (dead_channel(1, 4), {"class": "ReLU"}),
               "activations/r@1": (dead_channel(3, 3), {"class": "ReLU", "layer": "r@1"})}  # fmt: skip
    report = tfdump.check(write_dump(tmp_path / "d.h5", tensors, config))
    assert [finding.units for finding in of(report, "dead")] == [(4,), (3,)]


@pytest.mark.parametrize("inputs", [True, False])
def test_without_a_configuration_the_dump_tells_what_was_read(tmp_path: Path, inputs: bool) -> None:
    """A subclassed model: the axis of its batch normalization is an attribute of the tensor."""
    tensors = {"activations/b": (normal(*IMAGES), {"class": "BatchNormalization", "axis": 1}),
               "activations/r": (dead_channel(1, 0), {"class": "ReLU"})}  # fmt: skip
    if inputs:
        other = {"activations/c": (normal(*IMAGES), {"class": "BatchNormalization", "axis": -1})}
        tensors["activations/r"][1]["inputs"] = json.dumps(["b"])
        tensors = {"activations/b": tensors["activations/b"], **other, "activations/r": tensors["activations/r"]}
    assert checked(tmp_path, tensors, None) == (0,)


def test_a_softmax_over_another_axis(tmp_path: Path) -> None:
    for axes in ([1], [2], [1, 2], [-3, -1]):
        scores = 4 * normal(*IMAGES)
        over = tuple(axes)
        exponents = np.exp(scores - scores.max(over, keepdims=True))
        values = (exponents / exponents.sum(over, keepdims=True)).astype("f4")
        peaks = values.max(over) >= 0.9
        for setting in (axes, axes[0] if len(axes) == 1 else axes):
            config = functional(("Softmax", "s", {"axis": setting}), ("Dense", "z", {}), outputs=("z",))
            path = write_dump(tmp_path / "d.h5", {"activations/s": (values, {"class": "Softmax"})}, config)
            finding = the(tfdump.check(path, saturation_margin=0.1, saturation_share=0.0), "saturated")
            assert (finding.count, finding.of) == (peaks.sum(), peaks.size)
            assert finding.value == values[finding.index]
            assert finding.value >= 0.9


def test_a_softmax_over_channels_of_large_images(tmp_path: Path) -> None:
    """An example is more than is read at once elsewhere."""
    values = np.zeros((2, 3, 800, 600), "f4")
    values[:, 1] = 1
    config = functional(("Softmax", "s", {"axis": 1}), ("Dense", "z", {}), outputs=("z",))
    path = write_dump(tmp_path / "d.h5", {"activations/s": (values, {"class": "Softmax"})}, config)
    finding = the(tfdump.check(path), "saturated")
    assert (finding.count, finding.of, finding.index) == (960_000, 960_000, (0, 1, 0, 0))


def test_a_softmax_over_the_examples_is_named(tmp_path: Path) -> None:
    config = functional(("Softmax", "s", {"axis": 0}), ("Dense", "z", {}), outputs=("z",))
    path = write_dump(tmp_path / "d.h5", {"activations/s": (np.abs(normal(4, 5)), {"class": "Softmax"})}, config)
    [skipped] = tfdump.check(path).skipped
    assert (skipped.check, skipped.tensor) == ("saturated", "activations/s")


def test_attention_over_several_axes(tmp_path: Path) -> None:
    """Scores of (example, head, 2 query axes, 2 key axes) sum to 1 over both key axes."""
    scores = np.zeros((5, 2, 3, 3, 3, 3), "f4")
    scores[..., 1, 1] = 1
    config = functional(("MultiHeadAttention", "m", {"attention_axes": [1, 2]}))
    path = write_dump(tmp_path / "d.h5", {"activations/m:attention_scores": (scores, {"layer": "m"})}, config)
    finding = the(tfdump.check(path), "saturated")
    assert (finding.count, finding.of, finding.index) == (90, 90, (0, 0, 0, 0, 1, 1))


@pytest.mark.parametrize("axis", [7, -9, "one", None, [1, 2], True])
def test_an_odd_axis_in_a_configuration_ends_nothing(tmp_path: Path, axis: Any) -> None:
    for kind in ("BatchNormalization", "Softmax"):
        config = graph(("InputLayer", "x", {}, []), (kind, "b", {"axis": axis}, ["x"]), ("ReLU", "r", {}, ["b"]))
        tensors = {"activations/b": (np.abs(normal(*IMAGES)), {"class": kind}),
                   "activations/r": (np.abs(normal(*IMAGES)), {"class": "ReLU", "stat_count": 1})}  # fmt: skip
        tfdump.check(write_dump(tmp_path / "d.h5", tensors, config))


def test_a_configuration_that_reads_itself_ends(tmp_path: Path) -> None:
    config = graph(("ReLU", "r", {}, ["q"]), ("ReLU", "q", {}, ["r"]))
    assert checked(tmp_path, {"activations/r": (dead_channel(3, 1), {"class": "ReLU"})}, config) == (1,)
