"""`--isolate` and `--influence`: the errors of layers by themselves are those of layers that are called by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump
from support.combinations import combinations
from support.command import SAMPLES
from support.converted_models import randomized
from support.layers_by_hand import LayersByHand, relative
from support.saved_formats import exported, lite, sample
from support.tiny_models import floats
from tfdump.comparison.verdict import DiffReport, TensorDiff
from tfdump.errors import TfdumpError

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

DIGITS = np.load(SAMPLES / "digits.npy")[:90]


def by_name(report: DiffReport) -> dict[str, TensorDiff]:
    """The activations that have an own error, by their golden addresses."""
    return {tensor.shown_name: tensor for tensor in report.tensors if tensor.own_error is not None}


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lite(sample("digits_cnn"), tmp_path_factory.mktemp("lite") / "int8.tflite", "int8", DIGITS)


@pytest.fixture(scope="module")
def int8_values(int8: Path) -> dict[str, np.ndarray]:
    """The real numbers of the quantized file; its dropout is the tensor before it."""
    values = tfdump.activations(int8, DIGITS, like=sample("digits_cnn"), dequantize=True)
    return {**values, "dropout": values["hidden"]}


@pytest.mark.parametrize("keras_is_golden", [True, False])
@pytest.mark.parametrize("batch", [None, 32])
def test_a_quantized_file_has_the_errors_of_layers_called_by_hand(
    int8: Path, int8_values: dict[str, np.ndarray], keras_is_golden: bool, batch: int | None
) -> None:
    model = sample("digits_cnn")
    sides = (model, int8) if keras_is_golden else (int8, model)
    report = tfdump.compare(
        *sides, DIGITS, isolate=True, batch_size=batch,
        new_dequantize=keras_is_golden, golden_dequantize=not keras_is_golden,
    )  # fmt: skip
    right, own = tfdump.activations(model, DIGITS), LayersByHand(model, DIGITS).own(int8_values)
    errors = by_name(report)
    names = ["relu1", "bn2", "relu2", "pool", "flatten", "hidden", "logits", "predictions"]
    assert set(names) <= set(errors)
    for name in names:
        total = (right[name], int8_values[name]) if keras_is_golden else (int8_values[name], right[name])
        alone = (own[name], int8_values[name]) if keras_is_golden else (int8_values[name], own[name])
        assert errors[name].total_error == pytest.approx(relative(*total), rel=1e-4), name
        assert errors[name].own_error == pytest.approx(relative(*alone), rel=1e-3, abs=1e-7), name
        assert errors[name].influence is None
    assert errors["pool"].own_error == errors["flatten"].own_error == 0
    assert errors["relu1"].through == ("conv1", "bn1")
    assert errors["bn2"].through == ("conv2",)
    assert errors["pool"].through == ()
    worst = max(names, key=lambda name: errors[name].own_error or 0)
    share = round(100 * relative(own[worst], int8_values[worst]) / relative(right[worst], int8_values[worst]))
    assert worst == "bn2"
    assert report.blame.startswith(f"bn2 (with conv2) adds {share} % of the error that leaves it; ")
    assert "; pool" in report.blame
    assert report.blame.endswith("pass on what they get")


def test_influence_is_that_of_errors_left_out_by_hand(int8: Path, int8_values: dict[str, np.ndarray]) -> None:
    model = sample("digits_cnn")
    report = tfdump.compare(model, int8, DIGITS, influence=True, new_dequantize=True, batch_size=40)
    (right,) = LayersByHand(model, DIGITS).outputs_without("", {})
    error = relative(right, int8_values["predictions"])
    errors = by_name(report)
    for name in ("relu1", "bn2", "relu2", "hidden", "logits", "predictions"):
        (without,) = LayersByHand(model, DIGITS).outputs_without(name, int8_values)
        expected = 1 - relative(right, without) / error
        assert abs(expected) > 0.003
        assert errors[name].influence == pytest.approx(expected, abs=2e-4), name
    assert errors["pool"].influence == 0
    largest = max(errors.values(), key=lambda tensor: tensor.influence or 0)
    assert f"with {largest.shown_name} alone right, {round(100 * (largest.influence or 0))} % of the" in report.blame


def branching(biases: tuple[float, float] = (0.0, 0.0), factor: float = 1.0) -> keras.Model:
    """Two inputs, a shared layer, a sub-model that is called twice, and two outputs.

    `biases` are added to those of `left` and `right`; `factor` multiplies the kernel of the shared layer.
    """
    keras.utils.clear_session()
    inner_in = keras.Input((4,), name="inner_in")
    tower = keras.Model(inner_in, layers.ReLU(name="inner")(layers.Dense(4, name="dense")(inner_in)), name="tower")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(4, name="shared", activation="tanh")
    left = layers.Dense(4, name="left")(tower(shared(a)))
    right = layers.Dense(4, name="right")(tower(shared(b)))
    joined = layers.Concatenate(name="joined")([left, right])
    first = layers.Dense(3, name="first")(joined)
    second = layers.Dense(2, name="second")(joined)
    model = randomized(keras.Model([a, b], [first, second], name="branching"))
    for name, bias in zip(("left", "right"), biases, strict=True):
        layer = model.get_layer(name)
        layer.bias.assign(layer.bias + bias)
    shared.kernel.assign(shared.kernel * factor)
    return model


PAIR = [floats(11, 4), floats(11, 4, seed=2)]


@pytest.mark.parametrize("golden_first", [True, False])
def test_a_fault_of_a_shared_layer_is_its_own_at_both_calls(golden_first: bool) -> None:
    right, wrong = branching(), branching(factor=1.5)
    sides = (right, wrong) if golden_first else (wrong, right)
    report = tfdump.compare(*sides, PAIR, isolate=True, batch_size=4)
    errors = by_name(report)
    assert {name for name, tensor in errors.items() if (tensor.own_error or 0) > 1e-5} == {"shared", "shared@1"}
    assert {"tower", "tower@1", "tower.dense", "tower@1.dense", "joined", "first", "second"} <= set(errors)
    assert {name for name, tensor in errors.items() if (tensor.total_error or 0) > 1e-3} == set(errors)
    before, after = (np.tanh(PAIR[0] @ w + b) for w, b in (m.get_layer("shared").get_weights() for m in sides))
    assert errors["shared"].own_error == pytest.approx(relative(before, after), rel=1e-4)
    assert "shared adds 100 % of the error that leaves it" in report.blame
    assert "shared@1 adds 100 % of the error that leaves it" in report.blame
    assert "pass on what they get" in report.blame


def test_influence_of_two_faults_is_that_of_models_with_one_fault() -> None:
    """A bias that is off adds the same error whatever its inputs, so one fault alone is a real model."""
    right, wrong = branching(), branching((0.3, -0.7))
    report = tfdump.compare(right, wrong, PAIR, influence=True)
    expected = right.predict(PAIR, verbose=0)

    def error(model: keras.Model) -> float:
        values = model.predict(PAIR, verbose=0)
        return float(np.hypot(*(relative(old, new) for old, new in zip(expected, values, strict=True))))

    errors = by_name(report)
    for name, biases in (("left", (0.0, -0.7)), ("right", (0.3, 0.0))):
        assert errors[name].influence == pytest.approx(1 - error(branching(biases)) / error(wrong), abs=1e-4)
    others = {name: tensor.influence for name, tensor in errors.items() if name not in ("left", "right")}
    assert set(np.round(list(others.values()), 4)) == {0.0}


FAULTS: dict[str, Callable[[keras.Model], None]] = {
    "conv1": lambda m: m.get_layer("conv1").kernel.assign(np.flip(m.get_layer("conv1").kernel.numpy(), 0)),
    "conv2": lambda m: m.get_layer("conv2").kernel.assign(m.get_layer("conv2").kernel * 1.1),
    "bn2": lambda m: m.get_layer("bn2").gamma.assign(m.get_layer("bn2").gamma * 0.8),
    "hidden": lambda m: m.get_layer("hidden").bias.assign(m.get_layer("hidden").bias + 0.2),
    "logits": lambda m: m.get_layer("logits").kernel.assign(m.get_layer("logits").kernel.numpy()[::-1]),
}


FORMS = ("keras", "tflite", "saved_model", "onnx", "dump")


@pytest.mark.parametrize(
    ("form", "fault"),
    combinations(
        FORMS,
        FAULTS,
        tested=lambda form, fault: form == "keras" or (list(FAULTS).index(fault) - FORMS.index(form)) % 5 in (0, 2),
    ),
)
def test_a_planted_fault_is_named(tmp_path: Path, fault: str, form: str) -> None:
    model = sample("digits_cnn")
    model.get_layer("bn1").moving_mean.assign(floats(16, seed=4) * 0.1)
    wrong = keras.models.clone_model(model)
    wrong.set_weights(model.get_weights())
    FAULTS[fault](wrong)
    report = tfdump.compare(model, other_form(wrong, form, tmp_path), DIGITS, isolate=True, trust=True)
    errors = by_name(report)
    worst = max(errors.values(), key=lambda tensor: tensor.own_error or 0)
    assert fault in (worst.shown_name, *worst.through)
    blamed = {name for name, tensor in errors.items() if (tensor.own_error or 0) > 1e-4}
    assert blamed == {worst.shown_name}, {name: tensor.own_error for name, tensor in errors.items()}
    assert report.blame.startswith(f"{worst.shown_name} ")
    assert "adds 100 % of the error that leaves it" in report.blame


def other_form(model: keras.Model, form: str, folder: Path) -> Any:
    if form == "tflite":
        return lite(model, folder / "m.tflite")
    if form == "saved_model":
        return exported(model, folder / "exported")
    if form == "onnx":
        pytest.importorskip("tf2onnx")
        from support.onnx_files import exported_onnx

        return exported_onnx(model, folder / "m.onnx", DIGITS[:2])
    if form == "dump":
        model.save(folder / "m.keras")
        np.save(folder / "x.npy", DIGITS)
        from tfdump.cli.main import run

        command = ("activations", folder / "m.keras", folder / "x.npy", "-o", folder / "d.h5", "-q")
        assert run([str(word) for word in command]) == 0
        return folder / "d.h5"
    return model


def test_models_that_agree_add_no_more_than_rounding(tmp_path: Path) -> None:
    model = sample("digits_cnn")
    report = tfdump.compare(model, lite(model, tmp_path / "m.tflite"), DIGITS, influence=True)
    assert report.same
    assert report.blame.startswith("no layer adds more than rounding: the largest own error is ")
    assert max(tensor.own_error or 0 for tensor in report.tensors) < 1e-5
    assert {tensor.influence for tensor in report.tensors} == {None}
    assert [note for note in report.notes if "the final outputs agree but for rounding" in note]
    plain = tfdump.compare(model, lite(model, tmp_path / "m.tflite"), DIGITS)
    assert (plain.blame, by_name(plain)) == ("", {})
    assert [(t.name, t.status, t.comparison) for t in plain.tensors] == [
        (t.name, t.status, t.comparison) for t in report.tensors
    ]


def noisy(kind: str, bias: float) -> keras.Model:
    keras.utils.clear_session()
    x = keras.Input((5, 3) if kind != "stateful" else None, batch_shape=(4, 5, 3) if kind == "stateful" else None)
    y = layers.Dense(3, name="before")(x)
    if kind == "random":
        y = Noise(name="noise")(y)
    elif kind == "stateful":
        y = layers.LSTM(3, stateful=True, return_sequences=True, name="lstm")(y)
    model = randomized(keras.Model(x, layers.Dense(2, name="after")(y)))
    model.get_layer("after").bias.assign(model.get_layer("after").bias + bias)
    return model


class Noise(layers.Layer):
    """Adds random numbers, also at inference."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.generator = keras.random.SeedGenerator(7)

    def call(self, inputs: Any) -> Any:
        return inputs + keras.random.normal(ops.shape(inputs), seed=self.generator)


