"""Dead units, saturated activations, and tensors that are the same for every example."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump
from support.check_dumps import functional, normal, of, the, write_dump

RELU = {"class": "ReLU"}


def rectified(*shape: int, dead: tuple[int, ...] = ()) -> np.ndarray:
    values = np.maximum(normal(*shape), 0)
    values[..., list(dead)] = 0
    return values


# Dead units


def test_units_that_are_always_zero_are_dead(tmp_path: Path) -> None:
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": (rectified(40, 6, 6, 8, dead=(2, 7)), RELU)}))
    finding = the(report, "dead")
    assert (finding.count, finding.of, finding.units) == (2, 8, (2, 7))
    assert finding.message == "2 of 8 units are zero for every example, at every position: 2, 7"
    assert not report.failed
    assert tfdump.check(tmp_path / "d.h5", fail_on="dead").failed


def test_one_value_at_the_end_keeps_a_unit_alive(tmp_path: Path) -> None:
    values = rectified(40, 300, 200, dead=(2, 7))  # several blocks
    values[-1, -1, 7] = 1e-30
    values[3, 0, 2] = -0.0
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": (values, RELU)}))
    assert the(report, "dead").units == (2,)


def test_few_examples_call_nothing_dead(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "d.h5", {"activations/a": (rectified(9, 8, dead=(1,)), RELU)})
    report = tfdump.check(path)
    assert of(report, "dead") == []
    assert [(item.check, item.reason) for item in report.skipped] == [
        ("dead", "9 examples are too few to call a unit dead (--dead-examples)")
    ]
    assert the(tfdump.check(path, dead_examples=9), "dead").units[0] == 1


@pytest.mark.parametrize(
    ("class_name", "settings", "has_units"),
    [
        ("Dense", {"activation": "relu"}, True), ("Dense", {"activation": "linear"}, True),
        ("Dense", {"activation": "softmax"}, False), ("Conv2DTranspose", None, True), ("BatchNormalization", {}, True),
        ("Activation", {"activation": "relu"}, True), ("Activation", {"activation": "gelu"}, False),
        ("CONV_2D", None, True), ("Relu", None, True), ("MaxPooling2D", {}, False), ("Flatten", {}, False),
        ("Embedding", {}, False), ("Mine", None, False),
    ],
)  # fmt: skip
def test_dead_units_are_those_of_layers_that_have_some(
    tmp_path: Path, class_name: str, settings: Any, has_units: bool
) -> None:
    config = functional((class_name, "a", settings)) if settings is not None else None
    tensors = {"activations/a": (rectified(40, 8, dead=(3,)), {"class": class_name})}
    report = tfdump.check(write_dump(tmp_path / "d.h5", tensors, config))
    assert [finding.units for finding in of(report, "dead")] == ([(3,)] if has_units else [])


def test_units_may_be_the_first_axis_of_an_example(tmp_path: Path) -> None:
    values = rectified(20, 4, 4, 8)
    values[:, 1] = 0
    config = functional(("Conv2D", "a", {"data_format": "channels_first", "activation": "relu"}))
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": (values, {"class": "Conv2D"})}, config))
    assert (the(report, "dead").units, the(report, "dead").of) == ((1,), 4)


# Saturation


def test_a_sigmoid_is_found_by_its_configuration(tmp_path: Path) -> None:
    values = 1 / (1 + np.exp(-8 * normal(50, 20).astype(np.float64))).astype(np.float32)
    path = write_dump(tmp_path / "d.h5", {"activations/block.a": values}, functional(
        ("Sequential", "block", {"layers": [{"class_name": "Dense", "config": {"name": "a", "activation": "sigmoid"}}]})
    ))  # fmt: skip
    mask = (values <= 0.01) | (values >= 0.99)
    finding = the(tfdump.check(path), "saturated")
    assert (finding.count, finding.of) == (mask.sum(), 1000)
    assert finding.index == tuple(np.argwhere(mask)[0].tolist())
    assert of(tfdump.check(path, saturation_share=1.0), "saturated") == []
    narrow = tfdump.check(path, saturation_margin=1e-4, saturation_share=0.1)
    assert the(narrow, "saturated").count == ((values <= 1e-4) | (values >= 1 - 1e-4)).sum()


def test_tanh_and_softmax_are_found_by_class(tmp_path: Path) -> None:
    scores = 30 * normal(40, 5, 6)
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    softmax = exponents / exponents.sum(-1, keepdims=True)
    tanh = np.tanh(9 * normal(40, 7))
    tensors = {"activations/t": (tanh, {"class": "Tanh"}), "activations/s": (softmax, {"class": "Softmax"})}
    first, second = of(tfdump.check(write_dump(tmp_path / "d.h5", tensors)), "saturated")
    assert (first.count, first.of) == ((np.abs(tanh) >= 0.99).sum(), 280)
    peaks = softmax.max(-1) >= 0.99
    row = tuple(np.argwhere(peaks)[0].tolist())
    assert (second.count, second.of) == (peaks.sum(), 200)
    assert second.index == (*row, softmax[row].argmax())
    assert second.value == pytest.approx(softmax[row].max())


def test_the_outputs_of_the_model_may_be_sure(tmp_path: Path) -> None:
    sure = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    tensors = {"activations/p": (sure, {"class": "Softmax"})}
    assert the(tfdump.check(write_dump(tmp_path / "d.h5", tensors)), "saturated").count == 30
    config = functional(("Softmax", "p", {}), outputs=("p",))
    assert of(tfdump.check(write_dump(tmp_path / "e.h5", tensors, config)), "saturated") == []
    both = tensors | {"outputs/output": (sure, {"class": "Mine"})}
    assert of(tfdump.check(write_dump(tmp_path / "f.h5", both)), "saturated") == []


def test_gates_and_attention_are_found_by_suffix_and_masked_steps_do_not_count(tmp_path: Path) -> None:
    gate = np.full((20, 6, 4), 0.5, np.float32)
    gate[:, 3:] = 0
    attention = np.full((20, 2, 5, 5), 0.2, np.float32)
    tensors = {"activations/g:gates.forget": (gate, {"class": "LSTM"}), "activations/m:attention_scores": attention}
    assert of(tfdump.check(write_dump(tmp_path / "d.h5", tensors)), "saturated") == []
    gate[:, 0] = 0.999
    finding = the(tfdump.check(write_dump(tmp_path / "e.h5", tensors), saturation_share=0.3), "saturated")
    assert (finding.count, finding.of, finding.index) == (80, 240, (0, 0, 0))


def test_an_activation_that_the_dump_does_not_tell_is_named(tmp_path: Path) -> None:
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": normal(20, 3)}))
    assert [(s.check, s.tensor, s.reason) for s in report.skipped] == [
        ("saturated", "activations/a", "the dump does not say what its activation is")
    ]


# Constant tensors


def test_equal_rows_are_constant(tmp_path: Path) -> None:
    row = normal(1, 5, 4)
    rows = np.repeat(row, 30, axis=0)
    near = rows * (1 + 1e-8 * normal(30, 1, 1))
    other = rows.copy()
    other[29, 4, 3] += 1e-3
    tensors = {"activations/a": rows, "activations/b": near.astype(np.float32), "activations/c": other}
    path = write_dump(tmp_path / "d.h5", tensors)
    report = tfdump.check(path)
    assert [finding.tensor for finding in of(report, "constant")] == ["activations/a", "activations/b"]
    assert of(report, "constant")[0].message == "the same for every example"
    assert len(of(tfdump.check(path, constant_tolerance=0.01), "constant")) == 3


@pytest.mark.parametrize("dtype", ["int32", "uint8", "complex64", "float16"])
def test_every_kind_of_number_can_be_constant(tmp_path: Path, dtype: str) -> None:
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"outputs/a": np.full((4, 3), 7, dtype)}))
    finding = the(report, "constant")
    assert (finding.count, finding.value) == (4, None if dtype == "complex64" else 7.0)


def test_tables_single_examples_flags_and_nan_are_not_constant(tmp_path: Path) -> None:
    tensors = {
        "activations/table": (np.ones((4, 3), np.float32), {"axis0": "none"}),
        "activations/one": np.ones((1, 3), np.float32),
        "activations/flags": np.ones((4, 3), bool),
        "activations/nan": np.full((4, 3), np.nan, np.float32),
        "activations/inf": np.array([[np.inf, 1], [2, 3], [np.inf, 1]], np.float32),
        "gradients/weights/k": np.ones((4, 3), np.float32),
    }
    assert of(tfdump.check(write_dump(tmp_path / "d.h5", tensors)), "constant") == []


@pytest.mark.parametrize("differs", [False, True])
def test_rows_larger_than_a_block_are_compared(tmp_path: Path, differs: bool) -> None:
    values = np.repeat(normal(1, 3, 600_000), 3, axis=0)  # a row is 7 MB
    values[2, 2, -1] += differs
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": values}))
    assert len(of(report, "constant")) == (not differs)
