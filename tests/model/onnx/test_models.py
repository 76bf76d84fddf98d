"""`.onnx` files: every tensor under the address of its layer, with the values that Keras and ONNX Runtime give."""

import itertools
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers
from onnx import TensorProto, helper

import tfdump
from support.command import SAMPLES
from support.light_runs import run_apart, site_without
from support.onnx_files import built, by_hand, dense, exported_onnx, graph
from support.saved_formats import sample
from tfdump.errors import ModelError

pytestmark = pytest.mark.tensorflow

HEAVY = {"tensorflow", "keras", "onnx", "tf2onnx"}


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype("f4")


def randomized(model: keras.Model) -> keras.Model:
    dice = np.random.default_rng(2)
    for layer in model._flatten_layers():
        layer.set_weights(
            [dice.uniform(0.1, 0.9, w.shape).astype(w.dtype) if w.dtype.kind == "f" else w for w in layer.get_weights()]
        )
    return model


def equal_in_some_layout(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two tensors are equal with the axes behind the examples in some order: ONNX has channels first."""
    orders = itertools.permutations(range(1, other.ndim))
    turned = (other.transpose((0, *order)) for order in orders)
    return any(t.shape == one.shape and np.allclose(t, one, rtol=1e-4, atol=1e-4 * np.abs(one).max()) for t in turned)


SAMPLE_INPUTS = {
    "digits_cnn": lambda: {"image": np.load(SAMPLES / "digits.npy")[:12].astype("f4")},
    "siamese": lambda: {name: np.load(SAMPLES / "pairs.npz")[name][:12].astype("f4") for name in ("left", "right")},
    "text_gru": lambda: {"tokens": np.random.default_rng(3).integers(0, 12, (9, 7)).astype("i4")},
}


@pytest.fixture(scope="module", params=SAMPLE_INPUTS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A sample model with random weights, its ONNX file and inputs."""
    model, arrays = randomized(sample(request.param)), SAMPLE_INPUTS[request.param]()
    path = tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx"
    exported_onnx(model, path, *arrays.values())
    return model, path, arrays if len(arrays) > 1 else next(iter(arrays.values()))


UNKNOWN = {"dropout", "bidirectional.forward_gru"}
"""What the exporter removes, and what it gives several tensors."""


def test_every_layer_has_its_address_and_the_values_of_keras(exported: tuple) -> None:
    model, path, x = exported
    ours, golden = tfdump.activations(path, x), tfdump.activations(model, x)
    assert set(golden) - set(ours) <= UNKNOWN
    assert len(set(golden) & set(ours)) >= 3
    for address in set(golden) & set(ours):
        assert equal_in_some_layout(golden[address], ours[address]), address


def test_all_tensors_are_those_of_onnx_runtime(exported: tuple, tmp_path: Path) -> None:
    _, path, x = exported
    arrays = x if isinstance(x, dict) else {onnx.load(path).graph.input[0].name: x}
    np.savez(tmp_path / "x.npz", **arrays)
    done, _ = run_apart(("activations", path, "x.npz", "-o", "d.h5", "--batch-size", 64), tmp_path)
    assert done.returncode == 0, done.stderr
    names = {name.removesuffix(":0"): name for node in onnx.load(path).graph.node for name in node.output}
    with h5py.File(tmp_path / "d.h5") as dump:
        tensors = {address: t for address, t in dump["activations"].items() if t.attrs["axis0"] == "example"}
        expected = by_hand(path, arrays, *(names[t.attrs["structure"]] for t in tensors.values()))
        assert len(tensors) >= 8
        for (address, tensor), values in zip(tensors.items(), expected, strict=True):
            order = tensor.attrs.get("stored_axes", range(values.ndim))
            np.testing.assert_array_equal(tensor[()], values.transpose(order), err_msg=address)


def test_a_model_runs_without_tensorflow_keras_and_onnx(tmp_path: Path) -> None:
    dense(tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", floats(5, 6))
    for words in (("layers", "net.onnx"), ("activations", "net.onnx", "x.npy", "-o", "d.h5")):
        done, packages = run_apart(words, tmp_path)
        assert done.returncode == 0, done.stderr
        assert not packages & HEAVY
        assert "onnxruntime" in packages
    with h5py.File(tmp_path / "d.h5") as dump:
        assert list(dump["activations"]) == ["hidden:op.MatMul", "hidden:op.BiasAdd", "hidden", "out:op.MatMul", "out"]
        assert list(dump["outputs"]) == ["y"]
        assert dump.attrs["runtime"] == "onnxruntime"
        assert dump.attrs["runtime_version"] == onnxruntime.__version__
        assert dump.attrs["model_class"] == "ONNX"
        assert "tensorflow_version" not in dump.attrs
        assert json.loads(dump["config"][()])["opset"] == 17


def test_values_by_hand(tmp_path: Path) -> None:
    path, x = dense(tmp_path / "net.onnx"), floats(5, 6)
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in onnx.load(path).graph.initializer}
    hidden = np.maximum(x @ constants["w"] + constants["b"], 0)
    acts = tfdump.activations(path, x)
    np.testing.assert_allclose(acts["hidden"], hidden, rtol=1e-5)
    np.testing.assert_allclose(acts["out"], hidden @ constants["v"] + constants["c"], rtol=1e-5, atol=1e-5)


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    dense(tmp_path / "net.onnx")
    site = site_without(tmp_path / "site", "onnxruntime")
    done, packages = run_apart(("layers", "net.onnx"), tmp_path, site)
    assert done.returncode == 2
    assert done.stderr == "Error: .onnx files need an extra: pip install 'tfdump[onnx]'"
    assert not packages & HEAVY


def test_a_fixed_batch_is_padded(tmp_path: Path) -> None:
    x = floats(7, 6)
    fixed = tfdump.activations(dense(tmp_path / "fixed.onnx", batch=4), x)
    free = tfdump.activations(dense(tmp_path / "free.onnx"), x)
    for address, values in free.items():
        np.testing.assert_allclose(fixed[address], values, rtol=1e-5, atol=1e-6)


def test_what_each_tensor_reads(tmp_path: Path) -> None:
    dense(tmp_path / "net.onnx")
    done, _ = run_apart(("layers", "net.onnx", "--json"), tmp_path)
    items = {item["address"]: item for item in json.loads(done.stdout)["items"]}
    assert items["hidden"]["inputs"] == ["inputs/x"]
    assert items["hidden"]["operands"] == ["hidden:op.BiasAdd"]
    assert items["out:op.MatMul"]["inputs"] == ["hidden"]
    assert items["out"]["inputs"] == ["hidden"]


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["a", "b:0"], ["s"], "sum"),
        helper.make_node("Split", ["s"], ["first", "second"], "halves", axis=1, num_outputs=2),
        helper.make_node("Cast", ["first"], ["scope/whole:0"], "whole", to=TensorProto.INT64),
    ]
    types = {"scope/whole:0": TensorProto.INT64}
    built(
        tmp_path / "m.onnx",
        graph(nodes, {"a": ["n", 4], "b:0": ["n", 4]}, ["scope/whole:0", "second"], types=types),
        18,
    )
    a, b = floats(5, 4), floats(5, 4) + 1
    np.savez(tmp_path / "x.npz", a=a, b=b)
    done, _ = run_apart(("activations", "m.onnx", "x.npz", "-o", "d.h5"), tmp_path)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "d.h5") as dump:
        assert list(dump["activations"]) == ["sum", "halves:0", "halves:1", "whole"]
        np.testing.assert_array_equal(dump["activations/halves:1"][()], (a + b)[:, 2:])
        np.testing.assert_array_equal(dump["outputs/scope.whole"][()], (a + b)[:, :2].astype("i8"))
        assert dump["activations/whole"].dtype == np.int64


