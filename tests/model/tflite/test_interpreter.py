"""TFLite files: float, float16, dynamic-range and full-integer, against NumPy and the Keras model's own layers."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.command import SAMPLES
from support.saved_formats import lite, sample, saved
from support.tiny_models import floats
from tfdump.errors import InputError, ModelError
from tfdump.model.tflite.flatbuffer import LiteFile, LiteSubgraph, LiteTensor
from tfdump.model.tflite.interpreter import main_signature

pytestmark = pytest.mark.tensorflow

FUSED = {
    "digits_cnn": {"conv1", "bn1", "conv2", "add", "dropout", "logits", "predictions"},
    "wine_mlp": {"predictions"},
    "twice": {"dropout"},
    "siamese": {"same"},
}
"""The layers that the converter leaves without a tensor of their own: fused into the next one, without an operation, or
at the end, where it forgets the name."""


def close(got: object, expected: object) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def two_dense() -> tuple[keras.Model, np.ndarray]:
    x = keras.Input((6,), name="x")
    model = keras.Model(
        x, layers.Dense(3, name="second")(layers.Dense(5, activation="relu", name="first")(x)), name="m"
    )
    for number, layer in enumerate(model.layers[1:]):
        kernel, bias = layer.get_weights()
        layer.set_weights([floats(*kernel.shape, seed=number), floats(*bias.shape, seed=number + 10)])
    return model, floats(40, 6, seed=3)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lite")
    model, x = two_dense()
    ways = ("float", "float16", "dynamic", "int8", "int8_inside")
    return {how: lite(model, folder / f"{how}.tflite", how, x) for how in ways}


def plain_interpreter(path: Path) -> tf.lite.Interpreter:
    """TensorFlow's own interpreter, as a user would make it."""
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    return interpreter


# --- addresses and values


@pytest.mark.usefixtures("converter_names_weights")
@pytest.mark.parametrize("name", list(FUSED))
def test_every_sample_model_pairs_with_its_keras_dump(tmp_path: Path, name: str) -> None:
    model = sample(name)
    image, analysis = np.load(SAMPLES / "digits.npy")[:5], np.load(SAMPLES / "wine.npy")[:5]
    x = {"wine_mlp": analysis, "siamese": (image, image[::-1])}.get(name, image)
    keras_dump = tfdump.activations(model, x)
    dump = tfdump.activations(lite(model, tmp_path / "m.tflite"), x)
    assert set(keras_dump) - set(dump) == FUSED[name]
    for address in set(keras_dump) & set(dump):
        close(dump[address], keras_dump[address])


