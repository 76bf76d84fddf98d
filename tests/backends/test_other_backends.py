"""Keras on JAX and on PyTorch, and another version of Keras: every tensor against eager TensorFlow."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import tfdump
from support.backend_models import MODELS, run_file, run_here, save_with_own_layer, saved
from support.command import ROOT, SAMPLES, Run
from tfdump.model.backends.options import Backend
from tfdump.model.backends.process import BackendProcess

pytestmark = [pytest.mark.backends, pytest.mark.tensorflow]

BACKENDS = ("jax", "torch")

OLD = ROOT / "tests" / "data" / "keras-3.10"
"""Files that Keras 3.10 wrote, which the environment `keras` has, and what it computed."""

X64 = ("int64", "int32")
"""JAX computes in 32 bits unless it is told otherwise."""


@pytest.fixture(scope="module", params=BACKENDS)
def process(request: pytest.FixtureRequest, python_with: Callable[[str], Path]) -> Iterator[BackendProcess]:
    process = BackendProcess(Backend(request.param, str(python_with(request.param))))
    process.ask("start", backend=request.param, seed=0)
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_backends_are_compared(backend: str, tfdump: Run, python_with: Callable[[str], Path]) -> None:
    model, python = SAMPLES / "digits_cnn.keras", python_with(backend)
    words = ("--examples", "0:20", "--new-backend", backend, "--new-backend-python", python)
    done = tfdump("compare", model, model, SAMPLES / "digits.npy", *words)
    assert done.returncode == 0, done.stderr
    assert "agree in 14 tensors" in done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dump_tells_what_computed_it_and_repeats(
    backend: str, tfdump: Run, python_with: Callable[[str], Path], tmp_path: Path
) -> None:
    save_with_own_layer(tmp_path, "return x + keras.random.uniform(keras.ops.shape(x))")
    words = ("m.keras", "x.npy", "--import", "mine.py", "--backend", backend, "--backend-python", python_with(backend))
    for file in ("a.h5", "b.h5"):
        done = tfdump("activations", *words, "-o", file)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["runtime"] == backend
        assert file.attrs["runtime_version"]
        assert file.attrs["keras_version"] == "3.15.1"
        assert "tensorflow_version" not in file.attrs
        added = file["activations/own"][:] - np.load(tmp_path / "x.npy")
    assert np.all((added >= 0) & (added <= 1))
    assert len(np.unique(added)) > 1


@pytest.mark.parametrize("name", sorted(path.name for path in OLD.iterdir() if path.suffix != ".npz"))
def test_another_version_of_keras_gives_what_it_gave_when_the_file_was_written(
    name: str, python_with: Callable[[str], Path]
) -> None:
    with np.load(OLD / "expected.npz") as expected:
        x = expected[f"{name}/x"]
        layers = {key.partition(":")[2]: expected[key] for key in expected if key.startswith(f"{name}/act:")}
    got = tfdump.activations(OLD / name, x, backend_python=python_with("keras"))
    assert layers.keys() <= got.keys()
    for address, values in layers.items():
        np.testing.assert_allclose(got[address], values, rtol=1e-6, atol=1e-7)


def test_two_versions_of_keras_are_compared(tfdump: Run, python_with: Callable[[str], Path], tmp_path: Path) -> None:
    with np.load(OLD / "expected.npz") as expected:
        np.save(tmp_path / "x.npy", expected["nested.keras/x"])
    model, words = OLD / "nested.keras", ("--golden-backend-python", python_with("keras"), "-o", "both")
    done = tfdump("compare", model, model, "x.npy", *words)
    assert done.returncode == 0, done.stderr
    assert "keras_version 3.10.0, 3.15.1" in done.stderr
    with h5py.File(tmp_path / "both" / "golden.h5") as golden, h5py.File(tmp_path / "both" / "new.h5") as new:
        assert (golden.attrs["keras_version"], golden.attrs["tensorflow_version"]) == ("3.10.0", "2.19.0")
        assert new.attrs["keras_version"] == keras.__version__


def test_a_file_of_a_newer_keras_is_told_from_a_damaged_one(tfdump: Run, python_with: Callable[[str], Path]) -> None:
    words = (SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy", "--backend-python", python_with("keras"))
    done = tfdump("activations", *words, "-o", "d.h5")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: cannot load ")
    assert "it was saved by Keras 3.15.1, and" in line
    assert "has Keras 3.10.0" in line


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
