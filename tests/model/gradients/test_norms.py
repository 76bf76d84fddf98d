"""Norms of float64 gradients whose squares leave float64."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import tfdump
from support.command import Run
from support.tiny_models import floats

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

SCALE = 1e200


def squared() -> keras.Model:
    """Two layers of float64; the gradient of the sum is the kernel of the second times the input, by hand."""
    x = keras.Input((3,), dtype="float64", name="x")
    first = keras.layers.Dense(2, dtype="float64", name="first")
    second = keras.layers.Dense(1, dtype="float64", name="second")
    model = keras.Model(x, second(first(x)))
    first.set_weights([floats(3, 2, seed=1).astype("float64") * SCALE, np.zeros(2)])
    second.set_weights([floats(2, 1, seed=2).astype("float64") * SCALE, np.zeros(1)])
    return model


def norms_by_hand(model: keras.Model, x: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Of the weights, and of the input row by row, in numbers that do not overflow."""
    first, second = (model.get_layer(name).get_weights()[0] / SCALE for name in ("first", "second"))
    kernel = np.outer(x.sum(0), second[:, 0])
    weights = {
        "first.kernel": np.linalg.norm(kernel),
        "first.bias": np.linalg.norm(second) * len(x),
        "second.kernel": np.linalg.norm(x.sum(0) @ first),
        "second.bias": len(x) / SCALE,
    }
    return {name: float(norm) for name, norm in weights.items()}, np.full(len(x), np.linalg.norm(second))


@pytest.mark.parametrize("batch_size", [None, 2])
def test_norms_of_weights_and_rows_are_finite_where_they_are(batch_size: int | None) -> None:
    model, x = squared(), floats(5, 3).astype("float64")
    weights, rows = norms_by_hand(model, x)
    gradients = tfdump.gradients(
        model, x, objective="sum", wrt=("weights", "activations"), norms_only=True, batch_size=batch_size
    )
    for name, norm in weights.items():
        np.testing.assert_allclose(gradients.weights[name], norm * SCALE, rtol=1e-6)
    np.testing.assert_allclose(gradients.activations["first"], rows * SCALE, rtol=1e-6)


def test_the_norm_of_all_gradients_is_finite_too(tfdump: Run, tmp_path: Path) -> None:
    model, x = squared(), floats(5, 3).astype("float64")
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", x)
    done = tfdump("gradients", "m.keras", "x.npy", "--objective", "sum", "--norms-only", "-o", "d.h5")
    assert done.returncode == 0, done.stderr
    assert "infinite" not in done.stderr
    weights, _ = norms_by_hand(model, x)
    with h5py.File(tmp_path / "d.h5") as file:
        total = np.linalg.norm(list(weights.values())) * SCALE
        np.testing.assert_allclose(file.attrs["gradient_norm"], total, rtol=1e-6)
        for name, norm in weights.items():
            np.testing.assert_allclose(file[f"gradients/weights/{name}"].attrs["norm"], norm * SCALE, rtol=1e-6)
