"""`--shrink` with planted faults: the part holds the faulty layer only, and its values are those of eager Keras."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers, ops

import tfdump
from support.command import SAMPLES, Ended, Run
from support.converted_models import randomized
from support.onnx_files import exported_onnx
from support.saved_formats import exported, lite, sample
from support.shrunk_folders import ShrunkFolder, reproduced
from support.tiny_models import floats
from tfdump.errors import DumpError
from tfdump.model.tflite.flatbuffer import read_tflite

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

DIGITS = np.load(SAMPLES / "digits.npy")
FAULTY = {"keras": "n.keras", "tflite": "n.tflite", "onnx": "n.onnx", "int8": "n8.tflite"}

Repeat = Callable[[ShrunkFolder], Ended]


@pytest.fixture
def repeat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Repeat:
    return lambda folder: reproduced(folder, monkeypatch, capsys)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model, and with another kernel in `conv2`, in every format."""
    folder = tmp_path_factory.mktemp("models")
    model = sample("digits_cnn")
    model.save(folder / "g.keras")
    lite(model, folder / "g.tflite")
    exported_onnx(model, folder / "g.onnx", DIGITS[:2])
    kernel = model.get_layer("conv2").kernel
    kernel.assign(kernel * 1.05)
    model.save(folder / "n.keras")
    lite(model, folder / "n.tflite")
    lite(model, folder / "n8.tflite", "int8_inside", DIGITS[:100])
    exported_onnx(model, folder / "n.onnx", DIGITS[:2])
    exported(model, folder / "n_saved")
    np.save(folder / "x.npy", DIGITS)
    return folder


@pytest.fixture
def here(models: Path, tmp_path: Path) -> Path:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    return tmp_path


def until(model: keras.Model, name: str, x: np.ndarray) -> np.ndarray:
    """The output of one layer, by eager Keras."""
    return np.asarray(keras.Model(model.inputs, model.get_layer(name).output)(x))


def shrunk(tfdump: Run, here: Path, *words: object) -> tuple[ShrunkFolder, Ended]:
    done = tfdump("compare", *words, "--shrink", "bug")
    assert done.returncode == 1, done.stderr
    assert (here / "bug").is_dir(), done.stderr
    return ShrunkFolder(here / "bug"), done


