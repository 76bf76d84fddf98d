"""Parts of ONNX and TFLite files give the numbers of the whole, by ONNX Runtime and TensorFlow's own interpreter."""

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from support.converted_models import randomized
from support.onnx_files import built, by_hand, dense, graph
from support.saved_formats import lite
from support.tiny_models import floats
from tfdump.model.cutting.needed import needed_operations
from tfdump.model.cutting.onnx_part import cut_onnx
from tfdump.model.cutting.records import PartInput, UncutModel
from tfdump.model.cutting.tflite_part import cut_tflite
from tfdump.model.onnx.session import OnnxValue

pytestmark = pytest.mark.tensorflow


def part(path: Path, inputs: dict[str, PartInput], target: str, rank: int = 2) -> onnx.ModelProto:
    """The part of a file from some tensors, by their names in it, to another one."""
    value = OnnxValue(target, "tensor(float)", (-1,) * rank)
    model = onnx.load_from_string(cut_onnx(path.read_bytes(), path.parent, list(inputs.values()), list(inputs), value))
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, feeds)
    return result


def test_the_middle_of_an_onnx_file(tmp_path: Path) -> None:
    path, x = dense(tmp_path / "m.onnx"), floats(5, 6)
    before, after = by_hand(path, {"x": x}, "h0", "h2")
    model = part(path, {"h0": PartInput("any", "h0", (None, 4), "float32")}, "h2")
    assert [node.op_type for node in model.graph.node] == ["Add", "Relu"]
    assert [one.name for one in model.graph.initializer] == ["b"]
    assert [one.name for one in model.graph.input] == ["h0"]
    np.testing.assert_array_equal(run(model, h0=before), after)


def test_the_end_of_an_onnx_file_keeps_its_output(tmp_path: Path) -> None:
    path, x = dense(tmp_path / "m.onnx"), floats(5, 6)
    before, after = by_hand(path, {"x": x}, "h2", "y")
    model = part(path, {"h2": PartInput("any", "h2", (None, 4), "float32")}, "y")
    np.testing.assert_array_equal(run(model, h2=before), after)


def test_other_axes_are_transposed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("ReduceMax", ["r"], ["y"], axes=[1])]
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 3, 4, 5]}, ["y"]))
    values = floats(2, 4, 5, 3)  # channels last
    model = part(path, {"r": PartInput("input", "r", (None, 4, 5, 3), "float32", (0, 3, 1, 2))}, "y", 4)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "ReduceMax"]
    np.testing.assert_array_equal(run(model, input=values), values.max(3)[:, None])


def test_several_inputs_have_the_names_of_the_parts(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("Sub", ["r", "n"], ["y"]),
    ]  # fmt: skip
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 3]}, ["y"]))
    inputs = {name: PartInput(f"{name}_value", name, (None, 3), "float32") for name in ("r", "n")}
    a, b = floats(2, 3), floats(2, 3, seed=9)
    np.testing.assert_array_equal(run(part(path, inputs, "y"), r_value=a, n_value=b), a - b)
    with pytest.raises(UncutModel, match="another tensor of it is called 'x'"):
        part(path, {**inputs, "r": PartInput("x", "r", (None, 3), "float32")}, "y")


def test_numbers_beside_the_file_are_put_inside(tmp_path: Path) -> None:
    path, x = dense(tmp_path / "m.onnx"), floats(5, 6)
    before, after = by_hand(path, {"x": x}, "h2", "o0")
    model = onnx.load(path)
    onnx.save_model(
        model, path, save_as_external_data=True, location="numbers.bin", size_threshold=0, convert_attribute=False
    )
    assert any(one.external_data for one in onnx.load(path, load_external_data=False).graph.initializer)
    cut = part(path, {"h2": PartInput("any", "h2", (None, 4), "float32")}, "o0")
    np.testing.assert_array_equal(run(cut, h2=before), after)


