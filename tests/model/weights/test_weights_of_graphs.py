"""The weights of SavedModels, `.tflite` and `.onnx` files: what the files hold, under the addresses of the layers."""

import warnings
from pathlib import Path

import flatbuffers
import h5py
import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

import tfdump
from support.command import Run
from support.light_runs import run_apart
from support.onnx_files import built, dense, exported_onnx, graph
from support.saved_formats import exported, lite, saved, without_names
from tfdump.errors import ModelError
from tfdump.model.tensorflow_internals import SavedModel
from tfdump.model.tflite_internals import schema_py_generated as schema

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Random weights; a shared layer, a layer around a layer, a frozen layer, recurrence, and random numbers."""
    keras.utils.set_random_seed(5)
    x = keras.Input((5, 4), name="x")
    shared = keras.layers.Dense(4, name="shared")
    steps = keras.layers.TimeDistributed(keras.layers.Dense(4, name="inner"), name="steps")(shared(shared(x)))
    both = keras.layers.Bidirectional(keras.layers.LSTM(3, name="cell"), name="both")(steps)
    both = keras.layers.Dropout(0.3, name="drop")(both)
    block = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, name="h")], name="block")
    frozen = keras.layers.Dense(6, name="frozen")
    made = keras.Model(x, block(frozen(keras.layers.BatchNormalization(name="bn")(both))), name="towers")
    rng = np.random.default_rng(6)
    for weight in made.weights:
        weight.assign(rng.uniform(0.1, 0.9, weight.shape) if weight.dtype == "float32" else weight)
    frozen.trainable = False
    return made


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Convolutions of three kinds with random weights and biases, folded batch normalization, and dense layers."""
    keras.utils.set_random_seed(7)
    x = keras.Input((8, 8, 3), name="x")
    y = keras.layers.Conv2D(5, 3, name="conv")(x)
    y = keras.layers.ReLU(name="relu")(y)
    y = keras.layers.DepthwiseConv2D(3, name="deep")(y)
    y = keras.layers.Conv2DTranspose(4, 3, name="up")(y)
    y = keras.layers.Flatten(name="flat")(y)
    y = keras.layers.Dense(9, activation="tanh", name="hidden")(y)
    made = keras.Model(x, keras.layers.Dense(3, name="out")(y), name="net")
    rng = np.random.default_rng(8)
    for weight in made.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.3)
    return made


@pytest.mark.parametrize("save", [exported, saved])
def test_a_saved_model_has_the_weights_of_keras_under_their_addresses(
    model: keras.Model, save: object, tfdump: Run, tmp_path: Path
) -> None:
    """Without trust, because nothing is run. A twin that the exporter stores and random states are no weights."""
    folder = save(model, tmp_path / "m")  # type: ignore[operator]
    done = tfdump("weights", folder, "-o", "w.h5")
    assert (done.stderr, done.returncode) == ("", 0)
    import tfdump as api

    expected = api.weights(model)
    with h5py.File(tmp_path / "w.h5") as dump:
        weights = dump["weights"]
        assert dump.attrs["model_class"] == "SavedModel"
        assert set(weights) == set(expected)
        for address, value in expected.items():
            np.testing.assert_array_equal(weights[address][()], value)
            told = save is exported or not address.startswith("frozen")  # Keras alone knows that a layer is frozen
            if told:
                assert bool(weights[address].attrs["trainable"]) == expected.attributes[address]["trainable"], address
            assert weights[address].attrs["layer"] == expected.attributes[address]["layer"], address


def test_a_saved_model_of_modules_has_the_names_of_its_variables(tmp_path: Path) -> None:
    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(np.arange(6.0, dtype="f4").reshape(2, 3), name="w")
            self.unread = tf.Variable(7, name="step", trainable=False)

        @tf.function(input_signature=[tf.TensorSpec([None, 2])])
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x @ self.w

    module = Module()
    plain = saved(module, tmp_path / "plain")  # no signature either
    signed = saved(module, tmp_path / "signed", signatures=module.call)
    empty = saved(tf.Module(), tmp_path / "empty")
    with pytest.raises(ModelError, match="empty is a SavedModel without weights"):
        tfdump.weights(empty)
    for folder in (plain, signed):
        weights = tfdump.weights(folder)
        assert {address: value.tolist() for address, value in weights.items()} == {
            "w": [[0, 1, 2], [3, 4, 5]],
            "step": 7,
        }
        assert not weights.attributes["step"]["trainable"]
    reader = tf.train.load_checkpoint(str(signed / "variables" / "variables"))
    np.testing.assert_array_equal(weights["w"], reader.get_tensor("w/.ATTRIBUTES/VARIABLE_VALUE"))


