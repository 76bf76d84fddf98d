"""`--import PACKAGE`: what its modules define and re-export may be named, and nothing that lies outside."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support import hostile_files as hostile
from support import zoo
from support.combinations import combinations
from support.command import Run
from support.hostile_files import function, instance, layer_of
from support.tiny_models import floats
from tfdump.errors import ModelError, UntrustedModelError
from tfdump.model.loading.load import load_model
from tfdump.model.loading.user_code import import_user_code

pytestmark = pytest.mark.tensorflow

PACKAGE = {
    "__init__.py": """
import os
import subprocess
from os import remove, system
from shutil import rmtree
from subprocess import run
from keras.utils import get_file
from tensorflow.io import write_file

from mypkg.parts import clipped
from mypkg.wiring import Wiring

RATE = 3.0
""",
    "parts.py": """
from keras import ops


def clipped(x):
    return ops.clip(x, -0.5, 0.5)


def relu(x):
    return x * 7.0
""",
    "wiring.py": '''
class Wiring:
    """A plain class that configures a layer."""

    def __init__(self, factor):
        self.factor = factor

    def get_config(self):
        return {"factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Absolute:
    """A loss that is no loss of Keras."""

    def __init__(self, weight=3.0):
        self.weight = weight

    def __call__(self, y_true, y_pred):
        from keras import ops

        return ops.mean(ops.abs(y_true - y_pred) * self.weight, axis=-1)

    def get_config(self):
        return {"weight": self.weight}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


heavy = Absolute(9.0)


class Unsaved(Absolute):
    """Of which Keras saves no more than a name."""

    get_config = property()
    __name__ = "unsaved"
''',
    "deep/__init__.py": "",
    "deep/own.py": """
import keras


