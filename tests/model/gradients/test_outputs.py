"""Outputs in a list, tuple or dict of one: the gradients are those of Keras's own training step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support import zoo
from support.gradient_routes import assert_gradients, assert_near, taped_by_keras
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

Structure = Callable[[Any], Any]

ONE_OUTPUT: dict[str, tuple[Structure, str]] = {
    "plain": (lambda out: out, "out"),
    "list": (lambda out: [out], "out"),
    "tuple": (lambda out: (out,), "out"),
    "dict": (lambda out: {"a": out}, "a"),
    "list in a list": (lambda out: [[out]], "0"),
    "dict in a list": (lambda out: [{"a": out}], "a"),
    "list in a dict": (lambda out: {"a": [out]}, "a.0"),
    "twice": (lambda out: [out, out], "0"),
}
"""How a functional model gives one tensor, and the name of its first output."""

FITTING = [form for form in ONE_OUTPUT if form != "list in a dict"]
"""Those that Keras's own `fit` takes."""


class OwnCall(keras.Model):
    """A functional model that gives something else than its graph does."""

    def call(self, x: Any, training: bool = False) -> Any:
        return {"own": super().call(x, training=training) * 2.0}


class FirstOnly(keras.Model):
    """The same, with one output of two."""

    def call(self, x: Any, training: bool = False) -> Any:
        return {"own": super().call(x, training=training)[0] * 2.0}


def model_with(structure: Structure, base: type[keras.Model] = keras.Model) -> keras.Model:
    keras.utils.set_random_seed(3)
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(3, activation="tanh", bias_initializer="normal", name="hidden")(x)
    return base(x, structure(layers.Dense(2, bias_initializer="normal", name="out")(hidden)))


@pytest.mark.parametrize("form", ONE_OUTPUT)
@pytest.mark.parametrize("eager", [False, True])
def test_a_loss_by_name_on_outputs_of_every_form(form: str, eager: bool) -> None:
    structure, name = ONE_OUTPUT[form]
    model, x, y = model_with(structure), floats(5, 4), floats(5, 2, seed=1)
    targets = (y, y) if form == "twice" else y
    model.compile(loss=["mse", "mse"] if form == "twice" else "mse", run_eagerly=False)
    loss, expected = taped_by_keras(model, x, keras.tree.pack_sequence_as(model(x), keras.tree.flatten(targets)))
    gradients = tfdump.gradients(
        model, x, targets, loss="mse", batch_size=2, eager=eager, wrt=("weights", "activations")
    )
    assert_near(gradients.loss, loss)
    assert_gradients(gradients.weights, expected)
    assert set(gradients.activations) == {"hidden", "out"}
    if form != "twice":
        by_name = tfdump.gradients(model, x, {name: y}, loss=f"{name}=mse", batch_size=3, eager=eager)
        assert_near(by_name.loss, loss)


@pytest.mark.parametrize("form", ONE_OUTPUT)
def test_objectives_and_single_examples_of_every_form(form: str) -> None:
    structure, name = ONE_OUTPUT[form]
    model, x, y = model_with(structure), floats(5, 4), floats(5, 2, seed=1)
    values = keras.tree.flatten(model(x))[0].numpy()
    gradients = tfdump.gradients(model, x, objective=f"{name}[1]", wrt="inputs", batch_size=2)
    assert_near(gradients.loss, values[:, 1].sum())
    assert gradients.inputs["x"].shape == (5, 4)
    same = tfdump.gradients(model, x, objective="out[1]", wrt="inputs") if form != "twice" else gradients
    assert_near(same.loss, gradients.loss)
    each = tfdump.gradients(model, x, {name: y}, loss=f"{name}=mse", per_example=True)
    assert_near(each.loss, ((values - y) ** 2).mean(-1))


FITTED: dict[str, tuple[str, Any]] = {
    "plain": ("plain", "mse"),
    "list": ("list", "mse"),
    "list, loss in a list": ("list", ["mse"]),
    "list, loss in a dict": ("list", {"out": "mse"}),
    "tuple": ("tuple", "mse"),
    "dict": ("dict", "mse"),
    "dict, loss in a dict": ("dict", {"a": "mse"}),
    "list in a list": ("list in a list", "mse"),
}


