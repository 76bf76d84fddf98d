"""A tensor of a `.tflite` file that bears the address of a layer is what that layer gives, or no tensor bears it."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump
from support.converted_models import Tail, branches, converted, eager, examples, judged, randomized, untrained
from support.saved_formats import lite

pytestmark = pytest.mark.tensorflow

BRANCHES = [
    (
        "next",
        1,
        {
            "dense_silu",
            "dense_selu",
            "act_mish",
            "act_tanh",
            "inner_times",
            "inner_clip6",
            "layer_norm",
            "unit",
            "gate",
        },
        {"dense", "act_hard_sigmoid", "act_squareplus", "inner_relu_times", "rms", "batch_norm"},
    ),
    ("relu", 1, {"act_elu", "dense_softmax"}, {"inner_plus", "layer_norm", "prelu"}),
    (
        "last",
        1,
        {"batch_norm", "inner_over", "rms", "prelu", "act_selu", "layer_norm"},
        {"dense_silu", "dense_tanh_shrink", "unit", "reshape", "gate"},
    ),
    ("relu", 2, {"mean"}, {"up", "permute", "softmax", "conv", "flatten"}),
    (
        "next",
        3,
        {"conv", "conv_silu", "separable", "mean", "pad", "relu"},
        {"inner_relu_plus", "inner_relu_times", "rescaling", "normal"},
    ),
    ("last", 3, {"layer_norm", "conv_silu"}, {"batch_norm", "flatten", "unit", "transposed", "max"}),
]
"""The place of the layers, the rank of what they take, and the layers that have a tensor then, and that have none."""


def layer(name: str) -> str:
    return f"{name}_target"


@pytest.mark.parametrize(("place", "rank", "told", "untold"), BRANCHES)
def test_each_address_holds_what_its_layer_gives(
    tmp_path: Path, names_weights: bool, place: str, rank: int, told: set[str], untold: set[str]
) -> None:
    """Without the names of the weights behind them, fewer layers are certain; none may be wrong."""
    verdict = converted(branches(rank, sorted(told | untold), place), tmp_path)
    assert not verdict.wrong
    assert verdict.right >= set(map(layer, told)) or not names_weights
    assert verdict.missing >= set(map(layer, untold))


@pytest.mark.usefixtures("converter_names_weights")
def test_what_has_no_tensor_is_named_with_the_reason(tmp_path: Path) -> None:
    notes = converted(branches(1, ["dense", "act_hard_sigmoid", "layer_norm", "act_celu"], "next"), tmp_path).notes
    assert "dense_target (fused into dense_behind)" in notes
    assert "act_hard_sigmoid_target (its last operation may be folded into the weights behind it" in notes
    assert "layer_norm_target" not in notes


def test_the_operations_whose_names_are_lost_are_said(tmp_path: Path) -> None:
    verdict = converted(branches(1, ["act_softmax"], "last"), tmp_path)
    assert "the layers that return StatefulPartitionedCall_1:0 are unknown" in verdict.notes
    assert not verdict.right | verdict.wrong


def test_a_last_convolution_with_batch_normalization(tmp_path: Path) -> None:
    x = keras.Input((8, 8, 2), name="x")
    model = keras.Model(x, layers.BatchNormalization(name="norm")(layers.Conv2D(3, 3, name="conv")(x)), name="m")
    verdict = converted(randomized(model), tmp_path)
    assert verdict.missing == {"conv", "norm"}
    assert "not captured: conv, norm (fused into" in verdict.notes or "conv (fused into" in verdict.notes


@pytest.mark.usefixtures("converter_names_weights")
def test_a_division_is_not_the_inverse_of_the_deviation(tmp_path: Path) -> None:
    keras.utils.clear_session()
    x = keras.Input((6,), name="x")
    scale = ops.sqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-3)
    model = keras.Model(x, layers.Dense(2, name="out")(x / scale), name="m")
    data = examples(model)
    file = lite(randomized(model), tmp_path / "m.tflite")
    expected = data / np.sqrt((data**2).mean(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(tfdump.activations(file, data)["true_divide"], expected, rtol=1e-4, atol=1e-5)
    last = lite(keras.Model(x, x / scale, name="m"), tmp_path / "last.tflite")
    assert "true_divide" not in tfdump.activations(last, data)


def test_operations_of_a_model_without_layers(tmp_path: Path) -> None:
    """The model itself has no segment, also where nothing in it has a scope."""
    keras.utils.clear_session()
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], a * 2 + b)
    data = examples(model)
    got = tfdump.activations(lite(model, tmp_path / "m.tflite"), data)
    np.testing.assert_allclose(got["multiply"], data["a"] * 2, rtol=1e-6)
    assert not any(address.startswith("functional") for address in got)
    assert not np.isin("add", list(got))


def test_two_towers_of_one_encoder(tmp_path: Path) -> None:
    inside = keras.Input((6,), name="inside")
    encoder = keras.Model(inside, layers.Dense(3, name="z")(layers.Dense(5, name="h")(inside)), name="encoder")
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    model = randomized(keras.Model([a, b], layers.Subtract(name="same")([encoder(a), encoder(b)]), name="m"))
    data = examples(model)
    got = tfdump.activations(lite(model, tmp_path / "m.tflite"), data)
    towers = [np.asarray(encoder(data[name])) for name in ("a", "b")]
    for call in ("encoder", "encoder@1"):
        np.testing.assert_array_equal(got[call], got[f"{call}.z"])
        assert min(np.abs(got[call] - tower).max() for tower in towers) < 1e-5
        assert f"{call}.h" not in got
    assert np.abs(got["encoder"] - got["encoder@1"]).max() > 0.01


def test_recurrent_layers_behind_each_other(tmp_path: Path) -> None:
    """The converter drops the transpositions between them, so that the time stands before the examples."""
    x = keras.Input((5, 4), batch_size=3, name="x")
    y = layers.LSTM(4, return_sequences=True, name="first")(x)
    y = layers.GRU(4, return_sequences=True, unroll=True, name="second")(y)
    y = layers.Dense(2, name="steps")(layers.LSTM(3, return_sequences=True, name="third")(y))
    y = layers.Activation("tanh", name="end")(layers.Activation("softmax", name="shares")(y))
    verdict = converted(randomized(keras.Model(x, y, name="m")), tmp_path)
    assert not verdict.wrong
    assert {"first", "second"} <= verdict.missing
    assert {"third", "steps"} <= verdict.right
    assert "first, second (what its loop gives may have the time before the examples" in verdict.notes


def test_an_unrolled_recurrent_layer_that_ends_the_model(tmp_path: Path) -> None:
    """Its last operation has no name, but reads two tensors of the cell."""
    x = keras.Input((5, 4), name="x")
    model = randomized(keras.Model(x, layers.LSTM(4, unroll=True, name="lstm")(x), name="m"))
    assert converted(model, tmp_path).right == {"lstm"}


@pytest.mark.parametrize("kind", ["batch_norm", "rescaling", "tail"])
def test_a_scale_that_vanished_into_the_weights_of_a_convolution(tmp_path: Path, kind: str) -> None:
    """The weights keep the name of the convolution, so the file does not tell which of the two its tensor is."""
    x = keras.Input((8, 8, 3), name="x")
    y = layers.Conv2D(4, 3, use_bias=False, name="conv")(x)
    scale = {
        "batch_norm": lambda: layers.BatchNormalization(epsilon=0.5, name="scale"),  # as it was made: no shift
        "rescaling": lambda: layers.Rescaling(0.5, name="scale"),
        "tail": lambda: Tail(lambda y: y * 2.0, name="scale"),
    }[kind]()
    model = keras.Model(x, layers.Dense(3, activation="tanh", name="end")(scale(y)), name="m")
    data = examples(model)
    file = lite(model, tmp_path / "m.tflite")
    verdict = judged(model, file, eager(model, data), data)
    assert (verdict.wrong, verdict.missing) == (set(), {"conv", "scale", "end"})
    assert "conv (a normalization behind it may be folded into its weights" in verdict.notes
    assert judged(model, file, eager(model, data), data, like=model).right == {"scale", "end"}


@pytest.mark.usefixtures("converter_names_weights")
@pytest.mark.parametrize("how", ["float16", "dynamic", "int8_inside"])
def test_addresses_of_a_quantized_network(tmp_path: Path, how: str) -> None:
    x = keras.Input((8, 8, 2), name="x")
    y = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(x)))
    y = layers.Activation("silu", name="silu")(layers.Conv2D(4, 3, padding="same", name="second")(y))
    y = layers.Dense(3, activation="softmax", name="out")(layers.GlobalAveragePooling2D(name="mean")(y))
    model = randomized(keras.Model(x, y, name="m"))
    data = np.random.default_rng(0).standard_normal((20, 8, 8, 2)).astype("float32")
    file = lite(model, tmp_path / "m.tflite", how, data)
    got = tfdump.activations(file, data, dequantize=how == "int8_inside")
    expected = eager(model, data)
    assert set(got) & set(expected) == {"relu", "second", "silu", "mean"}
    for address in set(got) & set(expected):
        span = np.abs(expected[address]).max()
        np.testing.assert_allclose(got[address], expected[address], atol=0.05 * span, err_msg=address)


@pytest.mark.usefixtures("converter_names_weights")
def test_an_inner_layer_is_not_called_as_the_one_around_it(tmp_path: Path) -> None:
    """The product with two is folded into the weights of the inner layer, whose own output is then nowhere."""
    model = branches(1, ["inner_times"], "next")
    x = examples(model)
    verdict = judged(model, lite(model, tmp_path / "m.tflite"), eager(model, x), x)
    assert "inner_times_target" in verdict.right
    assert "inner_times_target.inner_times_inner" in verdict.notes


class Doubled(layers.Layer):
    """A product and a sum with weights of its own, a tangent, and a product with two."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")
        self.shift = self.add_weight(shape=(4,), name="shift")

    def call(self, x: Any) -> Any:
        return ops.tanh(ops.matmul(x, self.kernel) + self.shift) * 2.0


