"""Kernels in a dump of weights: planted faults are found, and healthy and fresh models have no findings."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfdump
from support.check_dumps import normal, of, the, write_dump
from support.command import SAMPLES, Run

pytestmark = pytest.mark.tensorflow


def weights_of(path: Path, **tensors: Any) -> Path:
    """A dump of weights by address, with `__` for a dot: arrays, or arrays with further attributes."""
    named = {}
    for name, entry in tensors.items():
        values, further = entry if isinstance(entry, tuple) else (entry, {})
        named[f"weights/{name.replace('__', '.')}"] = (values, {"axis0": "none"} | further)
    return write_dump(path, named, kind="weights")


@pytest.mark.parametrize(
    ("shape", "further", "filters"),
    [
        ((3, 3, 4, 8), {"class": "Conv2D"}, np.s_[..., [2, 5]]),
        ((20, 8), {"class": "Dense"}, np.s_[:, [2, 5]]),
        ((3, 3, 8, 4), {"class": "Conv2DTranspose"}, np.s_[:, :, [2, 5]]),
        ((3, 3, 4, 2), {"class": "DepthwiseConv2D"}, np.s_[:, :, [1, 2], [0, 1]]),
        ((8, 3, 3, 4), {"class": "CONV_2D", "axes": "output,height,width,input"}, np.s_[[2, 5]]),
        ((4, 8, 3, 3), {"class": "ConvTranspose", "axes": "input,output,height,width"}, np.s_[:, [2, 5]]),
    ],
)
def test_filters_that_are_all_zero(tmp_path: Path, shape: tuple[int, ...], further: Any, filters: Any) -> None:
    values = normal(*shape)
    values[filters] = 0
    report = tfdump.check(weights_of(tmp_path / "d.h5", a__kernel=(values, further)))
    finding = the(report, "dead")
    assert (finding.count, finding.of, finding.units) == (2, 8, (2, 5))
    assert finding.message == "2 of 8 filters are all zero: 2, 5"
    assert len(report.findings) == 1
    assert not report.failed


def test_zero_in_a_quantized_kernel_is_its_zero_point(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(1, 100, (6, 5)).astype("u1")
    values[3], values[1] = 7, 0
    further = {"axes": "output,input", "class": "FULLY_CONNECTED", "scale": 0.5, "zero_point": 7}
    finding = the(tfdump.check(weights_of(tmp_path / "d.h5", a__kernel=(values, further))), "dead")
    assert finding.units == (3,)


def test_a_kernel_of_one_number(tmp_path: Path) -> None:
    path = weights_of(tmp_path / "d.h5", a__kernel=np.full((4, 3), 0.25, "f4"), b__kernel=np.zeros((3, 3), "f4"))
    report = tfdump.check(path)
    assert [(item.tensor, item.message) for item in report.findings] == [
        ("weights/a.kernel", "all 12 values are 0.25"),
        ("weights/b.kernel", "all 9 values are 0"),
    ]
    assert {item.check for item in report.findings} == {"constant"}


def test_where_zeros_and_ones_are_normal(tmp_path: Path) -> None:
    zeros, ones = np.zeros(8, "f4"), np.ones(8, "f4")
    path = weights_of(
        tmp_path / "d.h5", a__bias=zeros, b__gamma=ones, b__beta=zeros, b__moving_variance=ones * 1e4,
        c__lora_kernel_b=np.zeros((4, 8), "f4"), c__bias=np.zeros((2, 8), "f4"), d__embeddings=np.zeros((9, 4), "f4"),
    )  # fmt: skip
    assert tfdump.check(path).findings == ()


def test_a_kernel_far_out_of_line(tmp_path: Path) -> None:
    kernels = {f"k{number}__kernel": normal(40, 30, seed=number) * 0.1 for number in range(4)}
    kernels["k2__kernel"] = normal(40, 30) * np.float32(200)
    report = tfdump.check(weights_of(tmp_path / "d.h5", **kernels))
    finding = the(report, "exploding")
    assert finding.tensor == "weights/k2.kernel"
    expected = np.sqrt(np.mean(np.square(kernels["k2__kernel"].astype("f8"))))
    usual = sorted(np.sqrt(np.mean(np.square(k.astype("f8")))) for k in kernels.values())[1]
    assert finding.message == (
        f"the magnitude {expected:.3g} (root of the mean square) is {expected / usual:.2g} times that of most kernels"
    )
    kernels["k2__kernel"] = normal(40, 30) * np.float32(2000)
    message = the(tfdump.check(weights_of(tmp_path / "d.h5", **kernels)), "exploding").message
    assert message == f"the norm {np.linalg.norm(kernels['k2__kernel'].astype('f8')):.3g} is above 10000"
    assert of(tfdump.check(tmp_path / "d.h5", explode_norm=1e9, explode_ratio=1e9), "exploding") == []


def test_nan_and_inf_in_weights_fail(tmp_path: Path) -> None:
    bad = normal(6, 5)
    bad[4, 1], bad[5, 2] = np.nan, np.inf
    report = tfdump.check(weights_of(tmp_path / "d.h5", a__kernel=bad, b__kernel=normal(5, 5)))
    assert (the(report, "nan").index, the(report, "inf").index) == ((4, 1), (5, 2))
    assert report.failed
    assert {item.check for item in report.findings} == {"nan", "inf"}


def test_statistics_alone_leave_the_kernels_open(tmp_path: Path, tfdump: Run) -> None:
    done = tfdump("weights", SAMPLES / "digits_cnn.keras", "-l", "conv1", "--stats-only", "-o", "s.h5")
    assert done.returncode == 0, done.stderr
    import tfdump as api

    skipped = {(item.check, item.tensor) for item in api.check(tmp_path / "s.h5").skipped}
    assert skipped >= {(check, "weights/conv1.kernel") for check in ("dead", "constant", "exploding")}


def fresh() -> keras.Model:
    x = keras.Input((12, 12, 3))
    y = keras.layers.Conv2D(6, 3)(x)
    y = keras.layers.BatchNormalization()(y)
    y = keras.layers.SeparableConv2D(5, 3)(y)
    y = keras.layers.Conv2DTranspose(4, 3)(keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(y))
    y = keras.layers.Reshape((-1, 4))(y)
    y = keras.layers.MultiHeadAttention(2, 3)(y, y)
    y = keras.layers.LayerNormalization()(keras.layers.GRU(5)(y))
    dense = keras.layers.Dense(3)
    model = keras.Model(x, dense(y))
    dense.enable_lora(2)
    return model


@pytest.mark.parametrize("name", ["digits_cnn", "text_gru", "siamese", "wine_mlp", "fresh"])
def test_trained_and_fresh_models_have_no_findings(name: str, tmp_path: Path) -> None:
    model = fresh() if name == "fresh" else None
    if model is not None:
        model.save(tmp_path / "fresh.keras")
    path = SAMPLES / f"{name}.keras" if model is None else tmp_path / "fresh.keras"
    dump = dumped(path, tmp_path)
    report = tfdump.check(dump)
    found = [(item.check, item.tensor, item.message) for item in report.findings]
    assert [item for item in found if "float16" not in item[0]] == []  # a variance may be too large for float16
    assert len(report.tensors) > 3


def dumped(path: Path, folder: Path) -> Path:
    """A dump of weights, made in this process."""
    from tfdump.address import Selection
    from tfdump.model.loading.load import load_model
    from tfdump.run.weights import plan_weights, weight_options

    run = plan_weights(load_model(path), weight_options(Selection()), print)
    with run.open_writer(folder / "w.h5", force=True) as writer:
        run.write(writer, "test")
    return folder / "w.h5"
