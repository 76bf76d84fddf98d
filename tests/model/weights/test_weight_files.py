"""Files of weights alone: under the paths in the file, or under the addresses of a model that they fit."""

import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import tfdump
from support.command import Run
from support.light_runs import run_apart
from tfdump.model.keras_internals import legacy_h5_format

pytestmark = pytest.mark.tensorflow


def network(units: int = 4, extra: bool = False, name: str = "net") -> keras.Model:
    x = keras.Input((3,))
    h = keras.layers.BatchNormalization(name="bn")(keras.layers.Dense(units, name="hidden")(x))
    block = keras.Sequential([keras.Input((units,)), keras.layers.Dense(units, name="inner")], name="block")
    h = keras.layers.Dropout(0.5, name="drop")(block(h))
    h = keras.layers.Dense(5, name="more")(h) if extra else h
    return keras.Model(x, keras.layers.Dense(2, name="last")(h), name=name)


def randomized(model: keras.Model, seed: int) -> keras.Model:
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.standard_normal(variable.shape))
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and the weights of another training of it: in one file, in shards, and in the form of Keras 2."""
    folder = tmp_path_factory.mktemp("files")
    randomized(network(), 1).save(folder / "net.keras")
    other = randomized(network(), 2)
    other.compile("adam", "mse")
    other.optimizer.build(other.trainable_variables)
    other.optimizer.apply([keras.ops.ones_like(v) for v in other.trainable_variables])
    other.save(folder / "other.keras")
    other.save_weights(folder / "other.weights.h5")
    other.save_weights(folder / "shards.weights.json", max_shard_size=1.5e-7)
    with h5py.File(folder / "legacy.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, other)
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    """A copy of the files in the folder in which the command runs."""
    return Path(shutil.copytree(files, tmp_path, dirs_exist_ok=True))


def addresses(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights of the network by their addresses."""
    values = {weight.path.replace("/", "."): np.asarray(weight) for weight in model.weights}
    return {name.replace("inner", "block.inner"): value for name, value in values.items()}


@pytest.mark.parametrize("file", ["other.weights.h5", "shards.weights.json", "legacy.h5"])
def test_like_gives_the_addresses_and_values_of_the_model(file: str, folder: Path, tfdump: Run) -> None:
    expected = addresses(keras.models.load_model(folder / "other.keras"))
    done = tfdump("weights", file, "--like", "net.keras", "-o", "w.h5")
    assert (done.stderr, done.returncode) == ("", 0)
    with h5py.File(folder / "w.h5") as dump:
        weights = {address: item[()] for address, item in dump["weights"].items()}
        assert dump.attrs["model"] == file
        assert dump["weights/block.inner.kernel"].attrs["class"] == "Dense"
    assert set(weights) == set(expected)
    for address, value in expected.items():
        np.testing.assert_array_equal(weights[address], value)


def test_the_model_of_like_in_memory_stays_as_it_is(folder: Path) -> None:
    model = randomized(network(), 3)
    before = [np.asarray(variable).copy() for variable in model.variables]
    weights = tfdump.weights(folder / "other.weights.h5", like=model, layers="last")
    assert list(weights) == ["last.kernel", "last.bias"]
    assert (weights["last.kernel"] != np.asarray(model.get_layer("last").kernel)).all()
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, np.asarray(variable))


def test_like_also_names_the_variables_of_the_optimizer(folder: Path, tfdump: Run) -> None:
    done = tfdump("weights", "other.weights.h5", "--like", "other.keras", "--optimizer", "-o", "w.h5")
    assert (done.stderr, done.returncode) == ("", 0)
    with h5py.File(folder / "w.h5") as dump, h5py.File(folder / "other.weights.h5") as file:
        assert dump["optimizer/iteration"][()] == 1
        np.testing.assert_array_equal(dump["optimizer/momentum/hidden.kernel"], file["optimizer/vars/2"])


