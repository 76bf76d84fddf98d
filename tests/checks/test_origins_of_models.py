"""Where NaN and Inf begin in real models: planted in a branch that is not the first in the order of execution."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from support.command import Run

pytestmark = pytest.mark.tensorflow

EXAMPLES = 24


def origins_of(tfdump: Run, model: keras.Model, arrays: dict[str, np.ndarray], *options: str) -> list[dict[str, Any]]:
    """The origins in the dump of a model, which was saved and loaded again."""
    model.save("m.keras")
    np.savez("x.npz", **arrays)
    assert tfdump("activations", "m.keras", "x.npz", "-o", "a.h5", "-f", *options).returncode == 0
    document = json.loads(tfdump("check", "a.h5", "--json").stdout)
    return list(document["origins"])


def eager(model: keras.Model, layer: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What a layer of a functional model returns, computed by a model of its own that runs eagerly."""
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    return np.asarray(part(arrays))


def randomized(model: keras.Model) -> keras.Model:
    generator = np.random.default_rng(7)
    for variable in model.weights:
        variable.assign(generator.normal(0, 0.5, variable.shape) + ("variance" in variable.path))
    return model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_logarithm_of_a_negative_number_in_the_second_branch_of_a_nested_model(tfdump: Run) -> None:
    """Both branches are bad, each in an example of its own, and each origin is named with the value that went in."""
    inner_input = keras.Input((4,))
    scaled = layers.Dense(4, name="scaled")(inner_input)
    inner = keras.Model(inner_input, layers.Dense(3, name="after")(ops.log(scaled)), name="inner")
    image = keras.Input((4,), name="image")
    root = ops.sqrt(layers.Dense(3, name="first")(image))
    model = keras.Model(image, layers.Dense(2, name="last")(layers.Add(name="both")([root, inner(image)])))
    model.get_layer("first").set_weights([np.eye(4, 3), np.ones(3)])
    inner.get_layer("scaled").set_weights([np.eye(4), np.full(4, 2.0)])
    x = np.random.default_rng(0).uniform(0, 1, (EXAMPLES, 4)).astype("float32")
    x[17, 2], x[5, 3] = -1.5, -2.25  # 1 - 1.5 and 2 - 2.25
    found = origins_of(tfdump, model, {"image": x}, "--save-inputs")
    assert [(one["check"], one["tensor"], one["example"], one["index"]) for one in found] == [
        ("nan", "activations/sqrt", 17, [17, 2]), ("nan", "activations/inner.log", 5, [5, 3]),
    ]  # fmt: skip
    assert [one["message"] for one in found] == [
        "NaN starts in 'sqrt' (Sqrt), example 17: its input 'first' is -0.5 there",
        "NaN starts in 'inner.log' (Log), example 5: its input 'inner.scaled' is -0.25 there",
    ]
    assert [one["certain"] for one in found] == [True, True]


def test_nothing_divided_by_nothing_in_a_masked_mean(tfdump: Run) -> None:
    tokens, mask = keras.Input((6, 5), name="tokens"), keras.Input((6, 1), name="mask")
    dense = layers.Dense(4, activation="tanh", name="dense")(tokens)
    masked = layers.Multiply(name="masked")([dense, mask])
    mean = ops.sum(masked, axis=1) / ops.sum(mask, axis=1)
    other = layers.GlobalMaxPooling1D(name="other")(layers.Dense(4, name="more")(tokens))
    model = randomized(
        keras.Model([tokens, mask], layers.Dense(2, name="last")(layers.Add(name="both")([other, mean])))
    )
    generator = np.random.default_rng(1)
    arrays = {"tokens": generator.normal(size=(EXAMPLES, 6, 5)).astype("float32"),
              "mask": generator.integers(0, 2, (EXAMPLES, 6, 1)).astype("float32")}  # fmt: skip
    arrays["mask"][:, 0] = 1
    arrays["mask"][11] = 0
    (one,) = origins_of(tfdump, model, arrays)
    sums = {name for name in (layer.name for layer in model.operations) if name.startswith("sum")}
    assert {read["tensor"].removeprefix("activations/") for read in one["inputs"]} == sums
    assert [read["value"] for read in one["inputs"]] == [0, 0]
    first, second = (read["tensor"].removeprefix("activations/") for read in one["inputs"])
    assert one["message"] == (
        f"NaN starts in '{one['tensor'].removeprefix('activations/')}' (TrueDivide), example 11: "
        f"its inputs '{first}' is 0 and '{second}' is 0 there"
    )