@pytest.mark.parametrize("endless", ["itself", "doubling"])
def test_functions_that_call_functions_without_end(model: keras.Model, tmp_path: Path, endless: str) -> None:
    """The file of a stranger is not followed there; its variables have their own names."""
    file = exported(model, tmp_path / "m") / "saved_model.pb"
    whole = SavedModel.FromString(file.read_bytes())
    graph = whole.meta_graphs[0]
    library = graph.graph_def.library.function
    calls = [node for function in library for node in function.node_def if node.op == "StatefulPartitionedCall"]
    assert calls
    if endless == "itself":
        for function in library:
            for node in function.node_def:
                if node in calls:
                    node.attr["f"].func.name = function.signature.name
    else:
        inner = calls[0].attr["f"].func.name
        for number in range(40):
            step = library.add()
            step.signature.name = f"step{number}"
            for twice in range(2):
                node = step.node_def.add(name=f"n{twice}", op="StatefulPartitionedCall")
                node.attr["f"].func.name = inner
            inner = step.signature.name
        for node in calls:
            node.attr["f"].func.name = inner
    file.write_bytes(whole.SerializeToString())
    weights = tfdump.weights(tmp_path / "m")
    np.testing.assert_array_equal(weights["frozen.kernel"], np.asarray(model.get_layer("frozen").kernel))
    assert len(weights) == len(tfdump.weights(model))


@pytest.mark.parametrize("file", ["onnx", "tflite"])
def test_a_scale_that_does_not_fit_is_damage(file: str, float_file: Path, tmp_path: Path) -> None:
    if file == "onnx":
        constants = {"q": np.ones((6, 3), "i1"), "s": np.ones(2, "f4")}
        nodes = [
            helper.make_node("DequantizeLinear", ["q", "s"], ["w"], "deq", axis=1),
            helper.make_node("MatMul", ["x", "w"], ["y"], "net/first/MatMul"),
        ]
        path = built(tmp_path / "m.onnx", graph(nodes, {"x": [None, 6]}, ["y"], constants))
    else:
        loaded = schema.ModelT.InitFromPackedBuf(float_file.read_bytes(), 0)
        for tensor in loaded.subgraphs[0].tensors:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0, 2.0], [0, 0]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(loaded.Pack(builder), b"TFL3")
        path = tmp_path / "m.tflite"
        path.write_bytes(bytes(builder.Output()))
    with pytest.raises(ModelError, match=r"damaged: the scale of .* has the shape \[2\]"):
        tfdump.weights(path)


def test_damaged_variables_and_the_optimizer_of_a_saved_model_are_refused(model: keras.Model, tmp_path: Path) -> None:
    folder = exported(model, tmp_path / "m")
    with pytest.raises(ModelError, match=r"optimizer is for .* m is a SavedModel, which holds no optimizer"):
        tfdump.weights(folder, optimizer=True)
    data = next((folder / "variables").glob("*.data-*"))
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"the variables of .* are damaged"):
        tfdump.weights(folder)


AXES = {"conv": (3, 0, 1, 2), "deep": None, "up": (2, 0, 1, 3), "hidden": (1, 0), "out": (1, 0)}