def test_a_model_in_memory_names_the_variables_of_the_optimizer_too(folder: Path) -> None:
    model = network()
    model.compile("adam", "mse")
    held = tfdump.weights(folder / "other.weights.h5", like=model, optimizer=True).optimizer
    from_file = tfdump.weights(folder / "other.weights.h5", like=folder / "other.keras", optimizer=True).optimizer
    assert list(held) == list(from_file)
    for name, value in from_file.items():
        np.testing.assert_array_equal(held[name], value)


def test_a_model_in_memory_keeps_its_optimizer_and_its_metrics(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    model = network()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0)
    before = [
        np.array(variable) for variable in (*model.variables, *model.metrics_variables, *model.optimizer.variables)
    ]
    tfdump.weights(folder / "other.weights.h5", like=model)
    after = [
        np.array(variable) for variable in (*model.variables, *model.metrics_variables, *model.optimizer.variables)
    ]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    unbuilt = network()
    unbuilt.compile("adam", "mse")
    tfdump.weights(folder / "other.weights.h5", like=unbuilt)
    assert len(unbuilt.optimizer.variables) == 2
    assert unbuilt.optimizer.iterations == 0
    assert not [str(warning.message) for warning in recwarn if issubclass(warning.category, UserWarning)]


def test_a_file_or_a_model_without_an_optimizer(folder: Path, tfdump: Run) -> None:
    done = tfdump("weights", "other.weights.h5", "--like", "net.keras", "--optimizer", "-o", "w.h5")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: --optimizer: the model of --like has no optimizer, which would tell what the variables in "
        "other.weights.h5 are (pass a model that was compiled before it was saved)\n",
    )
    network().save_weights(folder / "plain.weights.h5")
    done = tfdump("weights", "plain.weights.h5", "--like", "other.keras", "--optimizer", "-o", "w.h5")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: --optimizer: plain.weights.h5 holds no variables of an optimizer (compile the model before you save "
        "its weights)\n",
    )
    assert not (folder / "w.h5").exists()


@pytest.mark.parametrize("file", ["other.weights.h5", "shards.weights.json", "legacy.h5"])
def test_without_a_model_the_paths_in_the_file_are_the_addresses(file: str, folder: Path) -> None:
    done, packages = run_apart(("weights", file, "-o", "w.h5"), folder)
    assert (done.returncode, packages & {"tensorflow", "keras"}) == (0, set())
    assert f"addresses are the paths in {file}" in done.stderr
    shards = sorted(folder.glob("shards_*.weights.h5")) if file.endswith("json") else [folder / file]
    assert len(shards) > 1 or not file.endswith("json")
    expected: dict[str, Any] = {}
    for shard in shards:
        with h5py.File(shard) as opened:
            opened.visititems(lambda name, item: expected.update({name: item[()]} if hasattr(item, "dtype") else {}))
    expected = {name: value for name, value in expected.items() if not name.startswith("optimizer")}
    expected = {name: value for name, value in expected.items() if "seed_generator" not in name}
    with h5py.File(folder / "w.h5") as dump:
        assert set(dump["weights"]) == {name.replace("/", ".") for name in expected}
        for name, value in expected.items():
            np.testing.assert_array_equal(dump["weights"][name.replace("/", ".")][()], value)
        assert "tensorflow_version" not in dump.attrs
        assert "keras_version" not in dump.attrs
        if file == "other.weights.h5":
            assert dump["weights/layers.dense.vars.0"].attrs["layer_name"] == "hidden"
            assert "trainable" not in dump["weights/layers.dense.vars.0"].attrs


def test_layers_can_be_selected_where_the_file_names_them(folder: Path, tfdump: Run) -> None:
    assert tfdump("weights", "other.weights.h5", "-l", "hidden", "-o", "w.h5").returncode == 0
    with h5py.File(folder / "w.h5") as dump:
        assert list(dump["weights"]) == ["layers.dense.vars.0", "layers.dense.vars.1"]
    for pattern in ("block.inner", "type:Dense"):
        done = tfdump("weights", "other.weights.h5", "-l", pattern)
        assert done.returncode == 2
        assert re.search(r"\nError: no layer .*add --like MODEL; list the paths: tfdump w.*\n$", done.stderr)
    for option in ("--dequantize", "--optimizer"):
        done = tfdump("weights", "other.weights.h5", option)
        assert done.stderr.startswith(f"Error: {option} needs the model, and")