class Scale(keras.layers.Layer):
    def __init__(self, by=2.0, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def call(self, x):
        return x * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


class Wired(keras.layers.Layer):
    def __init__(self, wiring, **kwargs):
        super().__init__(**kwargs)
        self.wiring = wiring

    def call(self, x):
        return x + self.wiring.factor

    def get_config(self):
        return {**super().get_config(), "wiring": keras.saving.serialize_keras_object(self.wiring)}

    @classmethod
    def from_config(cls, config):
        config["wiring"] = keras.saving.deserialize_keras_object(config["wiring"])
        return cls(**config)


@keras.saving.register_keras_serializable(package="mypkg")
class Registered(keras.layers.Layer):
    def call(self, x):
        return x - 1.0
""",
    "deep/broken.py": "import no_such_module_anywhere\n",
    "deep/sings.py": "open(CANARY, 'w').close()\nclass Layer: pass\n",
    "__main__.py": "open(CANARY, 'w').close()\nclass Main: pass\n",
}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that modules write which must not be imported."""
    return tmp_path / "canary"


@pytest.fixture
def package(tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package in the folder of the test, with a module beside it; both are forgotten afterwards."""
    registered = dict(keras.saving.get_custom_objects())
    for name, text in PACKAGE.items():
        (tmp_path / "mypkg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mypkg" / name).write_text(text.replace("CANARY", repr(str(canary))))
    (tmp_path / "beside.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Evil: pass\ndef act(x): return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    forget()
    yield tmp_path
    forget()
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(registered)


def forget() -> None:
    """As in a process that has not imported the package."""
    written = ("mypkg", "beside", "house", "parts", "elsewhere")
    for name in [name for name in sys.modules if name.split(".")[0] in written]:
        del sys.modules[name]
    keras.saving.get_custom_objects().clear()


def model_of(package: Path, ending: str = "keras") -> tuple[Path, np.ndarray, dict[str, np.ndarray]]:
    """A file of a model that names a class, a plain class and a re-exported function, an input, and what comes out."""
    from mypkg import Wiring, clipped
    from mypkg.deep.own import Registered, Scale, Wired

    x = keras.Input((3,))
    y = Scale(4.0, name="scale")(x)
    y = layers.Activation(clipped, name="clipped")(y)
    if ending == "keras":
        y = Wired(Wiring(2.0), name="wired")(y)
    y = Registered(name="registered")(y)
    path = package / f"m.{ending}"
    keras.Model(x, y).save(path)
    forget()
    data = floats(4, 3)
    values = {"scale": data * 4, "clipped": np.clip(data * 4, -0.5, 0.5)}
    if ending == "keras":
        values["wired"] = values["clipped"] + 2
    values["registered"] = list(values.values())[-1] - 1
    return path, data, values


def test_the_modules_of_a_package(package: Path) -> None:
    path, data, expected = model_of(package)
    dump = zoo.dumped(path, data, "--import", "mypkg")
    assert list(dump.values) == list(expected)
    for address, value in expected.items():
        np.testing.assert_allclose(dump.values[address], value, rtol=1e-5, atol=1e-6, err_msg=address)


def test_a_legacy_file_names_no_modules(package: Path) -> None:
    """So the module has to be imported, by the user or by what the package imports itself."""
    path, data, expected = model_of(package, "h5")
    dump = zoo.dumped(path, data, "--import", "mypkg", "--import", "mypkg.deep.own")
    for address, value in expected.items():
        np.testing.assert_allclose(dump.values[address], value, rtol=1e-5, atol=1e-6, err_msg=address)


def test_naming_a_module_of_the_package_covers_what_lies_below_it(package: Path) -> None:
    path, data, expected = model_of(package)
    dump = zoo.dumped(path, data, "--import", "mypkg.deep", "--import", "mypkg.wiring", "--import", "mypkg.parts")
    assert list(dump.values) == list(expected)
    status, stderr = zoo.command("layers", path, "--import", "mypkg.deep")
    assert status == 2
    assert stderr.count("\n") == 1
    assert "'Wiring' of the module 'mypkg.wiring'" in stderr or "the function 'clipped'" in stderr


def test_a_function_of_a_module_that_the_package_has_imported(package: Path) -> None:
    """Not re-exported, but defined in a module of the package."""
    (package / "mypkg" / "__init__.py").write_text("from mypkg import parts\n")
    path, data, expected = model_of_clipped(package)
    dump = zoo.dumped(path, data, "--import", "mypkg")
    np.testing.assert_allclose(dump.values["clipped"], expected, rtol=1e-6)


def test_a_function_of_a_module_that_another_module_of_the_file_imports(package: Path) -> None:
    """The function stands before the class whose module brings it along."""
    (package / "mypkg" / "__init__.py").write_text("")
    own = package / "mypkg" / "deep" / "own.py"
    own.write_text("from mypkg import parts\n" + own.read_text())
    from mypkg.deep.own import Scale
    from mypkg.parts import clipped

    x = keras.Input((3,))
    y = layers.Activation(clipped, name="clipped")(x)
    keras.Model(x, Scale(4.0, name="scale")(y)).save(package / "c.keras")
    forget()
    data = floats(4, 3)
    dump = zoo.dumped(package / "c.keras", data, "--import", "mypkg")
    np.testing.assert_allclose(dump.values["scale"], np.clip(data, -0.5, 0.5) * 4, rtol=1e-6)


def model_of_clipped(package: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    from mypkg.parts import clipped

    x = keras.Input((3,))
    keras.Model(x, layers.Activation(clipped, name="clipped")(x)).save(package / "c.keras")
    forget()
    data = floats(4, 3)
    return package / "c.keras", data, np.clip(data, -0.5, 0.5)


def test_the_advice_for_a_function_of_a_module_that_was_not_imported_works(package: Path) -> None:
    (package / "mypkg" / "__init__.py").write_text("")
    path, data, expected = model_of_clipped(package)
    status, stderr = zoo.command("layers", path, "--import", "mypkg")
    assert status == 2
    assert "the function 'clipped'" in stderr
    assert "builtins" not in stderr
    assert "--import mypkg.MODULE" in stderr
    dump = zoo.dumped(path, data, "--import", "mypkg.parts")
    np.testing.assert_allclose(dump.values["clipped"], expected, rtol=1e-6)


def test_a_name_of_keras_stays_that_of_keras(package: Path) -> None:
    """A function `relu` somewhere in the package does not replace the one of Keras."""
    (package / "mypkg" / "__init__.py").write_text("from mypkg.parts import relu\n")
    x = keras.Input((3,))
    keras.Model(x, layers.Dense(3, "relu", name="dense", kernel_initializer="identity")(x)).save(package / "r.keras")
    data = floats(4, 3)
    dump = zoo.dumped(package / "r.keras", data, "--import", "mypkg")
    np.testing.assert_allclose(dump.values["dense"], np.maximum(data, 0), rtol=1e-6)


def test_a_file_beside_the_imported_one_is_the_users_too(package: Path) -> None:
    (package / "parts.py").write_text("from keras import ops\ndef clipped(x): return ops.clip(x, -0.5, 0.5)\n")
    (package / "house.py").write_text("from os import system\nfrom parts import clipped\n")
    path, data, expected = model_of_clipped(package)
    dump = zoo.dumped(path, data, "--import", package / "house.py")
    np.testing.assert_allclose(dump.values["clipped"], expected, rtol=1e-6)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("weight", [None, 5.0])
def test_a_loss_that_is_a_plain_class(package: Path, ending: str, weight: float | None) -> None:
    """Compiled, which the file tells, and named on the command line."""
    from mypkg.wiring import Absolute

    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
    if weight is not None:
        model.compile("sgd", Absolute(weight))
    kernel, bias = model.layers[0].get_weights()
    path = package / f"m.{ending}"
    model.save(path)
    forget()
    x, y = floats(4, 3), floats(4, 2, seed=1)
    np.save(package / "x.npy", x)
    np.save(package / "y.npy", y)
    command = ["gradients", path, package / "x.npy", package / "y.npy", "-f", "-o", package / "g.h5"]
    command += ["--import", "mypkg.wiring"]
    sign = np.sign(x @ kernel + bias - y).sum(axis=0) / y.size
    for options, factor in ([], weight), (["--loss", "Absolute"], 3.0), (["--loss", "heavy"], 9.0):
        if factor is None:
            continue
        if ending == "h5" and not options:
            continue  # where Keras itself writes no arguments of such a loss
        status, stderr = zoo.command(*command, *options)
        assert status == 0, stderr
        with tfdump.open(package / "g.h5") as dump:
            np.testing.assert_allclose(dump["dense.bias"].read(), sign * factor, rtol=1e-4, err_msg=str(options))


def test_a_loss_of_which_the_file_holds_no_arguments(package: Path) -> None:
    from mypkg.wiring import Unsaved

    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
    model.compile("sgd", Unsaved(5.0))
    model.save(package / "m.keras")
    forget()
    np.save(package / "x.npy", floats(4, 3))
    np.save(package / "y.npy", floats(4, 2))
    command = ["gradients", "m.keras", "x.npy", "y.npy", "--import", "mypkg.wiring"]
    status, stderr = zoo.command(*command)
    assert status == 2
    assert "'Unsaved'" in stderr
    assert "--loss Unsaved" in stderr
    status, stderr = zoo.command(*command, "--loss", "Unsaved")
    assert status == 0, stderr


# --- what an import does not open


def changed(package: Path, change: Any) -> Path:
    """The file with a changed architecture."""
    path, _, _ = model_of(package)
    return hostile.with_config(path, package / "x.keras", change)


FOREIGN_FUNCTIONS = {
    "system": "from os import system",
    "remove": "from os import remove",
    "rmtree": "from shutil import rmtree",
    "run": "from subprocess import run",
    "get_file": "from keras.utils import get_file",
    "write_file": "from tensorflow.io import write_file",
    "os.system": "import os",
    "os": "import os",
    "clipped.__globals__": "an attribute of a function",
    "Wiring.from_config": "a method of a class",
    "__builtins__": "what every module has",
    "__import__": "a builtin",
    "eval": "a builtin",
}


@pytest.mark.parametrize(
    ("name", "module"),
    combinations(
        FOREIGN_FUNCTIONS,
        ["builtins", "mypkg", "mypkg.parts", "os", None],
        tested=lambda name, module: module == "mypkg" or name == "system",
    ),
)
def test_what_a_package_imports_from_elsewhere_stays_closed(package: Path, name: str, module: str | None) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "clipped")["config"]["activation"] = function(module, name)

    path = changed(package, change)
    with pytest.raises((UntrustedModelError, ModelError)) as caught:
        load_model(path, custom=import_user_code(("mypkg",)))
    assert "\n" not in str(caught.value)
    assert "layer 'clipped'" in str(caught.value) or name in str(caught.value)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("subprocess", "Popen"),
        ("mypkg", "subprocess.Popen"),
        ("mypkg.subprocess", "Popen"),
        ("mypkg.os", "_wrap_close"),
        ("beside", "Evil"),
        ("mypkg.beside", "Evil"),
        ("mypkg..beside", "Evil"),
        ("mypkg/../beside", "Evil"),
        ("mypkg.__main__", "Main"),
        ("mypkg.deep.__init__", "Evil"),
        ("mypkg2", "Evil"),
        ("mypkg.gone", "Evil"),
        ("mypkg.deep.own", "keras"),
        ("mypkg.wiring", "Gone"),
    ],
)
def test_classes_that_are_not_of_the_package(package: Path, canary: Path, module: str, name: str) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "wired")["config"]["wiring"] = instance(module, name, factor=1.0)

    path = changed(package, change)
    before = set(sys.modules)
    with pytest.raises(UntrustedModelError) as caught:
        load_model(path, custom=import_user_code(("mypkg",)))
    assert "\n" not in str(caught.value)
    assert "layer 'wired'" in str(caught.value)
    assert not canary.exists()
    assert "beside" not in sys.modules
    assert {name for name in set(sys.modules) - before if "main" in name} == set()


ALIASES = """
import sys

import elsewhere

sys.modules["mypkg.vendored"] = vendored = elsewhere
"""


@pytest.mark.parametrize("module", ["builtins", "mypkg.vendored", "elsewhere", None])
def test_a_module_of_another_author_below_the_package_stays_closed(
    package: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, module: str | None
) -> None:
    """As `requests.packages.urllib3`, which is urllib3 under another name."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "elsewhere.py").write_text("def danger(x): return x\n")
    monkeypatch.syspath_prepend(elsewhere)
    own = package / "mypkg" / "__init__.py"
    own.write_text(own.read_text() + ALIASES)

    def change(config: dict[str, Any]) -> None:
        layer_of(config, "clipped")["config"]["activation"] = function(module, "danger")

    path = changed(package, change)
    with pytest.raises((UntrustedModelError, ModelError)) as caught:
        load_model(path, custom=import_user_code(("mypkg",)))
    assert "danger" in str(caught.value)


@pytest.mark.parametrize("file", ["mypkg", "house.py"])
def test_packages_that_lie_beside_each_other_are_not_of_one_author(package: Path, file: str) -> None:
    """In a folder that `pip install --target` filled."""
    (package / "other-1.0.dist-info").mkdir()
    (package / "parts.py").write_text("def danger(x): return x\n")
    path = changed(package, lambda config: None)  # while the package is as it was
    for name in ("house.py", "mypkg/__init__.py"):
        own = package / name
        own.write_text((own.read_text() if own.exists() else "") + "from parts import danger\n")

    def change(config: dict[str, Any]) -> None:
        layer_of(config, "clipped")["config"]["activation"] = function("builtins", "danger")

    path = hostile.with_config(path, package / "y.keras", change)
    code = import_user_code(("mypkg", str(package / "house.py") if file.endswith(".py") else file))
    with pytest.raises(UntrustedModelError) as caught:
        load_model(path, custom=code)
    assert "danger" in str(caught.value)


@pytest.mark.parametrize(
    ("module", "name"), [("keras_hub", "upload_preset"), ("keras_hub.src.utils.preset_utils", "get_file")]
)
def test_keras_hub_lends_no_functions(package: Path, module: str, name: str) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "clipped")["config"]["activation"] = function("builtins", name)

    path = changed(package, change)
    with pytest.raises(UntrustedModelError) as caught:
        load_model(path, custom=import_user_code(("mypkg", module)))
    assert name in str(caught.value)


def test_only_the_module_that_is_named_is_imported(package: Path, canary: Path) -> None:
    path, _, _ = model_of(package)
    load_model(path, custom=import_user_code(("mypkg",)))
    assert not canary.exists()
    assert "mypkg.deep.sings" not in sys.modules


def test_a_module_of_the_package_that_cannot_be_imported_is_named(package: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "scale")["module"] = "mypkg.deep.broken"

    path = changed(package, change)
    status, stderr = zoo.command("layers", path, "--import", "mypkg")
    assert status == 2
    assert "mypkg.deep.broken" in stderr
    assert "no_such_module_anywhere" in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["os", "shutil", "keras.utils", "tensorflow", "keras"])