def test_what_was_fused_is_named(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    file = lite(sample("digits_cnn"), tmp_path / "m.tflite")
    tfdump.activations(file, np.load(SAMPLES / "digits.npy")[:2])
    messages = " ".join(str(warning.message) for warning in recwarn)
    assert "bn1, conv1 (fused into relu1)" in messages
    assert "add (fused into relu2)" in messages
    assert "logits (its last operation may be the one behind it" in messages


def test_the_output_of_the_model_without_a_name_is_that_of_plain_tensorflow(tmp_path: Path) -> None:
    model, x = sample("digits_cnn"), np.load(SAMPLES / "digits.npy")[:4]
    file = lite(model, tmp_path / "m.tflite")
    runner = plain_interpreter(file).get_signature_runner()
    close(tfdump.activations(file, x)["StatefulPartitionedCall_1:0"], runner(image=x)["output_0"])


@pytest.mark.usefixtures("converter_names_weights")
@pytest.mark.parametrize(("how", "tolerance"), [("float", 1e-5), ("float16", 1e-2), ("dynamic", 0.1)])
def test_floats_by_hand(dense: dict[str, Path], how: str, tolerance: float) -> None:
    model, x = two_dense()
    (w1, b1), (w2, b2) = model.get_layer("first").get_weights(), model.get_layer("second").get_weights()
    got = tfdump.activations(dense[how], x)
    hidden = np.maximum(x @ w1 + b1, 0)
    assert got["first"].dtype == np.float32
    np.testing.assert_allclose(got["first"], hidden, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got["second"], hidden @ w2 + b2, rtol=tolerance, atol=4 * tolerance)
    assert set(got) == {"first", "second"}  # the weights, dequantized, are no activations


def test_a_layer_whose_last_operation_is_passed_by(tmp_path: Path) -> None:
    """The next Dense reads the product before it is reshaped back; the output is still what was reshaped."""
    x = keras.Input((6, 4), name="x")
    shared = layers.Dense(3, name="dense")
    model = keras.Model(x, shared(shared(layers.Dense(3, name="dense_1")(x))), name="m")
    data = floats(2, 6, 4)
    got = tfdump.activations(lite(model, tmp_path / "m.tflite"), data)
    close(got["dense_1"], data @ model.get_layer("dense_1").get_weights()[0])
    close(got["dense"], got["dense_1"] @ shared.get_weights()[0])


@pytest.mark.usefixtures("converter_names_weights")
def test_any_number_of_examples_in_batches_of_any_size(dense: dict[str, Path]) -> None:
    x = two_dense()[1]
    whole = tfdump.activations(dense["float"], x)
    for size in (1, 7, 40):
        by_batch = tfdump.activations(dense["float"], x, batch_size=size)
        close(by_batch["second"], whole["second"])


def test_a_fixed_batch_is_run_as_such(tmp_path: Path) -> None:
    x = keras.Input((6,), batch_size=4, name="x")
    model = keras.Model(x, layers.Dense(2, activation="tanh", name="d")(x), name="m")
    file = lite(model, tmp_path / "m.tflite")
    data = floats(10, 6)
    kernel, bias = model.layers[1].get_weights()
    with pytest.warns(tfdump.TfdumpWarning, match="padded to 4 examples"):
        got = tfdump.activations(file, data)
    close(next(iter(got.values())), data @ kernel + bias)


# --- integers


@pytest.mark.usefixtures("converter_names_weights")
def test_a_quantized_layer_in_integer_arithmetic(dense: dict[str, Path]) -> None:
    x = two_dense()[1]
    got = tfdump.activations(dense["int8"], x)
    plain = plain_interpreter(dense["int8"])
    operation = next(op for op in plain._get_ops_details() if op["op_name"] == "FULLY_CONNECTED")
    details = {item["index"]: item for item in plain.get_tensor_details()}
    inputs, kernel, bias = (details[number] for number in operation["inputs"])
    output = details[operation["outputs"][0]]
    (input_scale, input_zero), (output_scale, output_zero) = inputs["quantization"], output["quantization"]
    fed = np.clip(np.floor(x / np.float32(input_scale) + 0.5) + input_zero, -128, 127).astype(np.int64)
    weights = plain.get_tensor(kernel["index"]).astype(np.int64)
    total = (fed - input_zero) @ weights.T + plain.get_tensor(bias["index"])
    scales = kernel["quantization_parameters"]["scales"].astype(np.float64) * input_scale / output_scale
    expected = np.clip(np.round(total * scales) + output_zero, max(output_zero, -128), 127)
    assert got["first"].dtype == np.int8
    assert np.abs(got["first"] - expected).max() <= 1
    assert (got["first"] == expected).mean() > 0.95


@pytest.mark.usefixtures("converter_names_weights")
@pytest.mark.parametrize("how", ["int8", "int8_inside"])
def test_dequantized_is_by_scale_and_zero_point(dense: dict[str, Path], how: str) -> None:
    x = two_dense()[1]
    raw, real = tfdump.activations(dense[how], x), tfdump.activations(dense[how], x, dequantize=True)
    by_name = {item["name"]: item["quantization"] for item in plain_interpreter(dense[how]).get_tensor_details()}
    scale, zero = next(by_name[name] for name in by_name if name.startswith("m_1/first_1/MatMul;"))
    assert real["first"].dtype == np.float32
    exact = (raw["first"].astype(np.float32) - np.float32(zero)) * np.float32(scale)
    np.testing.assert_array_equal(real["first"], exact)
    (w1, b1) = two_dense()[0].get_layer("first").get_weights()
    np.testing.assert_allclose(real["first"], np.maximum(x @ w1 + b1, 0), atol=4 * scale)


@pytest.mark.parametrize("how", ["int8_inside", "int16"])
def test_logits_are_not_taken_for_what_follows_them(tmp_path: Path, how: str, recwarn: pytest.WarningsRecorder) -> None:
    """The converter forgets the name of the softmax, and writes its numbers once in integers and once as floats."""
    x = keras.Input((6,), name="x")
    hidden = layers.Dense(5, activation="relu", name="first")(x)
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="second")(hidden), name="m")
    data = floats(40, 6, seed=3)
    got = tfdump.activations(lite(model, tmp_path / "m.tflite", how, data), data, dequantize=True)
    first, second = model.layers[1:]
    hidden = np.maximum(data @ first.get_weights()[0] + first.get_weights()[1], 0)
    np.testing.assert_allclose(got["first"], hidden, atol=0.05)
    logits = next(value for address, value in got.items() if address.startswith("second:op"))
    np.testing.assert_allclose(logits, hidden @ second.get_weights()[0] + second.get_weights()[1], atol=0.1)
    assert "second" not in got
    assert any("not captured: second (its last operation" in str(warning.message) for warning in recwarn)