MISFITS = (
    ({"units": 6}, "hidden.kernel has the shape (3, 6) in the model, and (3, 4) in the file (layers/dense/vars/0)"),
    ({"extra": True}, "more.kernel has the shape (4, 5) in the model, and (4, 2) in the file (layers/dense_1/vars/0)"),
)
"""Changes of the network; where a layer was added, it stands in the place of the last one."""


@pytest.mark.parametrize(("changes", "text"), MISFITS)
def test_another_architecture_is_one_line_with_the_first_weight(
    changes: dict[str, Any], text: str, folder: Path, tfdump: Run
) -> None:
    network(**changes).save(folder / "wrong.keras")
    done = tfdump("weights", "other.weights.h5", "--like", "wrong.keras")
    assert (done.returncode, done.stderr) == (
        2,
        f"Error: other.weights.h5 does not fit wrong.keras: {text} (pass the model from which it was saved)\n",
    )


def test_a_file_with_more_layers_than_the_model_does_not_fit(folder: Path, tfdump: Run) -> None:
    x = keras.Input((3,))
    keras.Model(x, keras.layers.Dense(4, name="hidden")(x)).save(folder / "small.keras")
    done = tfdump("weights", "other.weights.h5", "--like", "small.keras")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the file holds layers/batch_normalization/vars/0 of the layer 'bn', and the model has no such weight" in (
        done.stderr
    )
    done = tfdump("weights", "legacy.h5", "--like", "small.keras")
    assert done.returncode == 2
    assert "the file holds a layer 'bn', and the model has none of this name" in done.stderr


def test_missing_shards_are_named(folder: Path, tfdump: Run) -> None:
    shards = sorted(folder.glob("shards_*.weights.h5"))
    shards[1].unlink()
    for options in ((), ("--like", "net.keras")):
        done = tfdump("weights", "shards.weights.json", *options)
        assert done.returncode == 2
        assert f"shards.weights.json needs {shards[1].name}, which is missing ({len(shards) - 1} of" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no index of weights"),
        ('{"weight_map": {}}', "is no index of weights"),
        ('{"weight_map": {"/vars": 3}}', "is no index of weights"),
        ('{"weight_map": {"/vars": "../../etc/x.weights.h5"}}', "names a shard outside of its folder"),
        ('{"weight_map": {"/vars": "/tmp/x.weights.h5"}}', "names a shard outside of its folder"),
        ('{"weight_map": {"/vars": "text.weights.h5"}}', "text.weights.h5 is not an HDF5 file"),
    ],
)
def test_damaged_indices_are_one_line(text: str, message: str, tmp_path: Path, tfdump: Run) -> None:
    (tmp_path / "text.weights.h5").write_text("no HDF5")
    (tmp_path / "m.weights.json").write_text(text)
    done = tfdump("weights", "m.weights.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_links_and_too_much_are_refused(folder: Path, tfdump: Run) -> None:
    done = tfdump("weights", "other.weights.h5", "--max-bytes", "100")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--max-bytes" in done.stderr
    with h5py.File(folder / "linked.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(folder / "other.weights.h5"), "/layers/dense/vars/0")
    for options in ((), ("--like", "net.keras")):
        done = tfdump("weights", "linked.weights.h5", *options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "is a link to another place, which is not followed" in done.stderr


def test_like_takes_a_keras_model(folder: Path, tfdump: Run) -> None:
    done = tfdump("weights", "other.weights.h5", "--like", "legacy.h5")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "weights alone cannot run" in done.stderr


def test_bfloat16_comes_back_from_the_file(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16", name="d")])
    model.save_weights(tmp_path / "b.weights.h5")
    with pytest.warns(tfdump.TfdumpWarning, match="addresses are the paths"):
        weights = tfdump.weights(tmp_path / "b.weights.h5")
    np.testing.assert_array_equal(weights["layers.dense.vars.0"], np.asarray(model.layers[0].kernel, np.float32))
    assert weights.attributes["layers.dense.vars.0"]["dtype"] == "bfloat16"