def test_a_product_folded_into_weights_without_a_bias(tmp_path: Path) -> None:
    """Their name tells nothing of it, whether they never had a bias or the next product took it."""
    x = keras.Input((6,), name="x")
    ends = []
    for name, make in {
        "product": lambda name: Doubled(name=name),
        "function": lambda name: Tail(lambda values: ops.tanh(values) * 2.0, name=name),
        "dense": lambda name: layers.Dense(4, activation="tanh", name=name),
    }.items():
        for bias in (False, True):
            y = make(f"{name}_{bias}")(layers.Dense(6, activation="elu", name=f"{name}_{bias}_before")(x))
            y = layers.Dense(5, use_bias=bias, name=f"{name}_{bias}_middle")(y)
            ends.append(layers.Dense(3, activation="tanh", name=f"{name}_{bias}_behind")(y))
    model = keras.Model(x, layers.Dense(2, name="end")(layers.Concatenate(name="all")(ends)), name="m")
    verdict = converted(randomized(model), tmp_path)
    assert not verdict.wrong
    assert verdict.missing >= {"product_False", "product_True", "function_False", "function_True"}
    assert verdict.right >= {"dense_False", "dense_True"}


def test_a_transposition_that_was_moved_behind_the_last_operation(tmp_path: Path) -> None:
    x = keras.Input((4, 4), name="x")
    turned = layers.Permute((2, 1), name="turned")(x)
    back = layers.Permute((2, 1), name="back")(layers.Activation("elu", name="elu")(turned))
    model = keras.Model(x, layers.Add(name="sum")([layers.Activation("tanh", name="tanh")(turned), back]), name="m")
    verdict = converted(model, tmp_path)
    assert not verdict.wrong
    assert {"tanh", "back", "sum"} <= verdict.missing


