"""Model files that name code: refused in one line that says which layer, and nothing of them runs."""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.src.saving import serialization_lib

from support import hostile_files as hostile
from support.command import ROOT, Ended, Run
from support.hostile_files import function, instance, layer_of
from tfdump.errors import UntrustedModelError
from tfdump.model.loading.load import load_model
from tfdump.model.loading.user_code import import_user_code

pytestmark = pytest.mark.tensorflow

FOREIGN = instance("evil", "Evil", by=2.0)
"""A class in a module that writes the canary when it is imported."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a harmless model, as `.keras` and as `.h5`."""
    folder = tmp_path_factory.mktemp("models")
    for ending in ("keras", "h5"):
        hostile.harmless(folder / f"m.{ending}")
    return folder


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that hostile code writes; the module `evil` can be imported and would write it."""
    path = tmp_path / "canary"
    (tmp_path / "evil.py").write_text(f"open({str(path)!r}, 'w').close()\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("evil", None)
    yield path
    sys.modules.pop("evil", None)


def assert_refused(done: Ended, canary: Path, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    for word in (*words, "--trust-model"):
        assert word in done.stderr, done.stderr
    assert not canary.exists()
    assert "evil" not in sys.modules


def assert_not_loaded(path: Path, canary: Path, *words: str) -> None:
    """Like `assert_refused`, without the seconds that the rest of the command takes."""
    with pytest.raises(UntrustedModelError) as caught:
        load_model(path)
    for word in (*words, "--trust-model"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not canary.exists()
    assert "evil" not in sys.modules


# --- Lambda layers


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(
    ("where", "named"), [("top", "layer 'mine'"), ("nested", "layer 'inner.mine'"), ("wrapped", "layer 'steps.mine'")]
)
def test_the_code_of_a_lambda(tfdump: Run, tmp_path: Path, canary: Path, where: str, named: str, ending: str) -> None:
    path = hostile.with_lambda(tmp_path / f"m.{ending}", canary, where)
    assert_refused(tfdump("layers", path), canary, f"m.{ending}", named, "Lambda")
    for name in ("TFDUMP_TRUST_MODEL", "TFDUMP_LAYERS_TRUST_MODEL"):
        assert_refused(tfdump("layers", path, env={name: "1"}), canary, named)
    if where == "top":  # in a file of Keras 3 the code can be built again, and writes the canary
        done = tfdump("layers", path, "--trust-model")
        assert done.returncode == 0, done.stderr
        assert canary.exists()


def test_a_lambda_in_the_config_of_a_bidirectional_layer(tfdump: Run, tmp_path: Path, canary: Path) -> None:
    x = keras.Input((5, 4))
    keras.Model(x, layers.Bidirectional(layers.GRU(2), name="both")(x)).save(tmp_path / "b.keras")
    code = hostile.with_lambda(tmp_path / "l.keras", canary)
    mine = layer_of(json.loads(hostile.members(code)["config.json"]), "mine")
    for part in ("layer", "backward_layer"):
        path = hostile.with_config(
            tmp_path / "b.keras",
            tmp_path / "m.keras",
            lambda c, p=part: layer_of(c, "both")["config"].update({p: mine}),
        )
        assert_refused(tfdump("layers", path), canary, "layer 'both.mine'")


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.utils", "plot_model"),
        ("keras.utils", "get_file"),
        ("keras", "utils.plot_model"),
        ("keras.saving", "load_model"),
        ("keras.activations", "deserialize"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.losses", "mean_squared_error"),
        ("builtins", "eval"),
        ("builtins", "deserialize"),
        ("os", "remove"),
        ("evil", "Evil"),
    ],
)
def test_a_lambda_that_names_a_function(
    models: Path, tmp_path: Path, canary: Path, module: str, name: str, ending: str
) -> None:
    def change(config: dict[str, Any]) -> None:
        out = layer_of(config, "out")
        out["class_name"] = out["registered_name"] = "Lambda"
        out["config"] = {"name": "out", "function": function(module, name)}

    path = hostile.with_config(models / f"m.{ending}", tmp_path / f"x.{ending}", change)
    assert_not_loaded(path, canary, "layer 'out'")


@pytest.mark.parametrize(
    ("module", "name"), [("keras.ops", "abs"), ("keras.activations", "relu"), ("builtins", "relu")]
)
def test_a_lambda_over_a_function_of_keras_is_no_code(tmp_path: Path, module: str, name: str) -> None:
    x = keras.Input((4,))
    keras.Model(x, layers.Lambda(keras.activations.relu, name="mine")(x)).save(tmp_path / "m.keras")

    def change(config: dict[str, Any]) -> None:
        layer_of(config, "mine")["config"]["function"] = function(module, name)

    loaded = load_model(hostile.with_config(tmp_path / "m.keras", tmp_path / "x.keras", change))
    value = np.array([[-1.0, 2.0, 0.0, -3.0]], "float32")
    expected = np.abs(value) if name == "abs" else np.maximum(value, 0)
    np.testing.assert_array_equal(np.asarray(loaded.model(value)), expected)


def test_a_lambda_under_another_name(tfdump: Run, tmp_path: Path, canary: Path) -> None:
    """A user's module that imports Lambda as something else does not make it a class of the user's."""
    (tmp_path / "house.py").write_text("from keras.layers import Lambda as Fine\n")
    path = hostile.with_lambda(tmp_path / "m.keras", canary)

    def change(config: dict[str, Any]) -> None:
        mine = layer_of(config, "mine")
        mine.update(class_name="Fine", registered_name="Fine", module="house")

    path = hostile.with_config(path, tmp_path / "x.keras", change)
    assert_refused(tfdump("layers", path, "--import", tmp_path / "house.py"), canary, "layer 'mine'")


@pytest.mark.parametrize("name", ["Lambda", "deserialize"])
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_name_that_the_two_formats_read_differently(
    tfdump: Run, models: Path, tmp_path: Path, canary: Path, name: str, ending: str
) -> None:
    """A legacy file is read by the name of the class alone, the other one by the registered name first."""
    (tmp_path / "house.py").write_text("import keras\nclass Scale(keras.layers.Layer): pass\n")

    def change(config: dict[str, Any]) -> None:
        inner = {"name": "out", "filepath": "prog", "function": "x", "config": {}}
        layer_of(config, "out").update(class_name=name, registered_name="Scale", module="house", config=inner)

    path = hostile.with_config(models / f"m.{ending}", tmp_path / f"x.{ending}", change)
    assert_refused(tfdump("layers", path, "--import", tmp_path / "house.py"), canary, "layer 'out'", name)


# --- what else may be named


PLACES: dict[str, tuple[str, str]] = {
    "kernel_initializer": ("out", "layer 'out' (kernel_initializer)"),
    "bias_regularizer": ("hidden", "layer 'block.hidden' (bias_regularizer)"),
    "kernel_constraint": ("out", "layer 'out' (kernel_constraint)"),
    "activation": ("hidden", "layer 'block.hidden' (activation)"),
    "dtype": ("out", "layer 'out' (dtype)"),
    "new_argument": ("out", "layer 'out' (new_argument)"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "what",
    [
        FOREIGN,
        function("evil", "run"),
        function("keras.utils", "get_file"),
        instance("keras.utils", "plot_model"),
        instance("keras.callbacks", "CSVLogger", filename="canary"),
        instance("keras.src.callbacks.csv_logger", "CSVLogger", filename="canary"),
        instance("keras.applications", "ResNet50"),
        {**instance("keras.layers", "TFSMLayer", filepath="prog"), "registered_name": None},
        {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}},
    ],
    ids=lambda what: f"{what.get('module')}-{what['class_name']}",
)
def test_an_argument_of_a_layer(models: Path, tmp_path: Path, canary: Path, place: str, what: dict[str, Any]) -> None:
    layer, named = PLACES[place]
    for ending in ("keras", "h5"):
        path = hostile.with_config(
            models / f"m.{ending}",
            tmp_path / f"x.{ending}",
            lambda config: layer_of(config, layer)["config"].update({place: what}),
        )
        assert_not_loaded(path, canary, f"x.{ending}", named)


@pytest.mark.parametrize(
    "what",
    [
        FOREIGN,
        instance("evil.inner", "Evil"),
        {**FOREIGN, "registered_name": "evil>Evil"},
        {**FOREIGN, "registered_name": None},
        instance("keras_hub.src.layers.modeling.sine_position_encoding", "SinePositionEncoding"),
        instance("keras.src.testing.test_case", "TestCase"),
        instance("keras.src.no_such_module", "Layer"),
        instance("keras.layers", "deserialize"),
        instance("keras.layers", "TorchModuleWrapper", module="x"),
        instance("keras.layers", "JaxLayer", call_fn="x"),
        instance("keras", "Trainer"),
    ],
    ids=lambda what: f"{what['module']}.{what['class_name']}",
)
def test_a_layer_of_another_class(
    tfdump: Run, models: Path, tmp_path: Path, canary: Path, what: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "keras_hub"]:
        monkeypatch.delitem(sys.modules, name)  # as in a process that did not import it

    def change(config: dict[str, Any]) -> None:
        out = layer_of(config, "out")
        out.update({**what, "config": {"name": "out", **what["config"]}})

    path = hostile.with_config(models / "m.keras", tmp_path / "x.keras", change)
    before = set(sys.modules)
    assert_refused(tfdump("layers", path), canary, "layer 'out'", str(what["class_name"]))
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("keras_hub", "evil")}


def test_the_canary_can_sing(canary: Path) -> None:
    importlib.import_module("evil")
    assert canary.exists()


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_class_of_another_package_at_the_root(
    tfdump: Run, models: Path, tmp_path: Path, canary: Path, ending: str
) -> None:
    path = hostile.with_config(models / f"m.{ending}", tmp_path / f"x.{ending}", lambda c: c.update(FOREIGN))
    assert_refused(tfdump("layers", path), canary, "the model needs the class 'Evil' of the module 'evil'", "--import")


@pytest.mark.parametrize("part", ["loss", "optimizer", "metrics", "weighted_metrics"])
@pytest.mark.parametrize("what", [function("os", "system"), function("keras.utils", "get_file"), FOREIGN])
def test_how_the_model_was_compiled(
    tfdump: Run, models: Path, tmp_path: Path, canary: Path, part: str, what: dict[str, Any]
) -> None:
    """None of it is built but the loss, and that only for gradients: a loss of the author's own is no obstacle."""
    path = hostile.with_config(
        models / "m.keras", tmp_path / "x.keras", lambda c: c["compile_config"].update({part: what})
    )
    x, y = np.zeros((3, 4), "float32"), np.zeros((3, 2), "float32")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    done = tfdump("layers", path)
    if what is FOREIGN:
        assert done.returncode == 0, done.stderr
    else:
        assert_refused(done, canary, f"compile_config ({part})")
    done = tfdump("gradients", path, "x.npy", "y.npy", "-o", "g.h5")
    if what is FOREIGN and part != "loss":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "g.h5").exists()
    assert not canary.exists()


