"""Files of the ONNX format: exported by Keras, and built by hand with the package `onnx`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.saved_formats import without_chatter

Shape = Sequence[int | str | None] | None


def exported_onnx(model: keras.Model, path: Path, *inputs: np.ndarray) -> Path:
    """The model as `model.export` writes it, after it was called once."""
    model(list(inputs) if len(inputs) > 1 else inputs[0])
    with without_chatter():
        model.export(path, format="onnx", verbose=False)
    return path


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray] | None = None,
    types: Mapping[str, int] | None = None,
) -> onnx.GraphProto:
    """A graph of float32 tensors, except for those with another type."""

    def value(name: str, shape: Shape = None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, (types or {}).get(name, TensorProto.FLOAT), shape)

    stored = [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()]
    return helper.make_graph(
        nodes, "g", [value(*item) for item in inputs.items()], [value(name) for name in outputs], stored
    )


def built(path: Path, of: onnx.GraphProto, opset: int = 17, **options: Any) -> Path:
    """Write a graph as a model; `options` are other domains and their versions, and `functions`."""
    functions = options.pop("functions", [])
    domains = [helper.make_opsetid("", opset), *(helper.make_opsetid(*item) for item in options.items())]
    model = helper.make_model(of, opset_imports=domains, functions=functions)
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def dense(path: Path, batch: int | str | None = "batch", features: int = 6, **options: Any) -> Path:
    """Two layers with names like those that exporters keep: `net/hidden/Relu`, `net/out/BiasAdd`."""
    dice = np.random.default_rng(5)
    constants = {
        "w": dice.normal(size=(features, 4)).astype("f4"), "b": dice.normal(size=4).astype("f4"),
        "v": dice.normal(size=(4, 3)).astype("f4"), "c": dice.normal(size=3).astype("f4"),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h0"], "net/hidden/MatMul"),
        helper.make_node("Add", ["h0", "b"], ["h1"], "net/hidden/BiasAdd"),
        helper.make_node("Relu", ["h1"], ["h2"], "net/hidden/Relu"),
        helper.make_node("MatMul", ["h2", "v"], ["o0"], "net/out/MatMul"),
        helper.make_node("Add", ["o0", "c"], ["y"], "net/out/BiasAdd"),
    ]
    return built(path, graph(nodes, {"x": [batch, features]}, ["y"], constants), **options)


def by_hand(path: Path, feeds: Mapping[str, np.ndarray], *names: str) -> list[np.ndarray]:
    """Some tensors of a model as ONNX Runtime itself gives them, with outputs that the package `onnx` added."""
    import onnxruntime

    model = onnx.load(path)
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(names), dict(feeds))