def test_an_overflow_in_half_precision_and_the_nan_that_it_becomes(tfdump: Run) -> None:
    """Inf begins where a product leaves float16, and NaN where two infinities are subtracted."""
    image = keras.Input((4,), name="image", dtype="float16")
    calm = layers.Dense(4, name="calm", dtype="float16")(image)
    large = layers.Rescaling(300.0, name="large", dtype="float16")(image)
    square = layers.Multiply(name="square", dtype="float16")([large, large])
    lost = layers.Subtract(name="lost", dtype="float16")([square, square])
    model = keras.Model(image, layers.Add(name="both", dtype="float16")([calm, lost]))
    x = np.random.default_rng(2).uniform(-0.5, 0.5, (EXAMPLES, 4)).astype("float16")
    x[9, 1] = 0.9
    with np.errstate(over="ignore"):
        assert np.isinf((x * np.float16(300)) ** 2).sum() == 1
    nan, inf = origins_of(tfdump, model, {"image": x}, "--save-inputs")
    value = f"{float(np.float16(0.9) * np.float16(300)):.6g}"
    assert inf["message"] == f"Inf starts in 'square' (Multiply), example 9: its input 'large' is {value} there"
    assert nan["message"] == "NaN starts in 'lost' (Subtract), example 9: its input 'square' is inf there"
    assert (inf["index"], nan["index"]) == ([9, 1], [9, 1])


def test_a_negative_variance_is_in_the_layer_and_not_in_what_it_reads(tfdump: Run) -> None:
    image = keras.Input((5, 5, 2), name="image")
    first = layers.Conv2D(3, 2, name="conv")(image)
    norm = layers.BatchNormalization(name="norm")
    outputs = [layers.Dense(2, name="other")(first), layers.GlobalAveragePooling2D(name="pool")(norm(first))]
    model = randomized(keras.Model(image, outputs))
    norm.moving_variance.assign([1.0, -1.0, 1.0])
    arrays = {"image": np.random.default_rng(3).normal(size=(EXAMPLES, 5, 5, 2)).astype("float32")}
    read = eager(model, "conv", arrays)
    (one,) = origins_of(tfdump, model, arrays)
    assert (one["tensor"], one["example"], one["index"]) == ("activations/norm", 0, [0, 0, 0, 1])
    value = f"{read[0, 0, 0, 1]:.6g}"
    assert one["message"] == f"NaN starts in 'norm' (BatchNormalization), example 0: its input 'conv' is {value} there"


def test_statistics_alone_find_the_branch(tfdump: Run) -> None:
    image = keras.Input((4,), name="image")
    good, wrong = layers.Dense(4, name="good")(image), layers.Dense(4, name="wrong")(image)
    model = randomized(keras.Model(image, layers.Add(name="both")([ops.exp(good), ops.log(wrong)])))
    arrays = {"image": np.random.default_rng(4).normal(size=(EXAMPLES, 4)).astype("float32")}
    read = eager(model, "wrong", arrays)
    assert (read < 0).any()
    (one,) = origins_of(tfdump, model, arrays, "--stats-only")
    low, high = f"{read.min():.6g}", f"{read.max():.6g}"
    assert one["message"] == f"NaN starts in 'log' (Log): its input 'wrong' lies between {low} and {high}"


def test_a_selection_says_what_is_missing(tfdump: Run) -> None:
    image = keras.Input((4,), name="image")
    wrong = layers.Dense(4, name="wrong")(image)
    model = randomized(keras.Model(image, layers.Dense(2, name="last")(ops.log(wrong))))
    arrays = {"image": np.random.default_rng(5).normal(size=(EXAMPLES, 4)).astype("float32")}
    example = int(np.flatnonzero((eager(model, "wrong", arrays) < 0).any(axis=1))[0])
    (one,) = origins_of(tfdump, model, arrays, "-l", "wrong", "-l", "last")
    assert one["message"] == (
        f"NaN first appears in 'last' (Dense), example {example}; its input 'log' is not in the dump"
    )
    assert not one["certain"]