def test_how_a_sub_model_was_compiled(tfdump: Run, models: Path, tmp_path: Path, canary: Path) -> None:
    """Keras compiles it while it loads."""

    def change(config: dict[str, Any]) -> None:
        layer_of(config, "block")["compile_config"] = {"optimizer": "sgd", "loss": {"out": FOREIGN}}

    path = hostile.with_config(models / "m.keras", tmp_path / "x.keras", change)
    assert_refused(tfdump("layers", path), canary, "layer 'block'", "'Evil'")


# --- programs and files beside the model


class Writes(tf.saved_model.experimental.TrackableResource):
    """A resource that writes the canary when the SavedModel that holds it is loaded."""

    def __init__(self, canary: Path) -> None:
        self._path = str(canary)
        super().__init__()

    def _create_resource(self) -> Any:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)

    def _initialize(self) -> None:
        tf.io.write_file(self._path, "sung")


def test_a_saved_model_that_writes_when_it_is_loaded(tfdump: Run, models: Path, tmp_path: Path, canary: Path) -> None:
    module = tf.Module()
    module.resource = Writes(canary)
    signature = tf.function(lambda x: {"y": x + 1.0}, input_signature=[tf.TensorSpec([None, 4])])
    tf.saved_model.save(module, str(tmp_path / "prog"), signatures=signature.get_concrete_function())
    canary.unlink(missing_ok=True)
    assert_refused(tfdump("layers", "prog"), canary, "prog is a SavedModel")

    def change(config: dict[str, Any]) -> None:
        out = layer_of(config, "out")
        out["class_name"] = "TFSMLayer"
        out["config"] = {"name": "out", "filepath": str(tmp_path / "prog")}

    path = hostile.with_config(models / "m.keras", tmp_path / "x.keras", change)
    assert_refused(tfdump("layers", path), canary, "layer 'out' is a TFSMLayer")
    assert tfdump("layers", "prog", "--trust-model").returncode == 0
    assert canary.exists()