def test_what_the_body_of_a_loop_reads_belongs_to_the_part(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["so_far", "outer"], ["next"]), helper.make_node("Identity", ["go"], ["go_on"])],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("so_far", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["x"], ["outer"]),
        helper.make_node("Loop", ["steps", "yes", "r"], ["y"], body=body),
    ]  # fmt: skip
    constants = {"steps": np.array(3, "i8"), "yes": np.array(True)}
    path = built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 3]}, ["y"], constants))
    with pytest.raises(UncutModel, match="it also reads 'x'"):
        cut_onnx(
            path.read_bytes(), tmp_path, [PartInput("r", "r", (None, 3), "float32")], ["r"],
            OnnxValue("y", "tensor(float)", None),
        )  # fmt: skip
    inputs = {name: PartInput(f"{name}_value", name, (None, 3), "float32") for name in ("r", "outer")}
    data = cut_onnx(
        path.read_bytes(), tmp_path, list(inputs.values()), list(inputs), OnnxValue("y", "tensor(float)", (-1, 3))
    )
    a, b = floats(2, 3), floats(2, 3, seed=4)
    np.testing.assert_allclose(run(onnx.load_from_string(data), r_value=a, outer_value=b), a + 3 * b, rtol=1e-6)


def test_a_tensor_of_an_operation_that_also_makes_an_input_is_refused() -> None:
    made_by = {"a": 0, "b": 0, "y": 1}
    assert needed_operations("y", {"a", "b"}, made_by, [["x"], ["a", "b"]], set()) == [1]
    with pytest.raises(UncutModel, match="'a' comes from an operation that is part of it"):
        needed_operations("y", {"a", "x"}, made_by, [["x"], ["a", "b"]], set())


@pytest.fixture
def network() -> keras.Model:
    keras.utils.clear_session()
    x = keras.Input((6,), name="x")
    y = keras.layers.Dense(5, activation="tanh", name="one")(x)
    y = keras.layers.Dense(4, activation="sigmoid", name="two")(y)
    return randomized(keras.Model(x, keras.layers.Dense(3, name="three")(y)))


def test_the_middle_of_a_tflite_file(tmp_path: Path, network: keras.Model) -> None:
    path = lite(network, tmp_path / "m.tflite")
    whole = tf.lite.Interpreter(str(path))
    by_shape = {tuple(one["shape_signature"]): one["index"] for one in whole.get_tensor_details()}
    begin, end = (
        max(one["index"] for one in whole.get_tensor_details() if tuple(one["shape_signature"]) == shape)
        for shape in ((-1, 5), (-1, 4))
    )
    assert {(-1, 5), (-1, 4)} <= set(by_shape)
    data = cut_tflite(path.read_bytes(), 0, [PartInput("one", "one", (None, 5), "float32")], [begin], end)
    assert len(data) < len(path.read_bytes())
    cut = tf.lite.Interpreter(model_content=data)
    run = cut.get_signature_runner("serving_default")
    assert list(run.get_input_details()) == ["one"]
    hidden = floats(7, 5)
    kernel, bias = (np.asarray(weight) for weight in network.get_layer("two").weights)
    (value,) = run(one=hidden).values()
    np.testing.assert_allclose(value, 1 / (1 + np.exp(-(hidden @ kernel + bias))), rtol=1e-5)
    with pytest.raises(UncutModel, match="it also reads"):
        cut_tflite(path.read_bytes(), 0, [PartInput("two", "two", (None, 4), "float32")], [end], begin)


def test_numbers_of_an_onnx_file_are_checked_by_the_package_itself(tmp_path: Path) -> None:
    path = dense(tmp_path / "m.onnx")
    model = part(path, {"h0": PartInput("any", "h0", (None, 4), "float32")}, "o0")
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    whole = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    assert set(stored) == {"b", "v"}
    assert all(np.array_equal(stored[name], whole[name]) for name in stored)
