"""NaN and Inf planted in a layer of the user's own, in the second of two branches, found by operation and line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from support.command import Run

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

CODE = """
import keras
from keras import layers, ops

register = keras.saving.register_keras_serializable("faulty")


@register
class Logarithm(layers.Layer):
    def call(self, x):
        shifted = x - 0.25
        return 2.0 * ops.log(shifted)


@register
class MaskedMean(layers.Layer):
    def call(self, x):
        counts = ops.cast(x > 0.0, x.dtype)
        total = ops.sum(x * counts, axis=-1, keepdims=True)
        number = ops.sum(counts, axis=-1, keepdims=True)
        return ops.add(total / number, 0.0 * x)


@register
class Half(layers.Layer):
    def call(self, x):
        half = ops.cast(x, "float16")
        return ops.cast(half * half, "float32")


@register
class Root(layers.Layer):
    def call(self, x):
        squares = ops.square(x)
        return ops.sqrt(squares)
"""


@dataclass(frozen=True)
class Fault:
    """A faulty layer: the values of the example 17 that set it off, and what has to be found."""

    layer: str
    values: tuple[float, ...]
    check: str
    tensor: str
    line: str
    message: str


FAULTS = (
    Fault("Logarithm", (0.5, 0.125, 1.0), "nan", "faulty:op.Log", "ops.log",
          "its input 'faulty:op.sub' is -0.125 there"),
    Fault("MaskedMean", (-1.0, -2.0, -1.5), "nan", "faulty:op.truediv", "total / number",
          "its inputs 'faulty:op.Sum' is 0 and 'faulty:op.Sum_1' is 0 there"),
    Fault("Half", (1.0, 300.0, 2.0), "inf", "faulty:op.mul", "half * half", "its input 'faulty:op.Cast' is 300 there"),
)  # fmt: skip


def line_of(text: str) -> str:
    return f"faulty_layers.py:{next(n for n, line in enumerate(CODE.splitlines(), 1) if text in line)}"


@pytest.fixture
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A model of two branches, of which the second one, with the faulty layer, runs last."""
    (tmp_path / "faulty_layers.py").write_text(CODE)
    space: dict[str, Any] = {}
    exec(CODE, space)
    x = keras.Input((3,), name="x")
    left = layers.Dense(3, activation="tanh", name="left")(x)
    left = layers.Dense(3, name="left_again")(left)
    right = space[request.param](name="faulty")(layers.Rescaling(1.0, name="as_it_is")(x))
    model = keras.Model(x, layers.Dense(2, name="out")(layers.Concatenate(name="both")([left, right])))
    model.save(tmp_path / "m.keras")
    return model


def inputs(values: tuple[float, ...]) -> np.ndarray:
    """Thirty clean examples but for number 17."""
    x = np.random.default_rng(0).uniform(0.5, 2.0, (30, 3)).astype("float32")
    x[17] = values
    return x


@pytest.mark.parametrize(("model", "fault"), [(fault.layer, fault) for fault in FAULTS], indirect=["model"])
def test_the_operation_the_line_and_what_went_in(tfdump: Run, tmp_path: Path, model: Any, fault: Fault) -> None:
    np.save(tmp_path / "x.npy", inputs(fault.values))
    done = tfdump("activations", "m.keras", "x.npy", "--import", "faulty_layers.py", "--ops", "-o", "d.h5")
    assert done.returncode == 0, done.stderr
    done = tfdump("check", "d.h5", "--json")
    assert done.returncode == 1
    origins = [one for one in json.loads(done.stdout)["origins"] if one["check"] == fault.check]
    assert [one["tensor"] for one in origins] == [f"activations/{fault.tensor}"], origins
    assert (origins[0]["example"], origins[0]["source"]) == (17, line_of(fault.line))
    assert fault.message in origins[0]["message"]
    assert f"{line_of(fault.line)}), example 17" in origins[0]["message"]


@pytest.mark.parametrize("model", ["Root"], indirect=True)
def test_a_root_of_zero_on_the_way_back(tfdump: Run, tmp_path: Path, model: Any) -> None:
    np.save(tmp_path / "x.npy", inputs((1.0, 0.0, 2.0)))
    done = tfdump(
        "gradients", "m.keras", "x.npy", "--import", "faulty_layers.py", "--ops", "--objective", "sum",
        "--wrt", "activations", "-o", "d.h5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = tfdump("check", "d.h5", "--json")
    assert done.returncode == 1
    origins = {one["check"]: one for one in json.loads(done.stdout)["origins"]}
    infinite = origins["inf"]
    assert infinite["tensor"] == "gradients/activations/faulty:op.Square"
    assert "backward through 'faulty' (Sqrt, " + line_of("ops.sqrt") in infinite["message"]
    assert origins["nan"]["tensor"] == "gradients/activations/as_it_is"
    assert "backward through 'faulty:op.Square' (" + line_of("ops.square") in origins["nan"]["message"]
