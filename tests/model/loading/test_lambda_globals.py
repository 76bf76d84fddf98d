"""The names that the code of a Lambda layer finds under `--trust-model`: a file holds its code, not its module."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.src.utils import python_utils

from support import zoo
from support.tiny_models import floats
from tfdump.errors import UntrustedModelError
from tfdump.model.loading.load import load_model

pytestmark = pytest.mark.tensorflow

K = tf.keras.backend
FACTOR = 3.0  # of the module of this test, which the command does not know


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's with a function and a number."""
    (tmp_path / "house.py").write_text("FACTOR = 5.0\ndef shifted(x):\n    return x + FACTOR\n")
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("house", None)  # another test's module may bear the name
    yield tmp_path / "house.py"
    sys.modules.pop("house", None)


def saved(path: Path, function: Any, how: str = "plain") -> Path:
    """Save a model whose layer `mine` calls a function."""
    mine = layers.Lambda(function, name="mine")
    x = keras.Input((4,))
    if how == "nested":
        inner_input = keras.Input((4,))
        y = keras.Model(inner_input, mine(inner_input), name="inner")(x)
    else:
        y = mine(x)
    keras.Model(x, y).save(path)
    return path


def shifted(x: Any) -> Any:
    return x + FACTOR


FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "tf": (lambda x: tf.nn.relu(x) + 0, lambda x: np.maximum(x, 0)),
    "np": (lambda x: x * np.float32(2), lambda x: x * 2),
    "keras": (lambda x: keras.ops.abs(x) + 0, np.abs),
    "K": (lambda x: K.square(x) + 0, np.square),
    "inner": (lambda x: tf.map_fn(lambda y: tf.abs(y) + 0, x), np.abs),
}


@pytest.mark.parametrize("how", ["plain", "nested"])
@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_usual_names(tmp_path: Path, name: str, ending: str, how: str) -> None:
    function, by_hand = FUNCTIONS[name]
    path = saved(tmp_path / f"m.{ending}", function, how)
    x = floats(3, 4)
    dump = zoo.dumped(path, x, "--trust-model")
    address = "inner.mine" if how == "nested" else "mine"
    np.testing.assert_allclose(dump.values[address], by_hand(x), rtol=1e-6)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("importing", ["house", "house.py"])
def test_the_names_of_an_imported_module(house: Path, ending: str, importing: str) -> None:
    path = saved(house.parent / f"m.{ending}", lambda x: shifted(x) * FACTOR)
    x = floats(3, 4)
    dump = zoo.dumped(path, x, "--trust-model", "--import", importing)
    np.testing.assert_allclose(dump.values["mine"], (x + 5) * 5, rtol=1e-6)


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_name_that_is_nowhere_is_an_error_that_says_how(tmp_path: Path, ending: str) -> None:
    path = saved(tmp_path / f"m.{ending}", lambda x: shifted(x) + 0)
    status, stderr = zoo.command("layers", path, "--trust-model")
    assert status == 2
    assert stderr.count("\n") == 1
    assert "'shifted'" in stderr
    assert "--import" in stderr


@keras.saving.register_keras_serializable(package="lambda_globals")
class Late(keras.Model):
    """A model that calls its Lambda layer only when it is run."""

    def __init__(self, mine: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mine = mine if mine is not None else layers.Lambda(lambda x: shifted(x) + 0, name="mine")

    def call(self, x: Any) -> Any:
        return self.mine(x)

    def get_config(self) -> dict[str, Any]:
        return {"mine": keras.saving.serialize_keras_object(self.mine)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Late":
        return cls(keras.saving.deserialize_keras_object(config["mine"]))

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.built = True


def test_a_layer_that_is_called_only_when_the_model_runs(house: Path) -> None:
    model = Late()
    x = floats(3, 4)
    model(x)
    path = house.parent / "m.keras"
    model.save(path)
    np.save(house.parent / "x.npy", x)
    dump = zoo.dumped(path, x, "--trust-model", "--import", "house")
    np.testing.assert_allclose(dump.values["mine"], x + 5, rtol=1e-6)
    status, stderr = zoo.command("activations", path, "x.npy", "--trust-model", "-o", "d.h5")
    assert status == 2
    assert "'shifted'" in stderr
    assert "--import" in stderr


def test_nothing_of_it_stays_behind(house: Path) -> None:
    before = dict(vars(python_utils))
    load_model(saved(house.parent / "m.keras", lambda x: tf.abs(x) + 0), trust=True)
    assert dict(vars(python_utils)) == before


def test_without_trust_nothing_changes(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.keras", lambda x: tf.abs(x) + 0)
    with pytest.raises(UntrustedModelError, match="--trust-model"):
        load_model(path)