def test_integers_are_fed_as_they_are_and_floats_are_quantized(dense: dict[str, Path]) -> None:
    plain = plain_interpreter(dense["int8"])
    scale, zero = plain.get_input_details()[0]["quantization"]
    integers = np.random.default_rng(0).integers(-128, 128, (9, 6)).astype(np.int8)
    fed = tfdump.activations(dense["int8"], integers)
    reals = (integers.astype(np.float32) - zero) * np.float32(scale)
    with pytest.warns(tfdump.TfdumpWarning, match="is quantized from float32 to int8"):
        quantized = tfdump.activations(dense["int8"], reals)
    for address, value in fed.items():
        np.testing.assert_array_equal(quantized[address], value)


@pytest.mark.usefixtures("converter_names_weights")
def test_numbers_outside_of_the_range_take_its_end(dense: dict[str, Path]) -> None:
    far = np.array([[1e6, -1e6, 0, 0, 0, 0]], np.float64)
    ends = tfdump.activations(dense["int8"], far)
    zero = plain_interpreter(dense["int8"]).get_input_details()[0]["quantization"][1]
    same = tfdump.activations(dense["int8"], np.array([[127, -128, zero, zero, zero, zero]], np.int8))
    np.testing.assert_array_equal(ends["first"], same["first"])


def test_nan_cannot_be_quantized(dense: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="NaN in row 1"):
        tfdump.activations(dense["int8"], np.array([[0.0] * 6, [0, np.nan, 0, 0, 0, 0]], np.float32))


# --- signatures and refusals


def test_the_second_signature_of_a_file(tmp_path: Path) -> None:
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def up(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.tanh(x * 2 + 1) * x}

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def down(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"z": tf.tanh(x / 3) - x}

    module = Two()
    folder = saved(module, tmp_path / "m", signatures={"up": module.up, "down": module.down})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=["up", "down"])
    (tmp_path / "two.tflite").write_bytes(converter.convert())
    x = floats(5, 3)
    with pytest.raises(ModelError, match="choose one with signature: down, up"):
        tfdump.layers(tmp_path / "two.tflite")
    with pytest.raises(ModelError, match="no signature 'u'"):
        tfdump.layers(tmp_path / "two.tflite", signature="u")
    close(tfdump.activations(tmp_path / "two.tflite", x, signature="up")["tanh"], np.tanh(x * 2 + 1))
    close(tfdump.activations(tmp_path / "two.tflite", x, signature="down")["tanh"], np.tanh(x / 3))


