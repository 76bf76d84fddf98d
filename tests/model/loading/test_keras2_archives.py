"""`.keras` archives that Keras 2 wrote: what they give is what Keras 2 gave; see tests/data/make.py."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from support import hostile_files as hostile
from support import zoo
from support.combinations import combinations
from support.command import ROOT
from support.hostile_files import function, instance, layer_of
from tfdump.errors import ModelError, UntrustedModelError
from tfdump.model.loading.keras2.operations import TFOpLambda, function_of_tensorflow
from tfdump.model.loading.load import load_model
from tfdump.model.loading.user_code import import_user_code

pytestmark = pytest.mark.tensorflow

DATA = ROOT / "tests" / "data"
HOUSE = DATA / "keras2_house.py"
GRAPHS = ("keras2_12.keras", "keras2_12.h5", "keras2_13.keras", "keras2_15.keras")
NETS = ("keras2_12_net.keras", "keras2_13_net.keras", "keras2_15_net.keras", "keras2_15_net.h5")


@pytest.fixture(autouse=True)
def _forgotten() -> Any:
    """The classes of the user's module are registered by each import anew."""
    import keras

    registered = dict(keras.saving.get_custom_objects())
    yield
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(registered)


def from_elsewhere(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The inputs and activations that were computed where the model was saved."""
    with np.load(DATA / f"{name.partition('.')[0]}.npz") as archive:
        stored = dict(archive)
    kinds = [{key[2:]: value for key, value in stored.items() if key.startswith(kind)} for kind in ("x:", "y:")]
    return kinds[0], kinds[1]


def assert_as_there(dump: zoo.Dumped, expected: dict[str, np.ndarray]) -> None:
    assert not set(expected) - set(dump.values)
    for address, value in expected.items():
        np.testing.assert_allclose(dump.values[address], value, rtol=1e-4, atol=2e-5, err_msg=address)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_with_operations_and_inner_models(tmp_path: Path, name: str) -> None:
    x, expected = from_elsewhere(name)
    shutil.copy(DATA / name, tmp_path)
    dump = zoo.dumped(tmp_path / name, x, "--import", HOUSE)
    assert_as_there(dump, expected)
    assert {"tf%2Emath%2Eabs", "tf%2Econcat", "tf%2E__operators__%2Egetitem"} <= set(dump.values)


@pytest.mark.parametrize("name", NETS)
def test_a_subclassed_model_whose_layers_only_their_order_tells_apart(tmp_path: Path, name: str) -> None:
    x, expected = from_elsewhere(name)
    shutil.copy(DATA / name, tmp_path)
    dump = zoo.dumped(tmp_path / name, x, "--import", HOUSE)
    np.testing.assert_allclose(next(iter(dump.outputs.values())), expected["output"], rtol=1e-4, atol=2e-5)


def test_masks_also_of_recurrent_layers_that_get_states(tmp_path: Path) -> None:
    x, expected = from_elsewhere("keras2_15_masks")
    shutil.copy(DATA / "keras2_15_masks.keras", tmp_path)
    assert_as_there(zoo.dumped(tmp_path / "keras2_15_masks.keras", x), expected)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_layers_of_integer_dtypes_take_other_numbers_as_they_are(tmp_path: Path, ending: str) -> None:
    """Keras 3 would round -0.4 to 0 before it looks for its bin."""
    x, expected = from_elsewhere("keras2_14_integers")
    shutil.copy(DATA / f"keras2_14_integers{ending}", tmp_path)
    dump = zoo.dumped(tmp_path / f"keras2_14_integers{ending}", x)
    assert_as_there(dump, expected)
    np.testing.assert_array_equal(dump.values["bins"], [[2, 0, 2, 3], [1, 1, 1, 2]])
    np.testing.assert_array_equal(dump.values["flat"], x["number"])


def test_the_folder_that_an_archive_unpacks_to(tmp_path: Path) -> None:
    x, expected = from_elsewhere("keras2_15")
    zipfile.ZipFile(DATA / "keras2_15.keras").extractall(tmp_path / "folder")
    assert_as_there(zoo.dumped(tmp_path / "folder", x, "--import", HOUSE), expected)


def test_tf_keras_names_its_modules_otherwise(tmp_path: Path) -> None:
    x, expected = from_elsewhere("keras2_15")
    content = hostile.members(DATA / "keras2_15.keras")
    text = content["config.json"].decode()
    changed = text.replace('"module": "keras', '"module": "tf_keras')
    assert changed != text
    path = hostile.packed(tmp_path / "m.keras", content | {"config.json": changed.encode()})
    assert_as_there(zoo.dumped(path, x, "--import", HOUSE), expected)


@pytest.mark.parametrize("name", ["keras2_12", "keras2_15"])
def test_gradients_of_the_loss_that_it_was_compiled_with(tmp_path: Path, name: str) -> None:
    x, expected = from_elsewhere(name)
    np.savez(tmp_path / "x.npz", **x)
    np.save(tmp_path / "y.npy", np.array([2, 0]))
    data = (tmp_path / "x.npz", tmp_path / "y.npy")
    command = ("gradients", DATA / f"{name}.keras", *data, "--import", HOUSE, "-o", tmp_path / "g.h5")
    status, stderr = zoo.command(*command)
    assert status == 0, stderr
    probabilities = expected["logits"].astype("float64")
    with h5py.File(tmp_path / "g.h5") as file:
        loss = -np.log(probabilities[[0, 1], [2, 0]]).mean()
        np.testing.assert_allclose(file["loss"][()], loss, rtol=1e-4)
        wanted = (probabilities - np.eye(3)[[2, 0]]).mean(axis=0)
        np.testing.assert_allclose(file["gradients/weights/logits.bias"], wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_losses_that_the_model_adds_itself(tmp_path: Path, ending: str) -> None:
    """They are not in the model of Keras 3, nor is a layer that leads to nothing else, of the class of the others."""
    x, expected = from_elsewhere("keras2_15_losses")
    shutil.copy(DATA / f"keras2_15_losses.{ending}", tmp_path / f"m.{ending}")
    dump = zoo.dumped(tmp_path / f"m.{ending}", x)
    assert list(dump.values) == list(expected)
    assert_as_there(dump, expected)
    np.save(tmp_path / "x.npy", x["x"])
    command = ("gradients", tmp_path / f"m.{ending}", tmp_path / "x.npy", tmp_path / "x.npy", "-o", tmp_path / "g.h5")
    status, stderr = zoo.command(*command)
    assert status == 2
    assert "add_loss" in stderr
    assert "--loss" in stderr
    status, stderr = zoo.command(*command, "--loss", "mse")
    assert status == 0, stderr
    with h5py.File(tmp_path / "g.h5") as file:
        wanted = 2 * (expected["last"] - x["x"]).sum(axis=0) / x["x"].size
        np.testing.assert_allclose(file["gradients/weights/last.bias"], wanted, rtol=1e-3, atol=1e-5)


LEFT_OUT = ["aside", "tf%2Emath%2Esubtract", "tf%2Emath%2Esquare", "tf%2Emath%2Ereduce_mean", "add_loss",
            "tf%2Emath%2Ereduce_mean_1", "add_metric"]  # fmt: skip


@pytest.mark.parametrize("command", ["activations", "gradients", "layers"])
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_layers_that_lead_to_no_output_are_named_and_recorded(tmp_path: Path, ending: str, command: str) -> None:
    x, _ = from_elsewhere("keras2_15_losses")
    np.save(tmp_path / "x.npy", x["x"])
    dump = tmp_path / "d.h5"
    further = {"activations": [tmp_path / "x.npy", "-o", dump], "layers": []}.get(
        command, [tmp_path / "x.npy", tmp_path / "x.npy", "--loss", "mse", "-o", dump]
    )
    status, stderr = zoo.command(command, DATA / f"keras2_15_losses.{ending}", *further)
    assert status == 0, stderr
    assert "not captured: aside, tf%2Emath%2Esubtract," in stderr
    assert "not captured: add_loss (Keras 2 saved it for add_loss; Keras 3 has no such layer)" in stderr
    assert "not captured: add_metric (" in stderr
    if command == "layers":
        return
    with h5py.File(dump) as file:
        recorded = json.loads(file.attrs["not_captured"])
    assert [item["address"] for item in recorded if item["address"] in LEFT_OUT] == LEFT_OUT


@pytest.mark.parametrize("name", [*GRAPHS, *NETS])
def test_nothing_is_said_to_be_left_out_where_all_layers_lead_to_outputs(name: str) -> None:
    assert load_model(DATA / name, custom=import_user_code((str(HOUSE),))).not_loaded == ()


def test_without_the_import_the_advice_is_not_about_keras() -> None:
    status, stderr = zoo.command("layers", DATA / "keras2_15.keras")
    assert status == 2
    assert "'Block'" in stderr
    assert "--import" in stderr
    assert stderr.count("\n") == 1


# --- what is not translated


def changed(tmp_path: Path, change: Any, name: str = "keras2_15.keras") -> Path:
    return hostile.with_config(DATA / name, tmp_path / f"x{Path(name).suffix}", change)


UNSAFE = (
    "io.write_file", "io.read_file", "py_function", "numpy_function", "print", "raw_ops.WriteFile",
    "raw_ops.PyFunc", "compat.v1.py_func", "compat.v1.io.write_file", "saved_model.load", "keras.utils.get_file",
    "nn.__class__", "__class__", "math.__builtins__", "math.math_ops", "nn.RNNCellDropoutWrapper", "map_fn",
    "function", "constant.__globals__", "load_op_library", "summary.text", "random.set_seed",
    "__operators__.__class__", "", "nn.", ".nn", "nn.relu.__globals__", "io", "gone", 7, None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "name"),
    combinations(
        UNSAFE,
        ["keras2_15.keras", "keras2_12.h5"],
        tested=lambda operation, name: name == "keras2_15.keras" or operation in UNSAFE[::8],
    ),
)
def test_an_operation_that_is_not_known_to_compute_tensors(tmp_path: Path, operation: object, name: str) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "tf.math.abs")["config"]["function"] = operation

    path = changed(tmp_path, change, name)
    for trust in (False, True):
        with pytest.raises(ModelError, match=r"as a SavedModel directory instead") as caught:
            load_model(path, custom=import_user_code((str(HOUSE),)), trust=trust)
        assert "\n" not in str(caught.value)


def test_operations_are_checked_wherever_they_are_made() -> None:
    with pytest.raises(ModelError, match="SavedModel"):
        TFOpLambda.from_config({"function": "io.write_file"})
    assert function_of_tensorflow("compat.v1.transpose") is not None


@pytest.mark.parametrize("kind", ["ClassMethod", "InstanceMethod", "InstanceProperty"])
def test_what_is_done_with_objects_of_tensorflow_is_explained(tmp_path: Path, kind: str) -> None:
    path = changed(tmp_path, lambda config: layer_of(config, "tf.math.abs").update(class_name=kind))
    status, stderr = zoo.command("layers", path, "--import", HOUSE)
    assert status == 2
    assert f"as a {kind}" in stderr
    assert "SavedModel" in stderr
    assert stderr.count("\n") == 1


def test_a_call_of_which_keras_2_lost_the_tensors(tmp_path: Path) -> None:
    """As of `tf.einsum`, whose tensors follow a text."""

    def change(config: dict[str, Any]) -> None:
        layer = next(layer for layer in config["config"]["layers"] if layer["name"] == "tf.nn.relu")
        layer["config"]["function"] = "einsum"
        layer["inbound_nodes"] = [["_CONSTANT_VALUE", -1, "bi,bj->bij", {}]]

    status, stderr = zoo.command("layers", changed(tmp_path, change), "--import", HOUSE)
    assert status == 2
    assert "'tf.nn.relu' without the tensors" in stderr
    assert "SavedModel" in stderr


def test_constants_of_a_recurrent_layer_are_not_taken_for_states(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "decoder")["config"]["num_constants"] = 1

    status, stderr = zoo.command("layers", changed(tmp_path, change), "--import", HOUSE)
    assert status == 2
    assert "layer 'decoder' takes constants" in stderr
    assert "SavedModel" in stderr


def test_arguments_that_an_operation_does_not_take(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer = next(layer for layer in config["config"]["layers"] if layer["name"] == "tf.nn.relu")
        layer["inbound_nodes"][0][3]["axis"] = 3

    status, stderr = zoo.command("layers", changed(tmp_path, change), "--import", HOUSE)
    assert status == 2
    assert "'nn.relu'" in stderr
    assert "SavedModel" in stderr
    assert stderr.count("\n") == 1


# --- trust


@pytest.mark.parametrize(
    "what",
    [
        instance("evil", "Evil"),
        instance("keras.utils", "plot_model"),
        instance("tf_keras.utils", "get_file"),
        instance("keras.src.utils.vis_utils", "plot_model"),
        instance("keras.callbacks", "CSVLogger", filename="canary"),
        instance("keras.layers", "TFSMLayer", filepath="prog"),
        instance("keras.layers", "Lambda", function={"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}),
        function("os", "system"),
        function("builtins", "eval"),
    ],
    ids=lambda what: f"{what['module']}-{what['class_name']}",
)
@pytest.mark.parametrize("place", ["layer", "initializer", "inside of the user's"])
def test_code_in_an_archive_of_keras_2(tmp_path: Path, what: dict[str, Any], place: str) -> None:
    def change(config: dict[str, Any]) -> None:
        if place == "layer":
            logits = layer_of(config, "logits")
            inner = what["config"] if isinstance(what["config"], dict) else {"function": what["config"]}
            logits.update({**what, "config": {"name": "logits", **inner}})
        elif place == "initializer":
            layer_of(config, "logits")["config"]["kernel_initializer"] = what
        else:
            layer_of(config, "block")["config"]["units"] = what

    path = changed(tmp_path, change)
    with pytest.raises(ModelError) as caught:
        load_model(path, custom=import_user_code((str(HOUSE),)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "canary").exists()


def test_a_lambda_is_refused_without_trust(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer = layer_of(config, "logits")
        layer["class_name"] = "Lambda"
        layer["config"] = {"name": "logits", "function": {"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}}

    with pytest.raises(UntrustedModelError, match="is a Lambda layer"):
        load_model(changed(tmp_path, change), custom=import_user_code((str(HOUSE),)))


# --- weights


def with_changed_weights(tmp_path: Path, change: Any) -> Path:
    content = hostile.members(DATA / "keras2_15.keras")
    stream = io.BytesIO(content[hostile.WEIGHTS])
    with h5py.File(stream, "r+") as file:
        change(file)
    return hostile.packed(tmp_path / "x.keras", content | {hostile.WEIGHTS: stream.getvalue()})


def remove(file: h5py.File) -> None:
    del file["layers/conv2d/vars/1"]


def remove_layer(file: h5py.File) -> None:
    del file["layers/conv2d"]


def add_layer(file: h5py.File) -> None:
    file["layers/conv2d_1/vars/0"] = np.zeros(3, "f4")


def reshape(file: h5py.File) -> None:
    del file["layers/conv2d/vars/1"]
    file["layers/conv2d/vars/1"] = np.zeros(5, "f4")


@pytest.mark.parametrize("change", [remove, remove_layer, add_layer, reshape], ids=lambda change: change.__name__)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change: Any) -> None:
    status, stderr = zoo.command("layers", with_changed_weights(tmp_path, change), "--import", HOUSE)
    assert status == 2
    assert "do not fit the weights" in stderr
    assert "conv" in stderr
    assert stderr.count("\n") == 1


def test_the_architecture_in_the_dump_is_that_of_the_file(tmp_path: Path) -> None:
    loaded = load_model(DATA / "keras2_15.keras", custom=import_user_code((str(HOUSE),)))
    assert json.loads(loaded.config or "") == json.loads(hostile.members(DATA / "keras2_15.keras")["config.json"])