def test_the_root_of_zero_in_a_gradient(tfdump: Run) -> None:
    """The rectifier hands zeros to the square root, whose derivative there is infinite; times zero it becomes NaN."""
    image = keras.Input((4,), name="image")
    other = layers.Dense(3, name="other")(image)
    positive = layers.Dense(3, name="positive")(image)
    root = ops.sqrt(ops.relu(positive))
    model = keras.Model(image, layers.Dense(1, name="last")(layers.Add(name="both")([other, root])))
    model.compile(loss="mse")
    randomized(model)
    model.get_layer("positive").set_weights([np.eye(4, 3), np.ones(3)])
    x = np.random.default_rng(6).uniform(0, 1, (EXAMPLES, 4)).astype("float32")
    x[13, 1] = -2
    model.save("m.keras")
    np.save("x.npy", x)
    np.save("y.npy", np.ones((EXAMPLES, 1), "float32"))
    wrt = [part for name in ("weights", "activations", "inputs") for part in ("--wrt", name)]
    assert tfdump("gradients", "m.keras", "x.npy", "y.npy", *wrt, "-o", "g.h5").returncode == 0
    done = tfdump("check", "g.h5", "--json")
    nan, inf = json.loads(done.stdout)["origins"]
    assert inf["message"] == (
        "Inf starts in the gradient of 'relu' (Relu), example 13: it passes backward through 'sqrt' (Sqrt), "
        "whose gradient is clean"
    )
    assert nan["message"] == (
        "NaN starts in the gradient of 'positive' (Dense), example 13: it passes backward through 'relu' (Relu), "
        "whose gradient holds Inf"
    )
    assert (inf["index"], nan["index"], inf["certain"]) == ([13, 1], [13, 1], True)
    assert done.stderr.splitlines()[-2:] == [nan["message"], inf["message"]]


def recurrent_and_attention() -> keras.Model:
    """A model with a nested one that is called twice, a recurrent layer with states, and attention."""
    inner_input = keras.Input((5, 3))
    hidden = layers.Dense(3, activation="tanh", name="hidden")(inner_input)
    inner = keras.Model(inner_input, ops.exp(layers.Dense(3, name="out")(hidden)) + hidden, name="inner")
    sequence = keras.Input((5, 4), name="sequence")
    states = layers.LSTM(3, return_sequences=True, return_state=True, name="lstm")(sequence)
    once = inner(states[0])
    attended = layers.MultiHeadAttention(2, 2, name="mha")(inner(once), once)
    norm = layers.LayerNormalization(name="norm")(attended)
    return randomized(keras.Model(sequence, [layers.Dense(1, name="head")(norm), states[1]]))


def convolutional() -> keras.Model:
    image = keras.Input((6, 6, 2), name="image")
    first = layers.Conv2D(4, 3, padding="same", activation="elu", name="first")(image)
    norm = layers.BatchNormalization(name="norm")(layers.SeparableConv2D(4, 3, padding="same", name="second")(first))
    both = layers.Concatenate(name="both")(
        [layers.Add(name="sum")([norm, first]), layers.Dropout(0.5, name="drop")(first)]
    )
    pooled = layers.GlobalAveragePooling2D(name="pool")(both)
    return randomized(keras.Model(image, layers.Dense(3, activation="sigmoid", name="head")(pooled)))


CAPTURES = ["--preactivation", "--attention", "--layer-inputs", "--rnn-steps"]


@pytest.mark.parametrize(
    "options", [["--save-inputs"], ["--save-inputs", *CAPTURES], ["--save-inputs", "--stats-only"]]
)
@pytest.mark.parametrize("make", [recurrent_and_attention, convolutional])
def test_of_a_bad_input_nothing_else_is_an_origin(tfdump: Run, make: Any, options: list[str]) -> None:
    """So every tensor of these models is known to come from the input."""
    model = make()
    (fed,) = model.inputs
    x = np.random.default_rng(8).normal(size=(EXAMPLES, *fed.shape[1:])).astype("float32")
    x[6] = np.nan
    found = origins_of(tfdump, model, {fed.name: x}, *options)
    assert [(one["check"], one["tensor"]) for one in found] == [("nan", f"inputs/{fed.name}")]
    document = json.loads(tfdump("check", "a.h5", "--json").stdout)
    assert len([one for one in document["items"] if one["check"] == "nan"]) > 8


@pytest.mark.parametrize("options", [[], CAPTURES])
def test_a_bad_weight_is_in_the_layer_that_has_it(tfdump: Run, options: list[str]) -> None:
    """Each layer in turn, in a nested model and in attention too; with captures, the tensor in it that comes first."""
    for layer in ("inner.hidden", "inner.out", "mha.query", "mha.value", "norm", "head"):
        model = recurrent_and_attention()
        owner: Any = model
        for name in layer.split("."):
            owner = getattr(owner, f"_{name}_dense", None) or owner.get_layer(name)
        kernel = owner.weights[0]
        kernel.assign(np.full(kernel.shape, np.nan))
        x = np.random.default_rng(9).normal(size=(EXAMPLES, 5, 4)).astype("float32")
        (one,) = origins_of(tfdump, model, {"sequence": x}, "--save-inputs", *options)
        address, _, suffix = one["tensor"].removeprefix("activations/").partition(":")
        assert (address, one["certain"]) == (layer, True)
        assert suffix in ({"", "preactivation"} if options else {""})
