"""Calls of shared layers in functional models bear the numbers of their nodes, so that branches can be told apart."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump
from tfdump.cli.main import run

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

BOTH = pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
WIDTH = 3


def data(*names: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((4, WIDTH)).astype("float32") for name in names}


def dense(name: str, units: int = WIDTH, activation: str | None = None) -> layers.Dense:
    return layers.Dense(units, activation, name=name, bias_initializer="random_normal")


def by_hand(layer: layers.Dense, x: np.ndarray) -> np.ndarray:
    return x @ layer.kernel.numpy() + layer.bias.numpy()


def through(x: np.ndarray, *chain: layers.Dense) -> list[np.ndarray]:
    """What every layer of a chain gives."""
    values = [x]
    for layer in chain:
        values.append(by_hand(layer, values[-1]))
    return values[1:]


def tower_model() -> keras.Model:
    """Two branches of a shared tower: Keras runs `fc1` and `fc2` of the second branch first."""
    chain = [dense(f"fc{number}") for number in (1, 2, 3)]
    inputs = [keras.Input((WIDTH,), name=name) for name in "ab"]
    branches = []
    for value in inputs:
        one, two, three = chain
        branches.append(three(two(one(value))))
    return keras.Model(inputs, layers.Subtract(name="sub")(branches))


def assert_branches(model: keras.Model, got: dict[str, Any], x: dict[str, np.ndarray]) -> None:
    chain = [model.get_layer(f"fc{number}") for number in (1, 2, 3)]
    for name, call in (("a", ""), ("b", "@1")):
        for layer, value in zip(chain, through(x[name], *chain), strict=True):
            np.testing.assert_allclose(got[layer.name + call], value, atol=1e-5, err_msg=layer.name + call)


@BOTH
@pytest.mark.parametrize("reloaded", [False, True], ids=["built", "reloaded"])
def test_all_layers_of_one_branch_bear_one_number(tmp_path: Path, reloaded: bool, eager: bool) -> None:
    model, x = tower_model(), data("a", "b")
    if reloaded:
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    got = tfdump.activations(model, x, eager=eager)
    assert set(got) == {"fc1", "fc1@1", "fc2", "fc2@1", "fc3", "fc3@1", "sub"}
    assert_branches(model, got, x)


def test_the_order_of_the_file_is_that_of_execution() -> None:
    """Keras runs the first layer of the second branch first."""
    model, x = tower_model(), data("a", "b")
    chain = [model.get_layer(f"fc{number}") for number in (1, 2, 3)]
    ran: list[tuple[str, np.ndarray]] = []
    for layer in chain:

        def call(value: Any, layer: Any = layer, original: Any = layer.call, **options: Any) -> Any:
            result = original(value, **options)
            ran.append((layer.name, np.asarray(result)))
            return result

        layer.call = call
    model(list(x.values()))
    for layer in chain:
        del layer.call
    got = tfdump.activations(model, x)
    assert list(got)[-1] == "sub"
    for (address, value), (name, expected) in zip(list(got.items())[:-1], ran, strict=True):
        assert address.partition("@")[0] == name
        np.testing.assert_allclose(value, expected, atol=1e-6, err_msg=address)
    assert next(iter(got)) == "fc1@1"


def test_weights_and_structures_do_not_bear_the_number_of_a_branch() -> None:
    model, x = tower_model(), data("a", "b")
    got = tfdump.gradients(model, x, objective="sum", wrt=("weights", "activations"))
    weights = [f"fc{number}.{name}" for number in (1, 2, 3) for name in ("kernel", "bias")]
    assert list(got.weights) == weights
    np.testing.assert_allclose(got.weights["fc3.bias"], np.zeros(WIDTH), atol=1e-6)  # d(a - b) is 1 - 1
    assert got.activations["fc3"].max() == 1
    assert got.activations["fc3@1"].max() == -1


def test_structures_are_numbered_as_addresses_are(tmp_path: Path) -> None:
    tower_model().save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", **data("a", "b"))
    run(["activations", str(tmp_path / "model.keras"), str(tmp_path / "x.npz"), "-o", str(tmp_path / "d.h5")])
    with tfdump.open(tmp_path / "d.h5") as dump:
        structures = {
            tensor.address: tensor.attributes["structure"] for tensor in dump.tensors() if tensor.group == "activations"
        }
    for number in (1, 2, 3):
        assert structures[f"fc{number}@1"] == structures[f"fc{number}"] + "@1"


@BOTH
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_sub_models_called_several_times(kind: str, eager: bool) -> None:
    fc1, fc2, after, last = dense("fc1"), dense("fc2"), dense("after"), dense("last")
    if kind == "functional":
        inner = keras.Input((WIDTH,))
        encoder = keras.Model(inner, fc2(fc1(inner)), name="encoder")
    else:
        encoder = keras.Sequential([keras.Input((WIDTH,)), fc1, fc2], name="encoder")
    a, b = keras.Input((WIDTH,), name="a"), keras.Input((WIDTH,), name="b")
    branches = [last(after(encoder(branch))) for branch in (a, b)]
    model = keras.Model([a, b], layers.Subtract(name="sub")(branches))
    x = data("a", "b")
    got = tfdump.activations(model, x, eager=eager)
    for name, call in (("a", ""), ("b", "@1")):
        one, two = through(x[name], fc1, fc2)
        np.testing.assert_allclose(got[f"encoder{call}.fc1"], one, atol=1e-5)
        np.testing.assert_allclose(got[f"encoder{call}.fc2"], two, atol=1e-5)
        np.testing.assert_allclose(got[f"encoder{call}"], two, atol=1e-5)
    assert list(got).index("encoder@1.fc1") < list(got).index("encoder.fc1")
    weights = tfdump.gradients(model, x, objective="sum").weights
    assert [name for name in weights if name.endswith("kernel")] == [
        f"{layer}.kernel" for layer in ("encoder.fc1", "encoder.fc2", "after", "last")
    ]


def test_only_the_nodes_of_the_model_itself_count() -> None:
    shared = dense("shared")
    a, b = keras.Input((WIDTH,), name="a"), keras.Input((WIDTH,), name="b")
    of_a, of_b = shared(a), shared(b)
    keras.Model(a, of_a)
    x = data("b")
    for model in (keras.Model(b, of_b), keras.Model(b, shared(of_b))):
        got = tfdump.activations(model, x)
        np.testing.assert_allclose(got["shared"], by_hand(shared, x["b"]), atol=1e-5)
    assert list(got) == ["shared", "shared@1"]


def test_a_model_between_intermediate_tensors() -> None:
    shared, before = dense("shared"), dense("before")
    a = keras.Input((WIDTH,), name="a")
    start = before(a)
    model = keras.Model(start, layers.Subtract(name="sub")([shared(start), shared(shared(start))]))
    x = data("a")["a"]
    got = tfdump.activations(model, x)
    one, two = through(x, shared, shared)
    assert sorted(address for address in got if address.startswith("shared")) == ["shared", "shared@1", "shared@2"]
    np.testing.assert_allclose(got["sub"], one - two, atol=1e-5)


@keras.saving.register_keras_serializable("call_numbers")
class Overridden(keras.Model):
    """A functional model whose `call` does not run its graph."""

    def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:
        shared = self.get_layer("shared")
        return shared(ops.negative(x)) + shared(x)


@keras.saving.register_keras_serializable("call_numbers")
class Extended(keras.Model):
    """A functional model whose `call` runs its graph, and one layer of it by itself before and after."""

    def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:
        shared = self.get_layer("shared")
        return shared(super().call(shared(x)))


def crossed(kind: type[keras.Model]) -> tuple[keras.Model, layers.Dense]:
    shared, a = dense("shared"), keras.Input((WIDTH,), name="a")
    return kind(a, shared(shared(a))), shared


@BOTH
def test_calls_outside_the_graph_are_numbered_by_execution(eager: bool) -> None:
    model, shared = crossed(Overridden)
    x = data("a")["a"]
    got = tfdump.activations(model, x, eager=eager)
    np.testing.assert_allclose(got["shared"], by_hand(shared, -x), atol=1e-5)
    np.testing.assert_allclose(got["shared@1"], by_hand(shared, x), atol=1e-5)


@BOTH
def test_every_call_has_a_number_of_its_own(eager: bool) -> None:
    model, shared = crossed(Extended)
    x = data("a")["a"]
    got = tfdump.activations(model, x, eager=eager)
    assert sorted(got) == ["shared", "shared@1", "shared@2", "shared@3"]
    expected = through(x, *[shared] * 4)
    for value, address in zip(expected, got, strict=True):
        np.testing.assert_allclose(got[address], value, atol=1e-5)


@BOTH
def test_an_input_that_is_left_out(eager: bool) -> None:
    @keras.saving.register_keras_serializable("call_numbers")
    class OrZero(layers.Layer):
        def call(self, x: Any, other: Any = None) -> Any:
            return x * 2 if other is None else x + other

    shared, mix = dense("shared"), OrZero(name="mix")
    a, c = keras.Input((WIDTH,), name="a"), keras.Input((WIDTH,), name="c", optional=True)
    first = mix(a, c)
    second = mix(shared(shared(first)))
    model = keras.Model([a, c], layers.Subtract(name="sub")([mix(a), second]))
    x = data("a")
    got = tfdump.activations(model, x, eager=eager)
    np.testing.assert_array_equal(got["mix"], x["a"] * 2)
    one, two = through(x["a"] * 2, shared, shared)
    np.testing.assert_allclose(got["shared"], one, atol=1e-5)
    np.testing.assert_allclose(got["mix@1"], two * 2, atol=1e-5)
    np.testing.assert_array_equal(got["mix@2"], x["a"] * 2)


def test_operations_that_are_not_layers() -> None:
    """One operation object that stands at two nodes."""
    from keras.src.ops.numpy import Negative

    negative = Negative(name="neg")
    a, b = keras.Input((WIDTH,), name="a"), keras.Input((WIDTH,), name="b")
    first, second = negative(a), negative(negative(b))
    model, x = keras.Model([a, b], layers.Add(name="sum")([first, second])), data("a", "b")
    got = tfdump.activations(model, x)
    np.testing.assert_array_equal(got["neg"], -x["a"])
    np.testing.assert_array_equal(got["neg@1"], -x["b"])
    np.testing.assert_array_equal(got["neg@2"], x["b"])
