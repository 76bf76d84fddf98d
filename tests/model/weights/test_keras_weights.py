"""The weights of Keras models: all of them, with the values in the file, under the addresses of the gradients."""

import io
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import tfdump
from support import tiny_models
from support.command import ROOT, SAMPLES, Run

pytestmark = pytest.mark.tensorflow

DATA = ROOT / "tests" / "data"
SAMPLE_INPUTS = {
    "digits_cnn": ("digits.npy", "digits_labels.npy"),
    "siamese": ("pairs.npz", "pairs_labels.npy"),
    "text_gru": ("text.npz", "text_labels.npy"),
    "twice": ("digits.npy", "digits_labels.npy"),
}
IMPORTS = {"twice": ("--import", SAMPLES / "twice.py")}


def stored_arrays(archive: Path) -> list[np.ndarray]:
    """Every array of the layers in a `.keras` archive, without the optimizer, metrics and states of random numbers."""
    arrays: list[np.ndarray] = []

    def collect(name: str, item: object) -> None:
        inside = not name.startswith(("optimizer", "metrics", "compile"))
        if isinstance(item, h5py.Dataset) and inside and "seed_generator" not in name:
            arrays.append(item[()])

    with zipfile.ZipFile(archive) as opened, h5py.File(io.BytesIO(opened.read("model.weights.h5"))) as file:
        file.visititems(collect)
    return arrays


def in_any_order(arrays: list[np.ndarray]) -> list[tuple[object, ...]]:
    """Arrays as texts that can be sorted."""
    return sorted((array.shape, str(array.dtype), array.tobytes()) for array in arrays)


@pytest.mark.parametrize("name", SAMPLE_INPUTS)
def test_samples_give_the_arrays_of_their_files_under_the_addresses_of_gradients(
    name: str, tfdump: Run, tmp_path: Path
) -> None:
    model, inputs = SAMPLES / f"{name}.keras", [SAMPLES / file for file in SAMPLE_INPUTS[name]]
    done = tfdump("weights", model, *IMPORTS.get(name, ()))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{name}.weights-dump.h5\n"
    assert done.stderr == ""
    options = ("--examples", "0:2", "--norms-only", "-o", "gradients.h5")
    assert tfdump("gradients", model, *inputs, *options, *IMPORTS.get(name, ())).returncode == 0
    with h5py.File(tmp_path / f"{name}.weights-dump.h5") as dump, h5py.File(tmp_path / "gradients.h5") as gradients:
        weights, differentiated = dump["weights"], gradients["gradients/weights"]
        assert in_any_order([item[()] for item in weights.values()]) == in_any_order(stored_arrays(model))
        frozen = [item["address"] for item in json.loads(gradients.attrs["not_captured"])]
        assert set(weights) <= {*differentiated, *frozen}
        assert [address for address in weights if weights[address].attrs["trainable"]] == list(differentiated)
        for address, gradient in differentiated.items():
            for attribute in ("layer", "structure", "class", "dtype"):
                assert weights[address].attrs[attribute] == gradient.attrs[attribute], (address, attribute)
            assert weights[address].attrs.get("aliases") == gradient.attrs.get("aliases")
        assert dump.attrs["kind"] == "weights"
        assert not {"examples", "batch_size", "seed", "training"} & set(dump.attrs)
        assert {item.attrs["axis0"] for item in weights.values()} == {"none"}
        assert [item.attrs["order"] for item in weights.values()] == list(range(len(weights)))


@pytest.fixture(scope="module")
def towers() -> keras.Model:
    """A shared layer, a layer around a layer, a recurrent layer in both directions, and frozen weights."""
    keras.utils.set_random_seed(3)
    x = keras.Input((5, 4), name="x")
    shared = keras.layers.Dense(4, name="shared")
    steps = keras.layers.TimeDistributed(keras.layers.Dense(4, name="inner"), name="steps")(shared(shared(x)))
    both = keras.layers.Bidirectional(keras.layers.LSTM(3, name="cell"), name="both")(steps)
    block = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, name="h")], name="block")
    model = keras.Model(x, block(keras.layers.BatchNormalization(name="bn")(both)), name="towers")
    model.get_layer("bn").trainable = False
    return model