@pytest.mark.parametrize("fixed", [None, 4])
def test_time_before_the_examples(tmp_path: Path, fixed: int | None) -> None:
    """A tensor whose examples are along another axis is stored with the examples first."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "net/rnn/transpose", perm=[1, 2, 0]),
        helper.make_node("Tanh", ["t"], ["h"], "net/rnn/Tanh"),
        helper.make_node("Transpose", ["h"], ["y"], "net/rnn/transpose_1", perm=[2, 0, 1]),
    ]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": [fixed or "n", 3, 2]}, ["y"]))
    x = floats(7, 3, 2)
    np.save(tmp_path / "x.npy", x)
    done, _ = run_apart(("activations", path, "x.npy", "-o", "d.h5"), tmp_path)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "d.h5") as dump:
        tensor = dump["activations/rnn:op.Tanh"]
        np.testing.assert_allclose(tensor[()], np.tanh(x), rtol=1e-5)
        assert tensor.attrs["axis0"] == "example"
        assert tensor.attrs["stored_axes"].tolist() == [2, 0, 1]
        assert tensor.attrs["shape"].tolist() == [fixed or -1, 3, 2]
        assert "stored_axes" not in dump["activations/rnn"].attrs


def test_loops_and_branches_are_named(tmp_path: Path) -> None:
    body = graph(
        [helper.make_node("Identity", ["more"], ["again"]), helper.make_node("Add", ["state", "x"], ["next"])],
        {"step": [], "more": [], "state": ["n", 2]}, ["again", "next"],
        types={"step": TensorProto.INT64, "more": TensorProto.BOOL, "again": TensorProto.BOOL},
    )  # fmt: skip
    nodes = [
        helper.make_node("Loop", ["steps", "", "x"], ["looped"], "net/rnn/loop", body=body),
        helper.make_node("Relu", ["looped"], ["y"], "net/act/Relu"),
    ]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 2]}, ["y"], {"steps": np.array(3)}))
    x = floats(5, 2)
    np.save(tmp_path / "x.npy", x)
    done, _ = run_apart(("activations", path, "x.npy", "-o", "d.h5"), tmp_path)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "d.h5") as dump:
        np.testing.assert_allclose(dump["activations/act"][()], np.maximum(4 * x, 0), rtol=1e-5)
        missing = {item["address"]: item["reason"] for item in json.loads(dump.attrs["not_captured"])}
        assert json.loads(dump["activations/act"].attrs["inputs"]) == ["rnn"]
        assert json.loads(dump["activations/rnn"].attrs["inputs"]) == ["inputs/x"]
    assert missing == {"rnn:op.loop.body": "inside a loop or branch of the graph, which keeps its tensors"}


def test_random_numbers_follow_the_seed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"], "noise"),
        helper.make_node("Add", ["x", "r"], ["y"], "sum"),
    ]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 2]}, ["y"]))
    x = floats(5, 2)
    runs = [tfdump.activations(path, x, seed=seed)["noise"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    assert np.std(runs[0]) > 0.1


def test_half_precision_and_text(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], "half", to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["x"], ["brain"], "brain", to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["x"], ["y"], "text", to=TensorProto.STRING),
    ]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 2]}, ["y"], types={"y": TensorProto.STRING}))
    x = np.array([[1.5, 2], [3, 4]], "f4")
    np.save(tmp_path / "x.npy", x)
    done, _ = run_apart(("activations", path, "x.npy", "-o", "d.h5"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not captured: brain (it is a tensor(bfloat16), which ONNX Runtime does not hand to NumPy)" in done.stderr
    with h5py.File(tmp_path / "d.h5") as dump:
        assert dump["activations/half"].dtype == np.float16
        assert dump["activations/text"].asstr()[0].tolist() == ["1.5", "2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training": True}, "needs a Keras model, but this is an .onnx file"),
        ({"eager": True}, "needs a Keras model, but this is an .onnx file"),
        ({"attention": True}, "needs a Keras model, but this is an .onnx file"),
        ({"signature": "serving_default"}, "is an ONNX model, which has no signatures"),
    ],
)
def test_what_needs_layers_is_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tfdump.activations(dense(tmp_path / "net.onnx"), floats(2, 6), **options)


def test_gradients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is an \.onnx file, whose operations have no gradients"):
        tfdump.gradients(dense(tmp_path / "net.onnx"), floats(2, 6), wrt="inputs", objective="sum")


def test_a_selection_computes_the_same(tmp_path: Path) -> None:
    path, x = dense(tmp_path / "net.onnx"), floats(5, 6)
    alone = tfdump.activations(path, x, layers="hidden")
    np.testing.assert_array_equal(alone["hidden"], tfdump.activations(path, x)["hidden"])
    assert set(alone) == {"hidden", "hidden:op.MatMul", "hidden:op.BiasAdd"}


def test_names_of_other_exporters(tmp_path: Path) -> None:
    """torch writes names like paths, or numbers; other tools leave the names of nodes out."""
    nodes = [
        helper.make_node("Relu", ["x"], ["/conv1/Relu_output_0"], "/conv1/Relu"),
        helper.make_node(
            "Tanh", ["/conv1/Relu_output_0"], ["/block/block.0/act/Tanh_output_0"], "/block/block.0/act/Tanh"
        ),
        helper.make_node("Abs", ["/block/block.0/act/Tanh_output_0"], ["abs"], "node_abs_3"),
        helper.make_node("Neg", ["abs"], ["val_7"], ""),
    ]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 2]}, ["val_7"]))
    assert list(tfdump.activations(path, floats(2, 2))) == [
        "conv1",
        "block.block%2E0.act",
        "block.block%2E0",
        "block",
        "node_abs_3",
        "val_7",
    ]


def test_what_was_added_to_an_operation_that_is_gone_is_not_its_layer(tmp_path: Path) -> None:
    """tf2onnx merges a normalization into a convolution, and leaves the transposition of the input with its name."""
    dice = np.random.default_rng(7)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "net_1/bn_1/batchnorm/mul_1__38", perm=[0, 2, 1]),
        helper.make_node("Conv", ["t", "w"], ["c"], "Conv__72"),
        helper.make_node("Relu", ["c"], ["r"], "net_1/relu_1/Relu"),
        helper.make_node("Cast", ["r"], ["net_1/flip_1/ReverseV2:0"], "net_1/flip_1/ReverseV2_Cast__9", to=1),
        helper.make_node("Equal", ["r", "w0"], ["e"], "net_1/same_1/NotEqual"),
        helper.make_node("Not", ["e"], ["y"], "net_1/same_1/NotEqual__4"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], "net_1/pool_1/Mean"),
        helper.make_node("Squeeze", ["g", "last"], ["z"], "net_1/pool_1/Mean_Squeeze__7"),
    ]
    constants = {"w": dice.normal(size=(2, 3, 1)).astype("f4"), "w0": np.zeros(1, "f4"), "last": np.array([2])}
    of = graph(nodes, {"x": ["n", 5, 3]}, ["y", "z", "net_1/flip_1/ReverseV2:0"], constants, {"y": TensorProto.BOOL})
    assert list(tfdump.activations(built(tmp_path / "m.onnx", of), floats(4, 5, 3))) == [
        "mul_1__38", "Conv__72", "relu", "flip", "same:op.NotEqual__Equal", "same", "pool:op.Mean", "pool",
    ]  # fmt: skip


def test_a_convolution_with_a_folded_normalization_is_not_called_by_its_layer(tmp_path: Path) -> None:
    """torch folds a batch normalization into the weights, which then have names of its own."""
    dice = np.random.default_rng(6)
    weights = {name: dice.normal(size=(2, 2, 1)).astype("f4") for name in ("onnx::Conv_21", "block.b.weight")}
    nodes = [
        helper.make_node("Conv", ["x", "onnx::Conv_21"], ["a"], "/block/a/Conv"),
        helper.make_node("Relu", ["a"], ["r"], "/block/act/Relu"),
        helper.make_node("Conv", ["r", "block.b.weight"], ["b"], "/block/b/Conv"),
        helper.make_node("Neg", ["b"], ["y"], "/out/Neg"),
    ]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 2, 3]}, ["y"], weights))
    np.save(tmp_path / "x.npy", floats(4, 2, 3))
    done, _ = run_apart(("activations", path, "x.npy", "-o", "d.h5"), tmp_path)
    assert "not captured: block.a (what follows it is folded into its weights)" in done.stderr
    with h5py.File(tmp_path / "d.h5") as dump:
        assert list(dump["activations"]) == ["block.a:op.Conv", "block.act", "block.b", "block", "out"]
        assert json.loads(dump["activations/block.act"].attrs["inputs"]) == ["block.a:op.Conv"]


def test_a_name_with_a_colon_is_encoded(tmp_path: Path) -> None:
    path = built(
        tmp_path / "m.onnx", graph([helper.make_node("Relu", ["x"], ["y"], "a:b@[c]%")], {"x": ["n", 2]}, ["y"])
    )
    assert list(tfdump.activations(path, floats(2, 2))) == ["a%3Ab%40%5Bc%5D%25"]


def test_a_shared_tower_bears_the_numbers_of_its_calls(tmp_path: Path) -> None:
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, "relu", name="a"), layers.Dense(3, name="z")], name="tower"
    )
    one, two = keras.Input((6,), name="one"), keras.Input((6,), name="two")
    model = randomized(
        keras.Model([one, two], layers.Subtract(name="difference")([inner(one), inner(two)]), name="net")
    )
    arrays = {"one": floats(5, 6), "two": floats(5, 6)[::-1].copy()}
    path = exported_onnx(model, tmp_path / "m.onnx", *arrays.values())
    ours, golden = tfdump.activations(path, arrays), tfdump.activations(model, arrays)
    assert set(golden) <= set(ours)
    for address, values in golden.items():
        np.testing.assert_allclose(ours[address], values, rtol=1e-4, atol=1e-5, err_msg=address)