@pytest.fixture(scope="module")
def float_file(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lite(network, tmp_path_factory.mktemp("lite") / "m.tflite")


def test_a_tflite_file_has_the_kernels_of_keras_transposed(network: keras.Model, float_file: Path) -> None:
    weights = tfdump.weights(float_file)
    expected = tfdump.weights(network)
    assert {a for a in weights if a.endswith(".kernel")} == {a for a in expected if a.endswith(".kernel")}
    assert set(weights) == set(expected)
    for address, value in expected.items():
        order = AXES[address.partition(".")[0]] if address.endswith(".kernel") else (0,)
        wanted = value.reshape(1, 3, 3, -1) if order is None else value.transpose(order)
        np.testing.assert_array_equal(weights[address], wanted)
    assert weights.attributes["conv.kernel"]["axes"] == "output,height,width,input"
    assert weights.attributes["deep.kernel"]["axes"] == "one,height,width,output"
    assert "trainable" not in weights.attributes["conv.kernel"]


def test_a_tflite_file_runs_without_tensorflow(float_file: Path, tmp_path: Path) -> None:
    done, modules = run_apart(("weights", float_file, "-o", "w.h5"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert not {"tensorflow", "keras"} & set(modules)


@pytest.mark.parametrize("how", ["float16", "dynamic", "int8"])
def test_quantized_tflite_weights_are_the_bytes_of_the_file(network: keras.Model, how: str, tmp_path: Path) -> None:
    data = np.random.default_rng(1).normal(size=(20, 8, 8, 3)).astype("f4")
    path = lite(network, tmp_path / "m.tflite", how, data)
    file = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    tensors = {tensor.name.decode(): tensor for tensor in file.subgraphs[0].tensors}
    raw = tfdump.weights(path)
    real = tfdump.weights(path, dequantize=True) if how != "float16" else raw
    golden = tfdump.weights(float_file_of(network, tmp_path))
    assert set(raw) == set(golden)
    quantized = 0
    for address, value in raw.items():
        attributes = raw.attributes[address]
        tensor = tensors[attributes["structure"]]
        stored = np.asarray(file.buffers[tensor.buffer].data, np.uint8).view(value.dtype).reshape(value.shape)
        np.testing.assert_array_equal(value, stored)
        scale = tensor.quantization.scale if tensor.quantization is not None else None
        if scale is not None:
            quantized += 1
            zero = np.asarray(tensor.quantization.zeroPoint, "f8")
            shape = [-1 if axis == tensor.quantization.quantizedDimension else 1 for axis in range(value.ndim)]
            expected = (stored.astype("f8") - zero.reshape(shape)) * np.asarray(scale, "f8").reshape(shape)
            np.testing.assert_array_equal(real[address], expected.astype("f4"))
            assert real.attributes[address]["quantized_dtype"] == str(value.dtype)
        far = np.linalg.norm(real[address].astype("f4") - golden[address]) / np.linalg.norm(golden[address])
        assert far < 0.02, address
    assert bool(quantized) == (how != "float16")


def float_file_of(network: keras.Model, folder: Path) -> Path:
    return lite(network, folder / "float.tflite")


def test_like_names_the_weights_of_a_file_without_names(
    network: keras.Model, float_file: Path, tmp_path: Path, tfdump: Run
) -> None:
    import tfdump as api

    bare = without_names(lite(network, tmp_path / "m.tflite"))
    assert "t" in next(iter(api.weights(bare)))
    network.save(tmp_path / "m.keras")
    done = tfdump("weights", bare, "--like", "m.keras", "-o", "w.h5")
    assert done.returncode == 0, done.stderr
    named = api.weights(float_file)
    with h5py.File(tmp_path / "w.h5") as dump:
        assert set(dump["weights"]) == set(named)
        for address, value in named.items():
            np.testing.assert_array_equal(dump["weights"][address][()], value)


def test_an_onnx_file_has_its_initializers_under_the_layers(network: keras.Model, tmp_path: Path) -> None:
    path = exported_onnx(network, tmp_path / "m.onnx", np.zeros((1, 8, 8, 3), "f4"))
    stored = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    weights, expected = tfdump.weights(path), tfdump.weights(network)
    assert set(weights) == set(expected)
    for address, value in weights.items():
        np.testing.assert_array_equal(value, stored[weights.attributes[address]["structure"]])
        assert sorted(value.reshape(-1)) == sorted(expected[address].reshape(-1)), address
    assert weights.attributes["conv.kernel"]["axes"] == "output,input,height,width"
    np.testing.assert_array_equal(weights["conv.kernel"].transpose(2, 3, 1, 0), expected["conv.kernel"])


def test_external_data_and_every_dtype_are_read_without_onnx_runtime(tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    kernel = dice.normal(size=(6, 40)).astype("f4")
    halves = [dice.normal(size=(40, 5)).astype(name) for name in ("f2", "f8")]
    small = helper.make_tensor("bf", TensorProto.BFLOAT16, [5, 3], dice.normal(size=15).tolist())
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "net/first/MatMul"),
        helper.make_node("MatMul", ["a", "half"], ["b"], "net/second/MatMul"),
        helper.make_node("MatMul", ["a", "double"], ["c"], "net/third/MatMul"),
        helper.make_node("MatMul", ["b", "bf"], ["y"], "net/fourth/MatMul"),
    ]
    made = graph(nodes, {"x": [None, 6]}, ["y", "c"], {"w": kernel, "half": halves[0], "double": halves[1]})
    made.initializer.append(small)
    whole = helper.make_model(made)
    onnx.save_model(whole, tmp_path / "m.onnx", save_as_external_data=True, location="numbers.bin", size_threshold=100)
    done, modules = run_apart(("weights", "m.onnx", "-o", "w.h5"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert not {"tensorflow", "keras", "onnx", "onnxruntime"} & set(modules)
    with h5py.File(tmp_path / "w.h5") as dump:
        weights = dump["weights"]
        np.testing.assert_array_equal(weights["first.kernel"][()], kernel)
        np.testing.assert_array_equal(weights["second.kernel"][()], halves[0])
        np.testing.assert_array_equal(weights["third.kernel"][()], halves[1])
        assert weights["fourth.kernel"].attrs["dtype"] == "bfloat16"
        np.testing.assert_array_equal(weights["fourth.kernel"][()], numpy_helper.to_array(small).astype("f4"))
    (tmp_path / "numbers.bin").write_bytes(b"1")
    with pytest.raises(ModelError, match="which is too short: the file is truncated"):
        tfdump.weights(tmp_path / "m.onnx")


@pytest.mark.parametrize("per_channel", [False, True])
def test_quantized_onnx_weights_have_the_scale_of_what_reads_them(per_channel: bool, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{"x": np.random.default_rng(4).normal(size=(20, 6)).astype("f4")}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    source = dense(tmp_path / "float.onnx")
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        path = tmp_path / f"{form}.onnx"
        quantize_static(source, path, Reader(), quant_format=form, per_channel=per_channel)
        stored = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
        raw, real, golden = tfdump.weights(path), tfdump.weights(path, dequantize=True), tfdump.weights(source)
        for address in ("hidden.kernel", "out.kernel"):
            attributes = raw.attributes[address]
            assert raw[address].dtype in (np.int8, np.uint8)
            name = attributes["structure"].removesuffix("_quantized")
            np.testing.assert_array_equal(raw[address], stored[f"{name}_quantized"])
            np.testing.assert_array_equal(np.ravel(attributes["scale"]), np.ravel(stored[f"{name}_scale"]))
            expected = (raw[address].astype("f8") - stored[f"{name}_zero_point"]) * stored[f"{name}_scale"]
            np.testing.assert_array_equal(real[address], expected.astype("f4"))
            np.testing.assert_allclose(real[address], golden[address], atol=0.02)
            assert ("quantized_axis" in attributes) == per_channel
        assert not any("scale" in address or "zero" in address for address in raw)


def test_operations_that_nobody_has_do_not_hide_the_weights(tmp_path: Path) -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 2)).astype("f4")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "net/first/MatMul"),
        helper.make_node("Magic", ["h"], ["y"], "net/magic/Magic", domain="acme"),
    ]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": [None, 3]}, ["y"], {"w": kernel}), acme=1)
    np.testing.assert_array_equal(tfdump.weights(path)["first.kernel"], kernel)
    bare = built(tmp_path / "bare.onnx", graph([helper.make_node("Relu", ["x"], ["y"])], {"x": [None, 3]}, ["y"]))
    with pytest.raises(ModelError, match=r"bare.onnx is an .onnx file without weights"):
        tfdump.weights(bare)


def test_int4_in_blocks(tmp_path: Path) -> None:
    integers = np.random.default_rng(2).integers(-8, 8, (6, 3))
    scale = np.random.default_rng(3).uniform(0.1, 2, (2, 3)).astype("f4")
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], "deq", axis=0, block_size=3),
        helper.make_node("MatMul", ["x", "w"], ["y"], "net/first/MatMul"),
    ]
    made = graph(nodes, {"x": [None, 6]}, ["y"], {"s": scale})
    made.initializer.append(helper.make_tensor("q", TensorProto.INT4, [6, 3], integers.reshape(-1).tolist()))
    path = built(tmp_path / "m.onnx", made, opset=21)
    raw, real = tfdump.weights(path), tfdump.weights(path, dequantize=True)
    np.testing.assert_array_equal(raw["first.kernel"], integers)
    assert raw.attributes["first.kernel"]["dtype"] == "int4"
    np.testing.assert_array_equal(real["first.kernel"], (integers * np.repeat(scale, 3, 0).astype("f8")).astype("f4"))


def test_what_is_not_quantized_is_said_to_stay_as_it_is(float_file: Path) -> None:
    with pytest.warns(tfdump.TfdumpWarning, match="no effect: no weight of m.tflite is quantized"):
        tfdump.weights(float_file, dequantize=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(tfdump.weights(float_file, layers="conv")) == {"conv.kernel", "conv.bias"}
