"""Quantized `.onnx` files: raw integers with scale and zero point, or with `--dequantize` the real numbers."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from onnx import helper

import tfdump
from support.light_runs import run_apart
from support.onnx_files import built, dense, graph


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).normal(size=shape).astype("f4")


@pytest.fixture(scope="module")
def qdq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense model as the quantizer of ONNX Runtime writes it, with pairs of QuantizeLinear and DequantizeLinear."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{"x": floats(20, 6)}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    folder = tmp_path_factory.mktemp("qdq")
    quantize_static(dense(folder / "float.onnx"), folder / "qdq.onnx", Reader(), quant_format=QuantFormat.QDQ)
    return folder / "qdq.onnx"


def dumped(path: Path, x: np.ndarray, folder: Path, *options: str) -> h5py.File:
    np.save(folder / "x.npy", x)
    done, _ = run_apart(("activations", path, "x.npy", "-o", "d.h5", "-f", *options), folder)
    assert done.returncode == 0, done.stderr
    return h5py.File(folder / "d.h5")


def test_a_quantized_layer_is_what_the_next_one_reads(qdq: Path, tmp_path: Path) -> None:
    x = floats(9, 6)
    plain = tfdump.activations(qdq.with_name("float.onnx"), x)
    with dumped(qdq, x, tmp_path) as dump:
        acts = dump["activations"]
        assert {"hidden", "out", "hidden:op.QuantizeLinear"} <= set(acts)
        raw = acts["hidden:op.QuantizeLinear"]
        assert raw.dtype in (np.int8, np.uint8)
        real = (raw[()].astype("f8") - raw.attrs["zero_point"]) * raw.attrs["scale"]
        np.testing.assert_allclose(acts["hidden"][()], real, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(acts["hidden"][()], plain["hidden"], atol=0.1)
        assert not np.array_equal(acts["hidden"][()], plain["hidden"])


def test_dequantizing(qdq: Path, tmp_path: Path) -> None:
    with dumped(qdq, floats(9, 6), tmp_path, "--dequantize") as dump:
        real = dump["activations/hidden:op.QuantizeLinear"]
        assert real.dtype == np.float32
        assert real.attrs["quantized_dtype"] in ("int8", "uint8")
        np.testing.assert_array_equal(real[()], dump["activations/hidden"][()])


def test_a_scale_for_each_channel_and_operations_that_keep_it(tmp_path: Path) -> None:
    constants = {
        "scale": np.array([0.5, 0.25, 2], "f4"), "zero": np.array([1, -2, 0], "i1"),
        "s": np.array(0.1, "f4"), "shape": np.array([-1, 1, 3]),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "channels", axis=1),
        helper.make_node("QuantizeLinear", ["x", "s"], ["p"], "whole"),
        helper.make_node("Reshape", ["p", "shape"], ["r"], "reshaped"),
        helper.make_node("Relu", ["x"], ["y"], "relu"),
    ]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 3]}, ["y", "q", "r"], constants, {"q": 3, "r": 2}))
    x = floats(6, 3)
    x[:, :] = np.abs(x)
    with dumped(path, x, tmp_path, "--dequantize") as dump:
        acts = dump["activations"]
        steps = np.round(x / constants["scale"]).clip(-128, 127)
        expected = (np.clip(steps + constants["zero"], -128, 127) - constants["zero"]) * constants["scale"]
        np.testing.assert_allclose(acts["channels"][()], expected, rtol=1e-6)
        assert acts["channels"].attrs["quantized_axis"] == 1
        assert acts["channels"].attrs["scale"].tolist() == [0.5, 0.25, 2]
        np.testing.assert_allclose(acts["whole"][()], np.clip(np.round(x / 0.1), 0, 255) * np.float32(0.1), rtol=1e-6)
        np.testing.assert_array_equal(acts["reshaped"][()], acts["whole"][()].reshape(-1, 1, 3))
        assert acts["reshaped"].attrs["quantized_dtype"] == "uint8"
        assert "scale" not in acts["relu"].attrs


def test_a_float_file_is_said_to_stay_as_it_is(tmp_path: Path) -> None:
    dense(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", floats(3, 6))
    done, _ = run_apart(("activations", "m.onnx", "x.npy", "-o", "d.h5", "--dequantize"), tmp_path)
    assert "--dequantize has no effect: no activation of m.onnx is quantized" in done.stderr


def test_the_graph_of_a_quantized_model(qdq: Path, tmp_path: Path) -> None:
    done, _ = run_apart(("layers", qdq, "--json"), tmp_path)
    items = {item["address"]: item for item in json.loads(done.stdout)["items"]}
    assert items["out"]["inputs"] == ["hidden"]
    assert items["hidden"]["operands"] == ["hidden:op.QuantizeLinear"]