def test_importing_a_library_opens_nothing(package: Path, module: str) -> None:
    for name in ("removedirs", "rmtree", "get_file", "plot_model"):

        def change(config: dict[str, Any], name: str = name) -> None:
            layer_of(config, "clipped")["config"]["activation"] = function("builtins", name)

        path = changed(package, change)
        with pytest.raises(UntrustedModelError):
            load_model(path, custom=import_user_code(("mypkg", module)))


def test_two_classes_of_one_name_are_told_apart_or_refused(package: Path) -> None:
    """Keras tells unregistered classes apart by their names alone."""
    own = (package / "mypkg" / "deep" / "own.py").read_text()
    (package / "mypkg" / "deep" / "other.py").write_text(own.replace("x * self.by", "x / self.by"))
    from mypkg.deep.other import Scale as Other
    from mypkg.deep.own import Scale

    x = keras.Input((3,))
    y = Other(4.0, name="other")(x)
    keras.Model(x, y).save(package / "one.keras")
    keras.Model(x, Scale(4.0, name="scale")(y)).save(package / "two.keras")
    forget()
    data = floats(4, 3)
    dump = zoo.dumped(package / "one.keras", data, "--import", "mypkg", "--import", "mypkg.deep.own")
    np.testing.assert_allclose(dump.values["other"], data / 4, rtol=1e-6)
    status, stderr = zoo.command("layers", package / "two.keras", "--import", "mypkg")
    assert status == 2
    assert "'Scale'" in stderr
    assert "mypkg.deep.other" in stderr
    assert "mypkg.deep.own" in stderr
    assert "register_keras_serializable" in stderr


