"""Pairing by value between a Keras model and its conversions, with and without a fault."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tfdump as library
from support.command import SAMPLES, Run
from support.saved_formats import exported, lite, sample

pytestmark = pytest.mark.tensorflow

IMAGES = np.load(SAMPLES / "digits.npy")[:40].astype("f4")
FUSED = {"conv1", "bn1", "conv2", "add"}


def dumped(tfdump: Run, model: Path, *options: str) -> Path:
    """A dump of a model file in the folder of the test."""
    folder = model.parent
    np.save(folder / "x.npy", IMAGES)
    name = f"{model.name}.h5"
    done = tfdump("activations", model.name, "x.npy", "-q", "-o", name, *options)
    assert done.returncode == 0, done.stderr
    return folder / name


@pytest.fixture
def golden(tfdump: Run, tmp_path: Path) -> Path:
    """A dump of the Keras model."""
    sample("digits_cnn").save(tmp_path / "golden.keras")
    return dumped(tfdump, tmp_path / "golden.keras")


def test_a_float_conversion_agrees_without_a_map(tfdump: Run, tmp_path: Path, golden: Path) -> None:
    new = dumped(tfdump, lite(sample("digits_cnn"), tmp_path / "new.tflite"))
    report = library.diff(golden, new)
    assert report.same, report.summary
    assert {tensor.shown_name for tensor in report.tensors if tensor.status == "fused"} == FUSED
    assert report.count("missing", "extra", "differs") == 0
    assert not any("as if both sides hold" in note for note in report.notes)
    other = IMAGES.copy()
    other[0] += 1
    np.save(tmp_path / "x.npy", other)
    assert tfdump("activations", "new.tflite", "x.npy", "-q", "-o", "other.h5").returncode == 0
    notes = library.diff(golden, tmp_path / "other.h5").notes
    assert any("not paired by value" in note for note in notes)


def test_a_saved_model_of_the_same_weights_has_no_false_pair(tfdump: Run, tmp_path: Path, golden: Path) -> None:
    new = dumped(tfdump, exported(sample("digits_cnn"), tmp_path / "saved"), "--trust-model")
    report = library.diff(golden, new, allow_missing=True)
    assert report.same
    pairs = {t.shown_name: t.new_name for t in report.tensors if t.name}
    assert pairs.pop("outputs/predictions") == "outputs/output_0"
    assert pairs.pop("dropout") in ("activations/dropout", "activations/hidden")
    assert all(new == f"activations/{name}" for name, new in pairs.items())


def test_int8_tensors_are_near_and_differ(tfdump: Run, tmp_path: Path, golden: Path) -> None:
    file = lite(sample("digits_cnn"), tmp_path / "new.tflite", "int8", IMAGES)
    new = dumped(tfdump, file, "--dequantize")
    report = library.diff(golden, new, allow_missing=True)
    assert report.count("same") == 0
    assert {t.shown_name for t in report.tensors if t.status == "missing"} == FUSED
    by_value = [t for t in report.tensors if t.paired_by == "near value"]
    assert {"logits", "predictions"} <= {t.shown_name for t in by_value} | {
        t.shown_name for t in report.tensors if t.paired_by == "address"
    }
    assert library.diff(golden, new, allow_missing=True, min_cosine=0.99).same


@pytest.mark.parametrize(("layer", "places"), [("conv1", {"relu1"}), ("conv2", {"bn2"}), ("logits", {"logits"})])
def test_wrong_weights_are_found_at_their_layer(
    tfdump: Run, tmp_path: Path, golden: Path, layer: str, places: set[str]
) -> None:
    """What is fused shows in what it was fused into, and in the first tensor of that chain."""
    model: keras.Model = sample("digits_cnn")
    kernel = model.get_layer(layer).kernel
    kernel.assign(np.random.default_rng(0).standard_normal(kernel.shape) * np.std(kernel))
    report = library.diff(golden, dumped(tfdump, lite(model, tmp_path / "new.tflite")), allow_missing=True)
    assert not report.same
    assert report.first is not None
    assert report.first.shown_name in places | {layer}
