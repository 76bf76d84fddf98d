"""`--import MODULE` and `--import FILE.py`: the user's own layers, models, losses and functions, decorated or not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

import tfdump
from support import zoo
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow

CODE = '''
import keras
from keras import layers, ops


class Scale(layers.Layer):
    """Not decorated."""

    def __init__(self, by=2.0, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def call(self, x):
        return x * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


@keras.saving.register_keras_serializable(package="house")
class Shift(layers.Layer):
    def call(self, x):
        return x + 1.0


@keras.saving.register_keras_serializable(package="house", name="Renamed")
class Halve(layers.Layer):
    def call(self, x):
        return x / 2.0


class Own(keras.Model):
    """A subclassed model with a layer of its own, neither decorated."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = Scale(3.0, name="scale")
        self.out = layers.Dense(2, name="out")

    def call(self, x):
        return self.out(self.scale(x))


def clipped(x):
    return ops.clip(x, -0.5, 0.5)


@keras.saving.register_keras_serializable(package="house")
def doubled(x):
    return x * 2.0


class Huberish(keras.losses.Loss):
    """Not decorated."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) * 3.0, axis=-1)


def far(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred) * 5.0, axis=-1)


class Between(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return ops.ones(shape, dtype) * 0.25


class Positive(keras.constraints.Constraint):
    def __call__(self, w):
        return ops.relu(w)


class Little(keras.regularizers.Regularizer):
    def __call__(self, w):
        return 0.1 * ops.sum(ops.abs(w))

    def get_config(self):
        return {}
'''


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The user's module, imported here to build the models; the command imports it again."""
    registered = dict(keras.saving.get_custom_objects())
    (tmp_path / "house.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "house", raising=False)
    import house

    yield house
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(registered)


@pytest.fixture(params=["FILE.py", "MODULE"])
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    return tmp_path / "house.py" if request.param == "FILE.py" else "house"


def saved(model: keras.Model, path: Path) -> Path:
    model.save(path)
    keras.saving.get_custom_objects().clear()  # as in a process that has not seen the classes
    sys.modules.pop("house")
    return path


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_layers_decorated_or_not(tmp_path: Path, house: object, imported: object, ending: str) -> None:
    x = keras.Input((3,))
    y = house.Halve(name="halve")(house.Shift(name="shift")(house.Scale(4.0, name="scale")(x)))
    y = keras.layers.Activation(house.clipped, name="clipped")(y)
    y = keras.layers.Dense(
        3,
        house.doubled,
        kernel_initializer=house.Between(),
        kernel_constraint=house.Positive(),
        kernel_regularizer=house.Little(),
        name="dense",
    )(y)
    path = saved(keras.Model(x, y), tmp_path / f"m.{ending}")
    data = floats(4, 3)
    dump = zoo.dumped(path, data, "--import", imported)
    halved = (data * 4 + 1) / 2
    clipped = np.clip(halved, -0.5, 0.5)
    expected = {
        "scale": data * 4,
        "shift": data * 4 + 1,
        "halve": halved,
        "clipped": clipped,
        "dense": clipped @ np.full((3, 3), 0.25) * 2,
    }
    assert list(dump.values) == list(expected)
    for address, value in expected.items():
        np.testing.assert_allclose(dump.values[address], value, rtol=1e-5, atol=1e-6, err_msg=address)


def test_a_model_that_is_not_decorated(tmp_path: Path, house: object, imported: object) -> None:
    model, data = house.Own(), floats(4, 3)
    outputs = np.asarray(model(data))
    path = saved(model, tmp_path / "m.keras")
    dump = zoo.dumped(path, data, "--import", imported)
    np.testing.assert_allclose(dump.values["scale"], data * 3, rtol=1e-6)
    np.testing.assert_allclose(dump.values["out"], outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["Huberish", "far"])
@pytest.mark.parametrize("how", ["compiled", "named"])
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_losses(tmp_path: Path, house: object, imported: object, loss: str, how: str, ending: str) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    own = getattr(house, loss)
    if how == "compiled":
        model.compile("sgd", own() if isinstance(own, type) else own)
    kernel, bias = model.layers[0].get_weights()
    path = saved(model, tmp_path / f"m.{ending}")
    x, y = floats(4, 3), floats(4, 2, seed=1)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    options = ["--loss", loss] if how == "named" else []
    command = ["gradients", path, tmp_path / "x.npy", tmp_path / "y.npy", "-o", tmp_path / "g.h5"]
    status, stderr = zoo.command(*command, "--import", imported, *options)
    assert status == 0, stderr
    error = x @ kernel + bias - y
    wanted = (3 * np.sign(error) if loss == "Huberish" else 10 * error).sum(axis=0) / error.size
    with tfdump.open(tmp_path / "g.h5") as dump:
        np.testing.assert_allclose(dump["dense.bias"].read(), wanted, rtol=1e-4)


def test_without_the_import_the_class_is_named(tmp_path: Path, house: object) -> None:
    x = keras.Input((3,))
    path = saved(keras.Model(x, house.Scale(name="scale")(x)), tmp_path / "m.keras")
    sys.path.remove(str(tmp_path))
    status, stderr = zoo.command("layers", path)
    assert status == 2
    assert "'Scale'" in stderr
    assert "--import" in stderr
    assert stderr.count("\n") == 1


def test_without_the_import_the_registered_class_is_named(tmp_path: Path, house: object) -> None:
    x = keras.Input((3,))
    path = saved(keras.Model(x, house.Halve(name="halve")(x)), tmp_path / "m.keras")
    sys.path.remove(str(tmp_path))
    status, stderr = zoo.command("layers", path)
    assert status == 2
    assert "'Halve'" in stderr or "house>Renamed" in stderr
    assert "--import" in stderr