def kinds(path: Path) -> list[str]:
    """The operations of a part in another format."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        onnx.checker.check_model(model)
        return [node.op_type for node in model.graph.node]
    (graph,) = read_tflite(path).subgraphs
    return [operator.kind for operator in graph.operators]


@pytest.mark.parametrize(
    ("new", "layer", "operations"),
    [
        ("n.keras", "conv2", None),
        ("n.tflite", "bn2", ["CONV_2D"]),  # the normalization is folded into the convolution
        ("n.onnx", "conv2", ["Transpose", "Conv"]),
    ],
)
def test_the_part_is_the_faulty_layer(
    tfdump: Run, here: Path, repeat: Repeat, new: str, layer: str, operations: list[str] | None
) -> None:
    folder, done = shrunk(tfdump, here, "g.keras", new, "x.npy")
    suffix = Path(new).suffix
    assert folder.files == ["README.md", "expected.npy", "golden.keras", "input.npy", f"new{suffix}", "seen.npy"]
    assert f"first diverging layer: {layer} " in done.stderr
    assert "wrote bug: the part that ends at" in done.stderr
    assert folder.layers() == ["conv2", "bn2"][: 2 if layer == "bn2" else 1]
    if operations is None:
        assert folder.layers("new") == ["conv2"]
    else:
        assert kinds(folder.path / f"new{suffix}") == operations
    golden, faulty = (keras.models.load_model(here / name, compile=False) for name in ("g.keras", "n.keras"))
    (example,) = folder.examples
    x = DIGITS[example : example + 1]
    np.testing.assert_allclose(folder.array("input"), until(golden, "relu1", x), atol=1e-5)
    np.testing.assert_allclose(folder.array("expected"), until(golden, layer, x), atol=1e-4)
    np.testing.assert_allclose(folder.array("seen"), until(faulty, layer, x), atol=1e-4)
    again = repeat(folder)
    assert again.returncode == 1, again.stderr
    assert f"first diverging layer: {layer} " in again.stderr
    assert len(folder.readme.splitlines()) < 40


@pytest.mark.parametrize("golden", ["n.tflite", "n.onnx"])
def test_both_directions(tfdump: Run, here: Path, repeat: Repeat, golden: str) -> None:
    folder, _ = shrunk(tfdump, here, golden, "g.keras", "x.npy")
    operations = kinds(folder.path / f"golden{Path(golden).suffix}")
    assert operations == (["CONV_2D"] if golden == "n.tflite" else ["Transpose", "Conv"])
    assert folder.layers("new")[0] == "conv2"
    assert repeat(folder).returncode == 1


@pytest.mark.parametrize("pair", [("g.tflite", "n.onnx"), ("g.onnx", "n.tflite"), ("g.onnx", "n.onnx")])
def test_two_files_without_keras(tfdump: Run, here: Path, repeat: Repeat, pair: tuple[str, str]) -> None:
    folder, _ = shrunk(tfdump, here, *pair, "x.npy")
    for name, side in zip(pair, ("golden", "new"), strict=True):
        operations = kinds(folder.path / f"{side}{Path(name).suffix}")
        assert len([one for one in operations if one.upper() in ("CONV", "CONV_2D")]) == 1
        assert len(operations) <= 6
    assert repeat(folder).returncode == 1


def test_a_quantized_file(tfdump: Run, here: Path, repeat: Repeat) -> None:
    folder, _ = shrunk(
        tfdump, here, "g.keras", "n8.tflite", "x.npy", "--new-dequantize", "--scale", "0.04", "--rtol", "0"
    )
    assert kinds(folder.path / "new.tflite") == ["CONV_2D"]
    assert repeat(folder).returncode == 1
    assert {"--new-dequantize", "--scale"} <= set(folder.commands[0])


def test_a_missing_layer_that_diverges_is_named(tfdump: Run, here: Path, repeat: Repeat) -> None:
    folder, done = shrunk(tfdump, here, "g.keras", "n8.tflite", "x.npy", "--new-dequantize", "--scale", "0.01")
    assert "first diverging layer: conv1 " in done.stderr
    assert "conv1 has no counterpart, so this is about the next tensor that both sides have" in folder.readme
    assert folder.layers() == ["conv1", "bn1", "relu1"]
    np.testing.assert_array_equal(folder.array("input"), DIGITS[folder.examples])
    assert "from the input `image` to `relu1`" in folder.readme
    assert repeat(folder).returncode == 1


def test_the_same_command_writes_the_same_bytes(tfdump: Run, here: Path) -> None:
    folder, _ = shrunk(tfdump, here, "g.keras", "n.tflite", "x.npy")
    before = {name: (folder.path / name).read_bytes() for name in folder.files}
    again = tfdump("compare", "g.keras", "n.tflite", "x.npy", "--shrink", "bug")
    assert again.returncode == 2
    assert "output bug exists (overwrite it with -f" in again.stderr
    assert tfdump("compare", "g.keras", "n.tflite", "x.npy", "--shrink", "bug", "-f").returncode == 1
    assert {name: (folder.path / name).read_bytes() for name in folder.files} == before


def test_models_that_agree_leave_no_folder(tfdump: Run, here: Path) -> None:
    before = sorted(here.iterdir())
    done = tfdump("compare", "g.keras", "g.tflite", "x.npy", "--shrink", "bug")
    assert done.returncode == 0
    assert "nothing was written to bug: both sides agree" in done.stderr
    assert sorted(here.iterdir()) == before


def test_a_folder_of_the_user_is_never_replaced(tfdump: Run, here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("years")
    for target, said in (
        ("mine", "a folder that --shrink did not write"), ("x.npy", "is not a folder"), ("no/bug", "does not exist"),
    ):  # fmt: skip
        done = tfdump("compare", "g.keras", "n.keras", "x.npy", "--shrink", target, "-f")
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert said in line
    assert (here / "mine" / "thesis.txt").read_text() == "years"
    (here / "empty").mkdir()
    assert tfdump("compare", "g.keras", "n.keras", "x.npy", "--shrink", "empty").returncode == 1
    assert (here / "empty" / "README.md").exists()
    assert not list(here.glob("*.partial"))


@pytest.mark.parametrize("turned", [False, True])
def test_a_dump_as_one_side(tfdump: Run, here: Path, repeat: Repeat, turned: bool) -> None:
    assert tfdump("activations", "g.keras", "x.npy", "-o", "g.h5").returncode == 0
    sides = ("n.onnx", "g.h5") if turned else ("g.h5", "n.onnx")
    folder, _ = shrunk(tfdump, here, *sides, "x.npy")
    name = "golden.onnx" if turned else "new.onnx"
    assert folder.files == sorted(["README.md", "expected.npy", "input.npy", name, "seen.npy"])
    assert kinds(folder.path / name)[-1] == "Conv"
    assert len(kinds(folder.path / name)) <= 2
    golden = keras.models.load_model(here / "g.keras", compile=False)
    (example,) = folder.examples
    expected = until(golden, "conv2", DIGITS[example : example + 1])
    expected = expected.transpose(0, 3, 1, 2) if turned else expected  # the axes of the golden side
    np.testing.assert_allclose(folder.array("seen" if turned else "expected"), expected, atol=1e-4)
    again = repeat(folder)
    assert again.returncode == 1, again.stderr


def test_a_saved_model_stays_whole(tfdump: Run, here: Path, repeat: Repeat) -> None:
    folder, _ = shrunk(tfdump, here, "g.keras", "n_saved", "x.npy", "--trust-model", "--allow-missing")
    assert (folder.path / "new" / "saved_model.pb").exists()
    assert len(folder.examples) == 1
    np.testing.assert_array_equal(folder.array("input"), DIGITS[folder.examples])
    assert "the whole model of n_saved" in folder.readme
    (here / "names.tsv").write_text("conv2\tconv2\n")
    mapped, _ = shrunk(
        tfdump, here, "g.keras", "n_saved", "x.npy", "--trust-model", "--allow-missing", "--map", "names.tsv", "-f"
    )
    assert repeat(mapped).returncode == 1
    assert "SavedModel" in folder.readme
    assert repeat(folder).returncode == 1


def test_first_and_dumps_beside(tfdump: Run, here: Path) -> None:
    folder, _ = shrunk(tfdump, here, "g.keras", "n.keras", "x.npy", "--first", "--batch-size", "20")
    assert folder.layers() == ["conv2"]
    assert folder.examples[0] < 20
    folder, _ = shrunk(tfdump, here, "g.keras", "n.keras", "x.npy", "-o", "both", "-f")
    assert folder.layers() == ["conv2"]


def test_only_one_example_differs(tmp_path: Path) -> None:
    keras.utils.clear_session()
    x = keras.Input((3,))
    golden = keras.Model(x, layers.Dense(2, name="d")(layers.ReLU(name="r")(x)))
    new = keras.Model(x, layers.Dense(2, name="d")(layers.ReLU(name="r", max_value=5.0)(x)))
    new.set_weights(golden.get_weights())
    data = np.abs(floats(40, 3))
    data[17] = 9
    report = tfdump.compare(golden, new, data, batch_size=8, shrink=tmp_path / "bug")
    assert not report.same
    folder = ShrunkFolder(tmp_path / "bug")
    assert folder.examples == [17]
    assert folder.layers() == folder.layers("new") == ["r"]
    np.testing.assert_array_equal(folder.array("input"), data[17:18])
    np.testing.assert_array_equal(folder.array("expected"), np.full((1, 3), 9))
    np.testing.assert_array_equal(folder.array("seen"), np.full((1, 3), 5))
    with pytest.raises(DumpError, match="exists"):
        tfdump.compare(golden, new, data, shrink=tmp_path / "bug")
    assert not tfdump.compare(golden, new, data, shrink=tmp_path / "bug", force=True).same
    assert tfdump.compare(golden, golden, data, shrink=tmp_path / "none").same
    assert not (tmp_path / "none").exists()


@keras.saving.register_keras_serializable("shrink")
class Spread(layers.Layer):
    """Adds something when the examples of a batch are far apart."""

    def __init__(self, factor: float, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, x: Any) -> Any:
        apart = ops.max(x[:, 0]) - ops.min(x[:, 0])
        return x + ops.where(apart > 10.0, self.factor, 0.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def test_two_examples_that_differ_only_together(tmp_path: Path) -> None:
    def model(factor: float) -> keras.Model:
        keras.utils.clear_session()
        x = keras.Input((2,), name="x")
        return keras.Model(x, layers.ReLU(name="r")(Spread(factor, name="s")(x)))

    data = np.abs(floats(12, 2))
    data[3], data[9] = -6, 6
    tfdump.compare(model(0.0), model(1.0), data, batch_size=12, shrink=tmp_path / "bug")
    assert ShrunkFolder(tmp_path / "bug").examples == [3, 9]


def nested(kernel: float = 1.0) -> keras.Model:
    """A block inside a model, with one changed kernel in its middle."""
    keras.utils.clear_session()
    inside = keras.Input((4,), name="inside")
    y = layers.Dense(4, name="a")(inside)
    y = layers.Dense(4, activation="tanh", name="b")(y)
    block = keras.Model(inside, layers.ReLU(name="c")(y), name="block")
    x = keras.Input((5,), name="x")
    y = layers.Dense(4, name="before")(x)
    model = randomized(keras.Model(x, layers.Dense(2, name="after")(block(y))))
    weight = block.get_layer("b").kernel
    weight.assign(weight * kernel)
    return model


def first_of_block(kernel: float = 1.0) -> keras.Model:
    model = nested()
    weight = model.get_layer("block").get_layer("a").kernel
    weight.assign(weight * kernel)
    return model


def shared(kernel: float = 1.0) -> keras.Model:
    """One layer twice; only its second call meets large numbers."""
    keras.utils.clear_session()
    x = keras.Input((4,), name="x")
    twice = layers.Dense(4, activation="relu6" if kernel == 1 else "relu", name="twice")
    y = twice(layers.Rescaling(1e-3, name="small")(x))
    y = twice(layers.Rescaling(1e5, name="large")(y))
    return randomized(keras.Model(x, layers.Dense(2, name="last")(y)))


def branches(kernel: float = 1.0) -> keras.Model:
    """Two inputs, two branches, and a fault where they meet."""
    keras.utils.clear_session()
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    y = layers.Dense(4, name="left")(a), layers.Dense(4, name="right")(b)
    joined = (layers.Add(name="join") if kernel == 1 else layers.Subtract(name="join"))(y)
    return randomized(keras.Model([a, b], layers.Dense(2, name="last")(joined)))


def operation(kernel: float = 1.0) -> keras.Model:
    """An operation of the graph that is no layer."""
    keras.utils.clear_session()
    x = keras.Input((3,), name="x")
    y = layers.Dense(4, name="first")(x)
    return randomized(keras.Model(x, layers.Dense(2, name="last")(ops.add(y, 0.0 if kernel == 1 else 0.5))))


def attention(kernel: float = 1.0) -> keras.Model:
    """Layers that call layers inside of them, behind a mask."""
    keras.utils.clear_session()
    x = keras.Input((6,), dtype="int32", name="x")
    y = layers.Embedding(9, 4, mask_zero=True, name="words")(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(y)
    model = randomized(keras.Model(x, layers.MultiHeadAttention(2, 3, name="heads")(y, y)))
    weight = model.get_layer("heads" if kernel > 1 else "both").weights[0]
    weight.assign(weight * kernel)
    return model


def recurrence(kernel: float = 1.0) -> keras.Model:
    return attention(1 / kernel)


def sequential(kernel: float = 1.0) -> keras.Model:
    keras.utils.clear_session()
    names = ("one", "two", "three")
    model = randomized(keras.Sequential([keras.Input((4,)), *(layers.Dense(4, name=name) for name in names)]))
    weight = model.get_layer("two").kernel
    weight.assign(weight * kernel)
    return model


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (nested, ["b"]), (first_of_block, ["a"]), (shared, ["twice"]), (branches, ["join"]), (operation, ["add"]),
        (sequential, ["two"]), (attention, ["heads"]),
        (recurrence, ["not_equal", "both"]),
    ],
)  # fmt: skip
def test_graphs_of_keras(
    make: Callable[..., keras.Model], expected: list[str], tmp_path: Path, tfdump: Run, repeat: Repeat
) -> None:
    make().save(tmp_path / "g.keras")
    make(1.5).save(tmp_path / "n.keras")
    model = keras.models.load_model(tmp_path / "g.keras")
    arrays = {one.name: np.abs(floats(6, *one.shape[1:], seed=n)) for n, one in enumerate(model.inputs)}
    if model.inputs[0].dtype == "int32":
        arrays = {"x": np.random.default_rng(3).integers(0, 9, (6, 6)).astype("i4")}
    np.savez(tmp_path / "x.npz", **arrays)
    folder, _ = shrunk(tfdump, tmp_path, "g.keras", "n.keras", "x.npz")
    assert folder.layers() == folder.layers("new") == expected
    again = repeat(folder)
    assert again.returncode == 1, again.stderr
    part = keras.models.load_model(folder.path / "golden.keras")
    if make is recurrence:  # the mask comes from the tokens
        inputs = np.load(folder.path / "inputs.npz")
        assert sorted(inputs.files) == ["words_value", "x"]
        both = keras.models.load_model(tmp_path / "g.keras").get_layer("both")
        expected_values = both(inputs["words_value"], mask=inputs["x"] != 0)
        np.testing.assert_allclose(folder.array("expected"), np.asarray(expected_values), rtol=1e-4, atol=1e-6)
    elif make is branches:
        inputs = np.load(folder.path / "inputs.npz")
        assert sorted(inputs.files) == ["left_value", "right_value"]
        np.testing.assert_allclose(folder.array("expected"), inputs["left_value"] + inputs["right_value"], rtol=1e-5)
        np.testing.assert_allclose(folder.array("seen"), inputs["left_value"] - inputs["right_value"], rtol=1e-5)
    else:
        np.testing.assert_allclose(folder.array("expected"), np.asarray(part(folder.array("input"))), rtol=1e-4)


def chain(shift: float) -> keras.Model:
    """Ten layers that each add a little."""
    keras.utils.clear_session()
    x = y = keras.Input((3,), name="x")
    for number in range(10):
        y = layers.Rescaling(1.0, offset=shift, name=f"l{number}")(y)
    return keras.Model(x, y)


def test_an_error_that_adds_up_needs_several_layers(tmp_path: Path, tfdump: Run, repeat: Repeat) -> None:
    chain(0.0).save(tmp_path / "g.keras")
    chain(0.01).save(tmp_path / "n.keras")
    np.save(tmp_path / "x.npy", np.ones((4, 3), "f4"))
    folder, done = shrunk(
        tfdump, tmp_path, "g.keras", "n.keras", "x.npy", "--rtol", "0", "--atol", "0.045", "--scale", "0"
    )
    assert "first diverging layer: l4 " in done.stderr  # 5 layers, of which 4 stay below the bound
    assert folder.layers() == [f"l{number}" for number in range(5)]
    assert "it does not differ in the same way when it runs by itself" in folder.readme
    np.testing.assert_allclose(folder.array("seen"), np.full((1, 3), 1.05), rtol=1e-5)
    assert repeat(folder).returncode == 1


@keras.saving.register_keras_serializable("shrink")
class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self, factor: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor
        self.one, self.two = layers.Dense(3, name="one"), layers.Dense(3, name="two")

    def call(self, x: Any) -> Any:
        return self.two(self.one(x)) * self.factor

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}


def test_a_subclassed_model_stays_whole(tmp_path: Path) -> None:
    data = floats(7, 4)
    golden, new = Subclassed(), Subclassed()
    for model in (golden, new):
        model(data)
        randomized(model)
    new.two.kernel.assign(new.two.kernel * 1.5)
    report = tfdump.compare(golden, new, data, shrink=tmp_path / "bug")
    assert report.first is not None
    folder = ShrunkFolder(tmp_path / "bug")
    assert len(folder.examples) == 1
    assert "the whole model" in folder.readme
    assert "no functional or Sequential model" in folder.readme
    np.testing.assert_array_equal(folder.array("input"), data[folder.examples])
    hidden = np.asarray(golden.one(folder.array("input")))
    np.testing.assert_allclose(folder.array("expected"), np.asarray(golden.two(hidden)), rtol=1e-5)
    np.testing.assert_allclose(folder.array("seen"), np.asarray(new.two(hidden)), rtol=1e-5)


LAYERS = """
import keras