@pytest.mark.usefixtures("converter_names_weights")
def test_a_loop_is_named_as_not_captured(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    x = keras.Input((6, 3), batch_size=2, name="x")
    model = keras.Model(x, layers.Dense(2, name="out")(layers.LSTM(4, name="lstm")(x)), name="m")
    data = floats(4, 6, 3)
    got = tfdump.activations(lite(model, tmp_path / "m.tflite"), data)
    close(got["out"], np.concatenate([np.asarray(model(data[:2])), np.asarray(model(data[2:]))]))
    assert any("lstm:op.while.body (inside a loop" in str(warning.message) for warning in recwarn)


def test_operations_of_tensorflow_are_refused(tmp_path: Path) -> None:
    x = keras.Input((6, 3), name="x")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(x, layers.LSTM(4, name="lstm")(x)))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter._experimental_lower_tensor_list_ops = False
    (tmp_path / "flex.tflite").write_bytes(converter.convert())
    with pytest.raises(ModelError, match=r"operations of TensorFlow \(Flex"):
        tfdump.layers(tmp_path / "flex.tflite")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training": True}, "training=True needs a Keras model"),
        ({"eager": True}, "eager=True needs a Keras model"),
    ],
)
def test_options_that_make_no_sense(dense: dict[str, Path], options: dict[str, bool], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tfdump.activations(dense["float"], floats(2, 6), **options)


@pytest.mark.parametrize("how", ["float", "float16", "dynamic"])
def test_dequantizing_floats_changes_nothing_and_is_said(dense: dict[str, Path], how: str) -> None:
    plain = tfdump.activations(dense[how], floats(2, 6))
    with pytest.warns(tfdump.TfdumpWarning, match="dequantize=True has no effect: no activation of"):
        got = tfdump.activations(dense[how], floats(2, 6), dequantize=True)
    assert set(got) == set(plain)
    for address, value in plain.items():
        np.testing.assert_array_equal(got[address], value)


def test_gradients_are_refused(dense: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="operations have no gradients"):
        tfdump.gradients(dense["float"], floats(2, 6), wrt="inputs", objective="sum")


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_file_is_refused(dense: dict[str, Path], tmp_path: Path, part: float) -> None:
    whole = dense["float"].read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ModelError, match=r"cut\.tflite"):
        tfdump.activations(tmp_path / "cut.tflite", floats(2, 6))


def test_a_file_with_garbage_in_its_middle_does_not_end_the_process(dense: dict[str, Path], tmp_path: Path) -> None:
    whole = bytearray(dense["float"].read_bytes())
    whole[len(whole) // 3 : len(whole) // 2] = b"\xff" * (len(whole) // 2 - len(whole) // 3)
    (tmp_path / "bad.tflite").write_bytes(whole)
    with pytest.raises(ModelError, match=r"bad\.tflite"):
        tfdump.layers(tmp_path / "bad.tflite")


def test_inputs_of_one_name_get_names_of_their_own() -> None:
    """A file without signatures names its inputs after their tensors."""
    none = np.zeros(0)
    tensors = [LiteTensor(name, "float32", (1,), False, False, none, none, None) for name in ("a", "a~1", "a", "a")]
    graph = LiteSubgraph("main", tuple(tensors), (), (0, 1, 2, 3), (3,))
    signature = main_signature(LiteFile((graph,), ()))
    assert signature.inputs == (("a", 0), ("a~1", 1), ("a~2", 2), ("a~3", 3))
    assert signature.outputs == (("a", 3),)


def test_a_file_with_open_sizes_needs_no_size_of_one(tmp_path: Path) -> None:
    """Three convolutions without padding make nothing of an image of one pixel, with which the interpreter begins."""
    x = keras.Input((None, None, 3), name="image")
    y = x
    for number in range(3):
        y = layers.Conv2D(4, 3, strides=2, activation="relu", name=f"c{number}")(y)
    model = keras.Model(x, layers.GlobalAveragePooling2D(name="mean")(y), name="m")
    data = floats(2, 40, 33, 3)
    values = tfdump.activations(lite(model, tmp_path / "m.tflite", "float", data), data)
    expected = data
    for layer in model.layers[1:]:
        expected = layer(expected)
        close(values[layer.name], expected)