@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_vocabulary_outside_of_the_archive(
    tfdump: Run, tmp_path: Path, canary: Path, kind: str, absolute: bool
) -> None:
    words = ["1", "2"] if kind == "IntegerLookup" else ["a", "b"]
    (tmp_path / "words.txt").write_text("\n".join(words))
    made = "StringLookup" if kind == "IndexLookup" else kind
    layer = getattr(layers, made)(vocabulary=words if kind != "IntegerLookup" else [1, 2], name="words")
    dtype = "int64" if kind == "IntegerLookup" else "string"
    keras.Sequential([keras.Input((1,), dtype=dtype), layer]).save(tmp_path / "m.keras")
    file = str(tmp_path / "words.txt") if absolute else f"../{tmp_path.name}/words.txt"

    def change(config: dict[str, Any]) -> None:
        node = layer_of(config, "words")
        node["config"]["vocabulary"] = file
        if kind == "IndexLookup":
            node.update(class_name=kind, module="keras.src.layers.preprocessing.index_lookup", registered_name=kind)

    path = hostile.with_config(tmp_path / "m.keras", tmp_path / "x.keras", change)
    assert_refused(tfdump("layers", path), canary, "layer 'words' reads its vocabulary from", file)
    assert tfdump("layers", tmp_path / "m.keras").returncode == 0
    if kind != "IndexLookup":  # of which a file alone cannot be made
        done = tfdump("layers", path, "--trust-model")
        assert done.returncode == 0, done.stderr