@pytest.mark.parametrize("case", FITTED)
@pytest.mark.parametrize("ending", ["", ".keras", ".h5"])
def test_the_compiled_loss_is_that_of_fit(case: str, ending: str, tmp_path: Path) -> None:
    form, loss = FITTED[case]
    model, x, y = model_with(ONE_OUTPUT[form][0]), floats(5, 4), floats(5, 2, seed=1)
    model.compile(keras.optimizers.SGD(0.1), loss)
    before = {f"{layer.name}.{v.name}": v.numpy() for layer in model.layers for v in layer.weights}
    subject: Any = model
    if ending:
        subject = tmp_path / f"m{ending}"
        model.save(subject)
    gradients = tfdump.gradients(subject, x, y, batch_size=2)
    targets = keras.tree.pack_sequence_as(model(x), [y])
    history = model.fit(x, targets, batch_size=5, shuffle=False, verbose=0)
    assert_near(gradients.loss, history.history["loss"][0])
    after = {f"{layer.name}.{v.name}": v.numpy() for layer in model.layers for v in layer.weights}
    assert_gradients(gradients.weights, {name: (before[name] - after[name]) / 0.1 for name in before}, near=1e-5)


@pytest.mark.parametrize(
    "form", [form for form in ONE_OUTPUT if form != "list in a dict"]
)  # on which Keras's own fit fails
def test_the_callback_on_outputs_of_every_form(form: str, tmp_path: Path) -> None:
    model, x, y = model_with(ONE_OUTPUT[form][0]), floats(6, 4), floats(6, 2, seed=1)
    targets = (y, y) if form == "twice" else y
    model.compile("sgd", ["mse", "mse"] if form == "twice" else "mse")
    watch = tfdump.DumpCallback(tmp_path / "run", x, targets, wrt="weights")
    fed = keras.tree.pack_sequence_as(model(x), keras.tree.flatten(targets))
    model.fit(x, fed, batch_size=6, epochs=2, shuffle=False, verbose=0, callbacks=[watch])
    loss, _ = taped_by_keras(model, x, fed)
    with h5py.File(tmp_path / "run" / "epoch-0002.gradients.h5") as file:
        assert_near(file["loss"][()], loss)


@pytest.mark.parametrize("base", [keras.Model, OwnCall])
def test_a_functional_model_inside_another_gives_a_list_of_one(base: type[keras.Model]) -> None:
    """Keras hands the list on symbolically, and the tensor itself when it runs."""
    inner = model_with(lambda out: [out])
    x = keras.Input((4,), name="x")
    model, data, y = base(x, inner(x)), floats(5, 4), floats(5, 2, seed=1)
    model.compile(loss="mse")
    outputs = model(data)
    loss, expected = taped_by_keras(model, data, keras.tree.pack_sequence_as(outputs, [y]))
    gradients = tfdump.gradients(model, data, y, batch_size=2)
    assert_near(gradients.loss, loss)
    assert sorted(value.sum() for value in gradients.weights.values()) == pytest.approx(
        sorted(value.sum() for value in expected.values()), rel=1e-5
    )


def test_a_functional_model_with_a_call_of_its_own() -> None:
    model, x, y = model_with(lambda out: [out, out], FirstOnly), floats(5, 4), floats(5, 2, seed=1)
    expected = float(((model(x)["own"].numpy() - y) ** 2).mean())
    gradients = tfdump.gradients(model, x, {"own": y}, loss="mse", batch_size=2)
    assert_near(gradients.loss, expected)


def test_outputs_and_activations_bear_one_name(tmp_path: Path) -> None:
    """A list of one has the name of its layer, as the model returns the tensor itself."""
    model = model_with(lambda out: [out])
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", floats(5, 4))
    status, stderr = zoo.command("activations", tmp_path / "m.keras", tmp_path / "x.npy", "-o", tmp_path / "a.h5")
    assert status == 0, stderr
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file["outputs"]) == ["out"]
