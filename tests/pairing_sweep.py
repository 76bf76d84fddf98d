"""Pair the tensors of published architectures by value with those of the same model in other formats.

    python tests/pairing_sweep.py [NAME ...]        # part of `make sweep`; minutes

Each model has random weights and statistics. Its dump is compared with that of its SavedModel, of its TFLite file in
float and in int8, and with its own tensors as an ONNX file would have them: renamed, rounded, with the channels first
and without what is fused. A pair by exact value is false if the other examples differ, which were not read for pairing,
or if it is not the tensor that was renamed. A float file may not have a pair by near value. Prints a row per pair of
dumps, and exits with status 1 if a pair is false.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import h5py
import keras
import numpy as np

import tfdump
from support import zoo
from support.saved_formats import exported, lite
from tfdump.comparison.verdict import DiffReport

SIZES = {"InceptionV3": 128, "Xception": 128}
SMALL, EXAMPLES = 96, 12
NAMES = ("MobileNetV3Small", "MobileNetV2", "EfficientNetB0", "ResNet50", "DenseNet121", "InceptionV3")
COLUMNS = f"{'model':18} {'form':11} golden  names  exact   near  fused missing  false"


@dataclass(frozen=True)
class Counts:
    """How the golden tensors of one comparison were paired."""

    golden: int
    names: int
    exact: int
    near: int
    fused: int
    missing: int
    false: list[str]


def built(name: str) -> keras.Model:
    """A model with random weights; those of batch normalization are moved away from zero and one."""
    keras.utils.set_random_seed(0)
    size = SIZES.get(name, SMALL)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([w + 0.3 * random.uniform(-1, 1, w.shape) for w in layer.get_weights()])
    return model


def as_onnx(golden: Path, path: Path) -> dict[str, str]:
    """Write the tensors of a dump as an ONNX file has them; return the new names by address."""
    names: dict[str, str] = {}
    random = np.random.default_rng(2)
    with h5py.File(golden) as old, h5py.File(path, "w", track_order=True) as new:
        new.attrs.update(old.attrs)
        new.attrs["model_class"] = "ONNX"
        for group in ("activations", "outputs"):
            made = new.create_group(group, track_order=True)
            for number, (name, tensor) in enumerate(old[group].items()):
                if group == "activations" and tensor.attrs["class"] in ("Conv2D", "DepthwiseConv2D", "Dropout"):
                    continue
                values = tensor[()]
                values = values * (1 + 1e-7 * random.standard_normal(values.shape)).astype(values.dtype)
                if values.ndim == 4:
                    values = np.moveaxis(values, 3, 1)
                renamed = f"node_{number}" if group == "activations" else name
                if group == "activations":
                    names[name] = renamed
                dataset = made.create_dataset(renamed, data=values)
                same = {key: tensor.attrs[key] for key in ("dtype", "axis0", "order") if key in tensor.attrs}
                dataset.attrs.update({"address": renamed, "class": "Node", **same})
    return names


def counts_of(report: DiffReport, truth: dict[str, str] | None, near_is_false: bool) -> Counts:
    """Count the pairs of a report, and name the false ones."""
    golden = [tensor for tensor in report.tensors if tensor.name and tensor.name.startswith("activations/")]
    ways = [tensor.paired_by for tensor in golden]
    false = []
    for tensor in golden:
        new = (tensor.new_name or "").partition("/")[2]
        late = tensor.paired_by == "exact value" and tensor.status != "same"
        near = tensor.paired_by == "near value" and near_is_false
        other = bool(new) and truth is not None and truth.get(tensor.shown_name, new) != new
        if late or near or other:
            false.append(f"{tensor.shown_name} = {new} ({tensor.paired_by}, {tensor.status})")
    statuses = [tensor.status for tensor in golden]
    by_value = ways.count("exact value"), ways.count("near value")
    named = len([way for way in ways if way]) - sum(by_value)
    return Counts(len(golden), named, *by_value, statuses.count("fused"), statuses.count("missing"), false)


def swept(name: str, folder: Path) -> list[tuple[str, Counts]]:
    """Compare one model with its other forms."""
    zoo.fresh()
    model = built(name)
    path = folder / "m.keras"
    model.save(path)
    x = np.random.default_rng(0).random((EXAMPLES, *model.input_shape[1:]), dtype="float32")
    golden = folder / "golden.h5"
    dump(path, x, golden)
    rows = []
    names = as_onnx(golden, folder / "onnx.h5")
    report = tfdump.diff(golden, folder / "onnx.h5", allow_missing=True)
    rows.append(("as ONNX", counts_of(report, names, near_is_false=True)))
    forms: list[tuple[str, Path, dict[str, Any]]] = [
        ("SavedModel", exported(model, folder / "saved"), {"trust_model": True}),
        ("TFLite", lite(model, folder / "m.tflite"), {}),
        ("TFLite int8", lite(model, folder / "i.tflite", "int8_inside", x), {"dequantize": True}),
    ]
    for form, file, options in forms:
        new = folder / "new.h5"
        dump(file, x, new, **options)
        report = tfdump.diff(golden, new, allow_missing=True)
        rows.append((form, counts_of(report, None, near_is_false="int8" not in form)))
    return rows


def dump(path: Path, x: np.ndarray, output: Path, **options: Any) -> None:
    """Dump a model file."""
    np.save(output.with_suffix(".npy"), x)
    arguments = ["activations", str(path), str(output.with_suffix(".npy")), "-o", str(output), "-f", "-q"]
    arguments += [f"--{name.replace('_', '-')}" for name in options]
    from tfdump.cli import main

    assert main.run(arguments) == 0


def main_sweep(names: list[str]) -> int:
    """Sweep; return the exit status."""
    wrong = 0
    print(COLUMNS, flush=True)
    for name in names or NAMES:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for form, counts in swept(name, Path(folder)):
                row = f"{counts.golden:6} {counts.names:6} {counts.exact:6} {counts.near:6} {counts.fused:6}"
                print(f"{name:18} {form:11} {row} {counts.missing:7} {len(counts.false):6}", flush=True)
                if counts.false:
                    wrong += len(counts.false)
                    print(f"    false: {json.dumps(counts.false)}", flush=True)
        print(f"    {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{wrong} false pairs")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main_sweep(sys.argv[1:]))