def test_the_config_of_a_file_is_not_changed(package: Path) -> None:
    path, _, _ = model_of(package)
    loaded = load_model(path, custom=import_user_code(("mypkg",)))
    stored = json.loads(hostile.members(path)["config.json"])
    assert json.loads(loaded.config or "")["config"] == stored["config"]


def _vae() -> Any:
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    parts = {f"{part}_num_filters": [32, 32, 32, 32] for part in ("encoder", "decoder")}
    return VAEBackbone(**parts, encoder_num_blocks=[1] * 4, decoder_num_blocks=[1] * 4, sampler_method="mode")


def _rqvae() -> Any:
    from keras_hub.src.models.rqvae.rqvae_backbone import RQVAEBackbone

    return RQVAEBackbone(
        input_dim=6, encoder_layer_dims=[8], output_dim=4, decoder_layer_dims=[8], num_embeddings=5, num_quantizers=2
    )


HUB_MODELS = {"VAEBackbone": _vae, "RQVAEBackbone": _rqvae, "StableDiffusion3Backbone": None}


@pytest.mark.parametrize("name", combinations(HUB_MODELS, tested=lambda name: name != "StableDiffusion3Backbone"))
def test_models_of_keras_hub_that_it_does_not_export(tmp_path: Path, tfdump_forked: Run, name: str) -> None:
    """In a process of its own, where no module of keras-hub is there yet."""
    from support import hub_models

    model = (HUB_MODELS[name] or hub_models.MODELS[name])()
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.standard_normal(weight.shape).astype(weight.dtype))
    model.save(tmp_path / "model.keras")
    x = hub_models.sample_inputs(model, 2)
    if name == "VAEBackbone":  # whose pictures have any size that eight divides
        x = {key: floats(2, 16, 16, 3) for key in x}
    np.savez(tmp_path / "x.npz", **x)
    done = tfdump_forked("layers", "model.keras")
    assert done.returncode == 2
    assert "--import keras_hub" in done.stderr
    done = tfdump_forked("activations", "model.keras", "x.npz", "--import", "keras_hub", "-o", "d.h5")
    assert done.returncode == 0, done.stderr
    expected = keras.tree.flatten(model(hub_models.argument(model, x), training=False))
    with tfdump.open(tmp_path / "d.h5") as dump:
        outputs = [dump[f"outputs/{key}"].read() for key in dump.groups["outputs"]]
    assert len(outputs) == len(expected)
    for value, wanted in zip(outputs, expected, strict=True):
        # what has the examples along its third axis is a stack of one batch
        np.testing.assert_allclose(value.reshape(wanted.shape), np.asarray(wanted), rtol=1e-3, atol=1e-4)