class Shift(keras.layers.Layer):
    def __init__(self, by=0.0, **options):
        super().__init__(**options)
        self.by = by

    def call(self, x):
        return x + self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}
"""


def test_classes_of_models_in_memory_are_imported_by_the_commands(
    tmp_path: Path, repeat: Repeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shift_layers.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(tmp_path)
    from shift_layers import Shift

    def model(by: float) -> keras.Model:
        keras.utils.clear_session()
        x = keras.Input((3,), name="x")
        return keras.Model(x, layers.ReLU(name="r")(Shift(by, name="shift")(layers.ReLU(name="before")(x))))

    tfdump.compare(model(0.0), model(0.5), floats(4, 3), shrink=tmp_path / "bug")
    folder = ShrunkFolder(tmp_path / "bug")
    assert "--import ../shift_layers.py" in " ".join(folder.commands[0])
    np.testing.assert_allclose(folder.array("seen") - folder.array("expected"), np.full((1, 3), 0.5), rtol=1e-6)
    again = repeat(folder)
    assert again.returncode == 1, again.stderr
    assert folder.readme.startswith("# functional (golden) and functional (new) differ at shift (Shift)")


def test_models_in_memory_stay_as_they_are(tmp_path: Path) -> None:
    golden, new = nested(), nested(1.5)
    before = [golden.get_config(), [w.copy() for w in golden.get_weights()]]
    calls = [len(layer._inbound_nodes) for layer in golden.layers]
    tfdump.compare(golden, new, floats(5, 5), shrink=tmp_path / "bug")
    assert golden.get_config() == before[0]
    assert [len(layer._inbound_nodes) for layer in golden.layers] == calls
    for value, old in zip(golden.get_weights(), before[1], strict=True):
        np.testing.assert_array_equal(value, old)


def test_inputs_of_text(tfdump: Run, tmp_path: Path, repeat: Repeat) -> None:
    model = sample("text_gru")
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)][-1]
    shutil.copy(SAMPLES / "text_gru.keras", tmp_path / "g.keras")
    dense.kernel.assign(dense.kernel * 1.5)
    model.save(tmp_path / "n.keras")
    folder, _ = shrunk(tfdump, tmp_path, "g.keras", "n.keras", SAMPLES / "text.npz")
    assert folder.layers() == [dense.name]
    assert repeat(folder).returncode == 1
    first = next(layer for layer in model.layers if isinstance(layer, layers.Embedding))
    first.embeddings.assign(first.embeddings * 1.5)
    model.save(tmp_path / "n.keras")
    folder, _ = shrunk(tfdump, tmp_path, "g.keras", "n.keras", SAMPLES / "text.npz", "-f")
    assert first.name in folder.layers()
    assert repeat(folder).returncode == 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(tfdump: Run, tmp_path: Path, repeat: Repeat, policy: str) -> None:
    for name, factor in (("g", 1.0), ("n", 1.5)):
        keras.utils.clear_session()
        x = keras.Input((4,), name="x")
        y = layers.Dense(4, dtype=policy, name="two")(layers.Dense(4, dtype=policy, name="one")(x))
        model = randomized(keras.Model(x, layers.Dense(2, dtype=policy, name="three")(y)))
        kernel = model.get_layer("two").kernel
        kernel.assign(kernel * factor)
        model.save(tmp_path / f"{name}.keras")
    np.save(tmp_path / "x.npy", floats(5, 4))
    folder, _ = shrunk(tfdump, tmp_path, "g.keras", "n.keras", "x.npy")
    assert folder.layers() == ["two"]
    assert repeat(folder).returncode == 1


def test_the_options_of_the_comparison_are_those_of_the_commands(tfdump: Run, here: Path, repeat: Repeat) -> None:
    (here / "names.tsv").write_text("conv2\tconv2\n")
    for options in (
        ("--exact",), ("--max-ulp", "20"), ("--min-cosine", "0.9999999"), ("--min-sqnr", "conv*=99"),
        ("--scale", "conv*=1e-3", "--rtol", "0"),
        ("-l", "conv*", "-x", "conv1", "--pair", "names"), ("--map", "names.tsv", "--ignore", "pool"),
    ):  # fmt: skip
        folder, done = shrunk(tfdump, here, "g.keras", "n.keras", "x.npy", "-f", *options)
        again = repeat(folder)
        assert again.returncode == 1, (options, again.stderr)
        assert "conv" in done.stderr


def test_a_large_model_is_named_and_not_copied(
    tfdump: Run, here: Path, repeat: Repeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfdump.side_by_side.shrink.parts.LARGEST_COPY", 1000)
    folder, _ = shrunk(tfdump, here, "g.keras", "n_saved", "x.npy", "--trust-model", "--allow-missing")
    assert not (folder.path / "new").exists()
    assert "../n_saved" in folder.commands[0]
    assert re.search(r"n_saved: SavedModel, SHA-256 [0-9a-f]{64}", folder.readme)
    assert "n_saved is too large to be copied here" in folder.readme
    assert repeat(folder).returncode == 1


def test_what_cannot_be_cut_down_is_said(tfdump: Run, here: Path) -> None:
    assert tfdump("activations", "g.keras", "x.npy", "-o", "s.h5", "--stats-only").returncode == 0
    done = tfdump("compare", "s.h5", "n.keras", "x.npy", "--shrink", "bug")
    assert done.returncode == 1
    assert "nothing was written to bug: 'conv2' was compared by its statistics" in done.stderr
    assert not (here / "bug").exists()