def test_each_weight_has_the_value_of_its_own_variable(towers: keras.Model) -> None:
    weights = tfdump.weights(towers)
    layer, both = towers.get_layer, towers.get_layer("both")
    variables = {
        "shared.kernel": layer("shared").kernel,
        "shared.bias": layer("shared").bias,
        "steps.inner.kernel": layer("steps").layer.kernel,
        "steps.inner.bias": layer("steps").layer.bias,
        "both.forward_cell.lstm_cell.kernel": both.forward_layer.cell.kernel,
        "both.backward_cell.lstm_cell.recurrent_kernel": both.backward_layer.cell.recurrent_kernel,
        "bn.gamma": layer("bn").gamma,
        "bn.moving_variance": layer("bn").moving_variance,
        "block.h.kernel": layer("block").layers[-1].kernel,
    }
    for address, variable in variables.items():
        np.testing.assert_array_equal(weights[address], np.asarray(variable), err_msg=address)
    assert len(weights) == len(towers.weights)
    assert {name for name in weights if not weights.attributes[name]["trainable"]} == {
        f"bn.{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def test_a_selection_takes_layers_classes_and_depths(towers: keras.Model) -> None:
    assert list(tfdump.weights(towers, layers="shared")) == ["shared.kernel", "shared.bias"]
    assert list(tfdump.weights(towers, layers="type:BatchNormalization", exclude="*.moving_*")) == [
        "bn.gamma",
        "bn.beta",
    ]
    assert list(tfdump.weights(towers, layers=towers.get_layer("block"))) == ["block.h.kernel", "block.h.bias"]
    assert not any("cell" in name or "inner" in name for name in tfdump.weights(towers, depth=1))
    with pytest.raises(tfdump.TfdumpError, match=r"no layer matches 'shered'; near: 'shared.*tfdump weights MODEL"):
        tfdump.weights(towers, layers="shered")


def test_the_model_stays_as_it_is(towers: keras.Model) -> None:
    before = [np.asarray(variable).copy() for variable in towers.variables]
    tfdump.weights(towers)
    for value, variable in zip(before, towers.variables, strict=True):
        np.testing.assert_array_equal(value, np.asarray(variable))


@keras.saving.register_keras_serializable(package="untraceable")
class Untraceable(keras.Model):
    """A model that no graph can hold: it looks at its input as an array. One of its layers is never called."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.first, self.second = keras.layers.Dense(3, name="h"), keras.layers.Dense(2, name="g")
        self.blocks = [keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="h")], name="block")]

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.first.build(shape)
        self.second.build((None, 3))
        super().build(shape)

    def call(self, inputs: object) -> object:
        outputs: object = self.second(self.blocks[0](self.first(inputs.numpy())))
        return outputs


def test_without_a_trace_the_owners_of_the_layers_give_the_addresses(tmp_path: Path, tfdump: Run) -> None:
    model = Untraceable(name="odd")
    model(np.ones((2, 4), "float32"))
    model.save(tmp_path / "odd.keras")
    done = tfdump("weights", "odd.keras", "--trust-model")
    assert done.returncode == 0, done.stderr
    assert "so each address follows the layers that own the weight" in done.stderr
    with h5py.File(tmp_path / "odd.weights-dump.h5") as file:
        weights = {address: item[()] for address, item in file["weights"].items()}
    expected = {"h": model.first, "g": model.second, "block.h": model.blocks[0].layers[0]}
    assert set(weights) == {f"{layer}.{name}" for layer in expected for name in ("kernel", "bias")}
    for address, layer in expected.items():
        np.testing.assert_array_equal(weights[f"{address}.kernel"], layer.kernel)


def test_a_subclassed_model_is_built_by_loading(tmp_path: Path, tfdump: Run) -> None:
    case = tiny_models.nested()
    case.model.save(tmp_path / "nested.keras")
    done = tfdump("weights", "nested.keras", "--import", tiny_models.__file__)
    assert (done.returncode, done.stderr) == (0, "")
    with h5py.File(tmp_path / "nested.weights-dump.h5") as file:
        weights = {address: item[()] for address, item in file["weights"].items()}
    block = case.model.blocks[0]
    for address, layer in {"block.h": block.first, "block.h~1": block.second, "head": case.model.head}.items():
        np.testing.assert_array_equal(weights[f"{address}.kernel"], layer.kernel)
    assert in_any_order(list(weights.values())) == in_any_order(stored_arrays(tmp_path / "nested.keras"))


def test_models_without_weights_are_refused() -> None:
    with pytest.raises(tfdump.TfdumpError, match=r"'lazy' was never built, so it has no weights yet"):
        tfdump.weights(keras.Sequential([keras.layers.Dense(2)], name="lazy"))
    x = keras.Input((2,))
    with pytest.raises(
        tfdump.TfdumpError,
        match=r"^the model 'plain' has no weights: none of its layers has any \(there is nothing to dump\)$",
    ):
        tfdump.weights(keras.Model(x, keras.ops.relu(x), name="plain"))


def test_bfloat16_is_stored_wide_and_says_so(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16", name="d")])
    weights = tfdump.weights(model)
    assert weights["d.kernel"].dtype == np.float32
    assert weights.attributes["d.kernel"]["dtype"] == "bfloat16"
    assert weights.attributes["d.kernel"]["stored_as"] == "float32"
    np.testing.assert_array_equal(weights["d.kernel"], np.asarray(model.layers[0].kernel, np.float32))


HOUSE = DATA / "keras2_house.py"


@pytest.mark.parametrize("name", ["keras2.h5", "keras2_13.keras"])
def test_models_of_keras_2_give_the_arrays_of_their_files(name: str, tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("weights", DATA / name, "--import", HOUSE, "-o", "w.h5")
    assert done.returncode == 0, done.stderr
    if name.endswith(".keras"):
        expected = stored_arrays(DATA / name)
    else:
        items: list[object] = []
        with h5py.File(DATA / name) as file:
            file["model_weights"].visititems(lambda _, item: items.append(item))
            expected = [item[()] for item in items if isinstance(item, h5py.Dataset)]
    with h5py.File(tmp_path / "w.h5") as dump:
        weights = [item[()] for item in dump["weights"].values()]
    assert not [text for text in in_any_order(weights) if text not in in_any_order(expected)]
    assert len(weights) > 4
