"""Keras on JAX and on PyTorch, and another version of Keras: every tensor against eager TensorFlow."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support.backend_models import MODELS, run_file, run_here, save_with_own_layer, saved
from support.command import SAMPLES, Run
from support.converted_models import randomized
from tfdump.model.backends.options import Backend
from tfdump.model.backends.process import BackendProcess

pytestmark = [pytest.mark.backends, pytest.mark.tensorflow]

PYTHONS = {"jax": ("jax", "jax"), "torch": ("torch", "torch"), "keras": ("tensorflow", "keras")}
"""The environments: the backend, and what the environment is called."""

X64 = ("int64", "int32")
"""JAX computes in 32 bits unless it is told otherwise."""


@pytest.fixture(scope="module", params=PYTHONS)
def process(request: pytest.FixtureRequest, python_with: Callable[[str], Path]) -> Iterator[BackendProcess]:
    backend, name = PYTHONS[request.param]
    process = BackendProcess(Backend(backend, str(python_with(name))))
    process.ask("start", backend=backend, seed=0)
    yield process
    process.close()


def tolerance(dtype: Any) -> float:
    return 1e-2 if "bfloat16" in str(dtype) else 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_is_that_of_eager_tensorflow(process: BackendProcess, name: str, tmp_path: Path) -> None:
    path, x = saved(name, tmp_path)
    elsewhere, here = run_file(process, path, x), run_here(path, x)
    assert list(elsewhere.infos) == list(here.infos)
    for key, info in here.infos.items():
        other = elsewhere.infos[key]
        assert (other.shape, other.structure, other.classes[0], other.inputs, other.attributes) == (
            info.shape, info.structure, info.classes[0], info.inputs, info.attributes
        ), key  # fmt: skip
        assert other.dtype == info.dtype or (process.backend.name == "jax" and (info.dtype, other.dtype) == X64)
        value, expected = np.asarray(elsewhere.values[key], "float64"), np.asarray(here.values[key], "float64")
        assert np.linalg.norm(value - expected) <= tolerance(info.dtype) * max(1e-6, np.linalg.norm(expected)), key


@pytest.mark.parametrize("name", PYTHONS)
def test_two_versions_or_backends_are_compared(name: str, tfdump: Run, python_with: Callable[[str], Path]) -> None:
    backend, environment = PYTHONS[name]
    model, python = SAMPLES / "digits_cnn.keras", python_with(environment)
    words = ("--new-backend-python", python) if backend == "tensorflow" else (
        "--new-backend", backend, "--new-backend-python", python
    )  # fmt: skip
    done = tfdump("compare", model, model, SAMPLES / "digits.npy", "--examples", "0:20", *words)
    assert done.returncode == 0, done.stderr
    assert "agree in 14 tensors" in done.stdout + done.stderr


@pytest.mark.parametrize("name", PYTHONS)
def test_a_dump_tells_what_computed_it_and_repeats(
    name: str, tfdump: Run, python_with: Callable[[str], Path], tmp_path: Path
) -> None:
    backend, environment = PYTHONS[name]
    x = keras.Input((4,), name="x")
    noise = layers.Dropout(0.5, name="drop")(layers.Dense(3, name="dense")(x), training=True)
    randomized(keras.Model(x, layers.Dense(2, name="out")(noise))).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.ones((6, 4), "f4"))
    words = ("m.keras", "x.npy", "--backend", backend, "--backend-python", python_with(environment))
    for file in ("a.h5", "b.h5"):
        done = tfdump("activations", *words, "-o", file)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["runtime"] == backend
        assert file.attrs["runtime_version"]
        assert file.attrs["keras_version"] == ("3.10.0" if name == "keras" else "3.15.1")
        assert ("tensorflow_version" in file.attrs) == (backend == "tensorflow")
        assert json.loads(file.attrs["not_captured"]) == []
        dropped = file["activations/drop"][:]
    assert 0 < np.sum(dropped == 0) < dropped.size


def test_a_layer_of_the_user_may_need_the_backend(
    python_with: Callable[[str], Path], tfdump: Run, tmp_path: Path
) -> None:
    """A custom layer in `jax.numpy`, which this environment lacks."""
    save_with_own_layer(tmp_path, "return jnp.power(x, 3)", "import jax.numpy as jnp")
    words = ("activations", "m.keras", "x.npy", "--backend", "jax", "--backend-python", python_with("jax"))
    done = tfdump(*words, "--import", "mine.py", "-o", "d.h5")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["activations/own"][:], np.load(tmp_path / "x.npy") ** 3)


def test_python_takes_the_same_arguments(python_with: Callable[[str], Path]) -> None:
    model, x = SAMPLES / "digits_cnn.keras", np.load(SAMPLES / "digits.npy")[:4]
    here = tfdump.activations(model, x)
    there = tfdump.activations(model, x, backend="torch", backend_python=python_with("torch"))
    assert list(here) == list(there)
    for address, values in here.items():
        np.testing.assert_allclose(there[address], values, rtol=1e-4, atol=1e-5)
