"""`.tflite` files run on LiteRT where it is installed, without TensorFlow, else on TensorFlow's interpreter."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from support.light_runs import run_apart, site_without
from support.saved_formats import lite, sample

pytestmark = pytest.mark.tensorflow

HEAVY = {"tensorflow", "keras"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float and an int8 file of the sample model, its Keras file, and some inputs."""
    folder = tmp_path_factory.mktemp("lite")
    model, dice = sample("digits_cnn"), np.random.default_rng(3)
    for layer in model.layers:
        layer.set_weights([dice.uniform(0.2, 1.0, weight.shape) for weight in layer.get_weights()])
    x = dice.uniform(0, 1, (20, 8, 8, 1)).astype("f4")
    np.save(folder / "x.npy", x)
    model.save(folder / "model.keras")
    lite(model, folder / "float.tflite")
    lite(model, folder / "int8.tflite", "int8_inside", x)
    return folder


@pytest.fixture(scope="module")
def without_litert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_without(tmp_path_factory.mktemp("packages") / "site", "ai_edge_litert")


@pytest.mark.parametrize(
    "words",
    [
        ("layers", "float.tflite", "--json"),
        ("layers", "int8.tflite", "x.npy"),
        ("activations", "int8.tflite", "x.npy", "-o", "light.h5", "-f", "--dequantize"),
        ("activations", "float.tflite", "x.npy", "-o", "light.h5", "-f", "--resume"),
    ],
)
def test_a_tflite_file_runs_without_tensorflow(folder: Path, words: tuple[str, ...]) -> None:
    done, packages = run_apart(words, folder)
    assert done.returncode == 0, done.stderr
    assert not packages & HEAVY
    assert "ai_edge_litert" in packages


@pytest.mark.parametrize("words", [("layers", "model.keras"), ("layers", "float.tflite", "--import", "./code.py")])
def test_what_needs_keras_is_seen_to_import_it(folder: Path, words: tuple[str, ...]) -> None:
    (folder / "code.py").write_text("")
    done, packages = run_apart(words, folder)
    assert done.returncode == 0, done.stderr
    assert packages >= HEAVY


def test_gradients_are_refused_before_tensorflow_is_imported(folder: Path) -> None:
    done, packages = run_apart(
        ("gradients", "float.tflite", "x.npy", "--wrt", "inputs", "--objective", "sum", "-o", "g.h5"), folder
    )
    assert done.returncode == 2
    assert "have no gradients" in done.stderr
    assert not packages & HEAVY


@pytest.mark.parametrize("name", ["float", "int8"])
def test_both_runtimes_give_the_same_dump(folder: Path, without_litert: Path, name: str) -> None:
    for target, site in (("with.h5", None), ("without.h5", without_litert)):
        words = ("activations", f"{name}.tflite", "x.npy", "-f", "-o", target, "--batch-size", 8)
        done, packages = run_apart(words, folder, site)
        assert done.returncode == 0, done.stderr
        assert ("tensorflow" in packages) == (site is not None)
    with h5py.File(folder / "with.h5") as light, h5py.File(folder / "without.h5") as heavy:
        assert list(light["activations"]) == list(heavy["activations"])
        for group in ("activations", "outputs"):
            for address, tensor in heavy[group].items():
                other = light[group][address]
                assert dict(other.attrs).keys() == dict(tensor.attrs).keys()
                np.testing.assert_allclose(other[()], tensor[()], rtol=0 if name == "int8" else 1e-5)
        assert light.attrs["runtime"] == "ai-edge-litert"
        assert (heavy.attrs["runtime"], heavy.attrs["runtime_version"]) == ("tensorflow", tf.__version__)
        assert not {"tensorflow_version", "keras_version"} & light.attrs.keys()
        assert heavy.attrs["keras_version"] == keras.__version__
        assert light.attrs["numpy_version"] == np.__version__


def test_a_litert_that_is_too_old_is_named(folder: Path, without_litert: Path, tmp_path: Path) -> None:
    site = site_without(tmp_path / "site", "ai_edge_litert")
    about = site / "ai_edge_litert-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ai-edge-litert\nVersion: 1.0\n")
    done, _ = run_apart(("layers", "float.tflite"), folder, site)
    assert done.returncode == 2
    assert done.stderr == ("Error: tfdump needs LiteRT 2.1 or newer, found 1.0 (pip install 'ai-edge-litert>=2.1')")


def test_the_light_list_is_that_of_the_other_runtime(folder: Path, without_litert: Path) -> None:
    listings = [
        json.loads(run_apart(("layers", "float.tflite", "--json"), folder, site)[0].stdout)
        for site in (None, without_litert)
    ]
    assert listings[0] == listings[1]
    assert "hidden" in {item["address"] for item in listings[0]["items"]}