def test_a_transposition_that_was_moved_behind_a_reshaping(tmp_path: Path) -> None:
    """Without a bias, relu is fused into the matrix product before the reshaping, and keeps its name there."""
    verdict = converted(branches(2, ["permute"], "relu", untrained), tmp_path)
    assert not verdict.wrong
    assert {"permute_target", "permute_relu"} <= verdict.missing


def test_a_last_reshaping_that_was_merged_into_the_operation_behind_it(tmp_path: Path) -> None:
    """Where the number of examples is fixed, all shapes are, and of two reshapings one is left."""
    x = keras.Input((8, 4), batch_size=3, name="x")
    rows = layers.DepthwiseConv1D(3, activation="relu", name="rows")(layers.Dense(4, name="before")(x))
    rows = layers.Dense(3, name="behind")(layers.Flatten(name="flat")(rows))
    heads = layers.GroupQueryAttention(4, 4, 2, name="heads")(x, x)
    both = layers.Dot(1, name="dot")([layers.Dense(5, name="one")(rows), layers.Dense(5, name="two")(rows)])
    ends = [layers.Dense(2, activation="tanh", name="end")(both), layers.Activation("tanh", name="last")(heads)]
    model = randomized(keras.Model(x, ends, name="m"))
    data = examples(model)
    file = lite(model, tmp_path / "m.tflite")
    expected = dict(tfdump.activations(model, data))
    verdict = judged(model, file, expected, data)
    assert not verdict.wrong
    assert {"rows", "dot", "heads.key", "heads.value"} <= verdict.missing
    assert {"before", "flat", "heads.query"} <= verdict.right