# --- who may trust


def test_neither_files_nor_the_environment_can_trust(tmp_path: Path, canary: Path, tfdump_process: Run) -> None:
    path = hostile.with_lambda(tmp_path / "m.keras", canary)
    settings = json.dumps(
        {"trust_model": True, "safe_mode": False, "unsafe_deserialization": True, "backend": "tensorflow"}
    )
    for folder in (tmp_path / ".keras", tmp_path / ".config" / "tfdump", tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keras.json").write_text(settings)
        (folder / "tfdump.json").write_text(settings)
    names = ("TFDUMP_TRUST_MODEL", "TFDUMP_LAYERS_TRUST_MODEL", "KERAS_TRUST_MODEL", "KERAS_SAFE_MODE", "TRUST_MODEL")
    granted = dict.fromkeys(names, "1") | {"KERAS_HOME": str(tmp_path / ".keras"), "HOME": str(tmp_path)}
    done = tfdump_process("layers", path, env=os.environ | granted | {"TFDUMP_LAYERS_IMPORT": "evil"})
    assert_refused(done, canary, "layer 'mine'")


def test_a_module_that_ends_safe_mode_for_good_does_not(tmp_path: Path, canary: Path, tfdump: Run) -> None:
    (tmp_path / "unsafe.py").write_text("import keras\nkeras.config.enable_unsafe_deserialization()\n")
    path = hostile.with_lambda(tmp_path / "m.keras", canary)
    assert_refused(tfdump("layers", path, "--import", "unsafe.py"), canary, "layer 'mine'")


class Asks(layers.Layer):
    """A layer that notes whether Keras was in safe mode when it was made from a file."""

    safe_modes: ClassVar[list[object]] = []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Asks":
        cls.safe_modes.append(serialization_lib.in_safe_mode())
        return cls(**config)

    def call(self, x: Any) -> Any:
        return x + 1.0


def test_safe_mode_is_that_of_the_call(tmp_path: Path) -> None:
    """Keras asks the mode of the process before that of the call, so the call sets it, and puts it back."""
    x = keras.Input((2,))
    keras.Model(x, Asks(name="asks")(x)).save(tmp_path / "m.keras")
    scope = serialization_lib.SafeModeScope(False)  # what the function of the next test does for good
    with scope:
        for trust in (False, True):
            load_model(tmp_path / "m.keras", custom={"Asks": Asks}, trust=trust)
        assert serialization_lib.in_safe_mode() is False
    assert Asks.safe_modes == [True, False]


def test_no_module_of_tfdump_ends_safe_mode() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert "enable_unsafe_deserialization" not in path.read_text()


def test_in_python_trust_is_an_argument(tmp_path: Path, canary: Path) -> None:
    path = hostile.with_lambda(tmp_path / "m.keras", canary)
    with pytest.raises(UntrustedModelError, match="layer 'mine'"):
        load_model(path)
    assert not canary.exists()
    assert load_model(path, trust=True).trusted


def test_what_the_user_imports_is_legitimate(tmp_path: Path) -> None:
    (tmp_path / "house.py").write_text(
        "import keras\n"
        "class Scale(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x * 3\n"
        "def ones(shape, dtype=None):\n"
        "    return keras.ops.ones(shape, dtype)\n"
    )
    custom = import_user_code((str(tmp_path / "house.py"),))
    x = keras.Input((2,))
    y = layers.Dense(2, kernel_initializer=custom["ones"], name="dense")(custom["Scale"](name="scale")(x))
    keras.Model(x, y).save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras", custom=custom)
    np.testing.assert_array_equal(np.asarray(loaded.model(np.ones((1, 2), "float32"))), [[6.0, 6.0]])
    with pytest.raises(UntrustedModelError, match=r"'Scale'.*--import"):
        load_model(tmp_path / "m.keras")


# --- nesting


@pytest.mark.parametrize("depth", [300, 100_000])
@pytest.mark.parametrize("part", ["config", "compile_config"])
def test_deeply_nested_json(tfdump: Run, models: Path, tmp_path: Path, depth: int, part: str) -> None:
    content = hostile.members(models / "m.keras")
    text = content["config.json"].decode()
    deep = f'"{part}": {{"deep": {"[" * depth}{"]" * depth}, '
    text = text.replace(f'"{part}": {{', deep, 1)
    path = hostile.packed(tmp_path / "x.keras", content | {"config.json": text.encode()})
    done = tfdump("layers", path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "x.keras is damaged" in done.stderr


@pytest.mark.parametrize("depth", [300, 30_000])
@pytest.mark.parametrize("attribute", ["model_config", "training_config"])
def test_deeply_nested_json_in_an_attribute(
    tfdump: Run, models: Path, tmp_path: Path, depth: int, attribute: str
) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes((models / "m.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        config = file.attrs[attribute]
        file.attrs[attribute] = config.replace("{", '{"deep": ' + "[" * depth + "]" * depth + ", ", 1)
    done = tfdump("layers", path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "x.h5 is damaged" in done.stderr