@pytest.mark.parametrize("kind", ["random", "stateful"])
def test_a_second_run_does_not_disturb_the_state_of_a_model(kind: str) -> None:
    """The second run draws the numbers of the first one, and the state goes on as without it."""
    x = floats(12, 5, 3)
    plain, isolated = (
        tfdump.compare(noisy(kind, 0.0), noisy(kind, 0.5), x, batch_size=4, influence=flag) for flag in (False, True)
    )
    assert [(t.name, t.status, t.comparison) for t in plain.tensors] == [
        (t.name, t.status, t.comparison) for t in isolated.tensors
    ]
    errors = by_name(isolated)
    assert {name for name, tensor in errors.items() if (tensor.own_error or 0) > 1e-6} == {"after"}
    assert errors["after"].influence == pytest.approx(1, abs=1e-4)


class Deciding(keras.Model):
    """Its call depends on the data, so it runs eagerly."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.one, self.two = layers.Dense(4, name="one"), layers.Dense(3, name="two")
        self(np.zeros((1, 6), "float32"))
        randomized(self)
        self.two.bias.assign(self.two.bias + bias)

    def call(self, inputs: Any) -> Any:
        hidden = self.one(inputs)
        return self.two(hidden) if float(ops.max(ops.abs(hidden))) < 1e6 else hidden


def test_a_model_that_runs_eagerly() -> None:
    keras.utils.clear_session()
    right = Deciding(0.0)
    keras.utils.clear_session()
    wrong = Deciding(0.5)
    report = tfdump.compare(right, wrong, floats(10, 6), influence=True, batch_size=4)
    errors = by_name(report)
    assert {name for name, tensor in errors.items() if (tensor.own_error or 0) > 1e-6} == {"two"}
    assert errors["two"].influence == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("sizes", [(4, None), (None, 4), (4, 3), (4, 4)])
def test_fixed_batch_sizes(sizes: tuple[int | None, int | None]) -> None:
    """The rows that pad the last batch do not count."""
    models = []
    for size, bias in zip(sizes, (0.0, 0.4), strict=True):
        keras.utils.clear_session()
        x = keras.Input(batch_shape=(size, 6), name="x")
        model = randomized(keras.Model(x, layers.Dense(3, name="b")(layers.Dense(5, name="a")(x))))
        model.get_layer("a").bias.assign(model.get_layer("a").bias + bias)
        models.append(model)
    data = floats(10, 6)
    errors = by_name(tfdump.compare(*models, data, influence=True))
    (kernel, bias), after = models[0].get_layer("a").get_weights(), models[0].get_layer("b").get_weights()
    right = data @ kernel + bias
    assert errors["a"].own_error == pytest.approx(relative(right, right + 0.4), rel=1e-4)
    assert errors["b"].own_error == pytest.approx(0, abs=1e-6)
    outputs = [value @ after[0] + after[1] for value in (right, right + 0.4)]
    assert errors["b"].total_error == pytest.approx(relative(*outputs), rel=1e-4)
    assert errors["a"].influence == pytest.approx(1, abs=1e-4)


def odd(bias: float) -> keras.Model:
    """A table, a number, whole numbers, and tokens of text."""
    keras.utils.clear_session()
    x = keras.Input((6,), name="x")
    table = layers.Lambda(lambda t: ops.reshape(ops.arange(12, dtype="float32"), (3, 4)), name="table")(x)
    mean = layers.Lambda(lambda t: ops.mean(t, keepdims=True), name="mean")(x)
    best = layers.Lambda(lambda t: ops.argmax(t, axis=-1), name="best")(layers.Dense(5, name="dense")(x))
    looked = layers.Embedding(5, 3, name="looked")(best)
    model = randomized(keras.Model(x, [table, layers.Add(name="sum")([looked, mean])]))
    model.get_layer("dense").bias.assign(np.array([0, 0, bias, 0, 0], "float32"))
    return model


def test_tables_and_whole_numbers_are_replaced_too() -> None:
    report = tfdump.compare(odd(0.0), odd(9.0), floats(10, 6), influence=True, batch_size=5)
    errors = by_name(report)
    assert {name for name, tensor in errors.items() if (tensor.own_error or 0) > 1e-6} == {"dense"}
    assert (errors["best"].total_error or 0) > 0
    assert {"table", "mean", "best", "looked", "sum"} <= set(errors)
    assert errors["dense"].influence == pytest.approx(1, abs=1e-4)


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    def model(factor: float) -> keras.Model:
        keras.utils.clear_session()
        x = keras.Input((3,), name="x")
        y = layers.Lambda(lambda t: ops.log(t) * factor, name="log")(x)
        return keras.Model(x, layers.ReLU(name="relu")(y))

    data = np.abs(floats(6, 3)) + 1
    data[2, 1] = -1
    errors = by_name(tfdump.compare(model(1.0), model(1.1), data, isolate=True))
    assert errors["log"].own_error == pytest.approx(0.1, rel=1e-4)  # NaN on both sides is no error
    assert errors["relu"].own_error == 0
    data[:] = 2
    infinite = by_name(tfdump.compare(model(1.0), model(np.inf), data, isolate=True))
    assert infinite["log"].own_error == np.inf


def test_a_selection_isolates_the_parts_between_its_tensors() -> None:
    right, wrong = sample("digits_cnn"), sample("digits_cnn")
    FAULTS["conv2"](wrong)
    errors = by_name(tfdump.compare(right, wrong, DIGITS, isolate=True, layers=["relu*", "logits"]))
    assert set(errors) == {"relu1", "relu2", "logits"}
    assert errors["relu2"].own_error == errors["relu2"].total_error
    assert errors["relu2"].through == ("conv2", "bn2", "add")
    assert errors["logits"].own_error == pytest.approx(0, abs=1e-6)


def test_only_the_batches_that_were_compared_count() -> None:
    right, wrong = sample("digits_cnn"), sample("digits_cnn")
    FAULTS["hidden"](wrong)
    part = by_name(tfdump.compare(right, wrong, DIGITS, isolate=True, first=True, batch_size=20))
    same = by_name(tfdump.compare(right, wrong, DIGITS[:20], isolate=True, batch_size=20))
    assert {name: t.own_error for name, t in part.items()} == {name: t.own_error for name, t in same.items()}


def test_what_cannot_be_isolated_is_said(tmp_path: Path) -> None:
    model = sample("digits_cnn")
    file = lite(model, tmp_path / "m.tflite")
    with pytest.raises(TfdumpError, match=r"isolate=True and influence=True need a Keras model on one side"):
        tfdump.compare(file, exported(model, tmp_path / "exported"), DIGITS, isolate=True, trust=True)
    int8 = lite(model, tmp_path / "int8.tflite", "int8", DIGITS)
    with pytest.raises(TfdumpError, match="no error can be isolated, because the sides have no numbers of one kind"):
        tfdump.compare(model, int8, DIGITS, isolate=True, exact=True)
    raw, real = (tfdump.compare(model, int8, DIGITS[:20], isolate=True, new_dequantize=real) for real in (False, True))
    assert [one.own_error for one in raw.tensors] == [one.own_error for one in real.tensors]
    text = SAMPLES / "text_gru.keras"
    report = tfdump.compare(text, text, SAMPLES / "text.npz", isolate=True)
    assert report.same
    assert report.blame.startswith("no layer adds more than rounding")


def test_models_in_memory_are_left_as_they_are() -> None:
    model, other = noisy("random", 0.0), sample("digits_cnn")
    before = [weight.numpy() for weight in model.variables]
    tfdump.compare(model, noisy("random", 0.1), floats(9, 5, 3), influence=True)
    for weight, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    expected = other.predict(DIGITS, verbose=0)
    tfdump.compare(other, other, DIGITS, influence=True)
    np.testing.assert_array_equal(other.predict(DIGITS, verbose=0), expected)
