"""Arrays for the arguments of `call` that may be left out, on models saved and in memory, against NumPy."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import tfdump as api
from support.command import Run
from tfdump.errors import InputError, TfdumpError

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

SOURCE = '''
import keras
from keras import ops

@keras.saving.register_keras_serializable("optional")
class Pooled(keras.Model):
    """The mean of the embedded tokens, of those in the mask where there is one."""
    def __init__(self, **options):
        super().__init__(**options)
        self.emb, self.out = keras.layers.Embedding(10, 4, name="emb"), keras.layers.Dense(2, name="out")
    def call(self, tokens, mask=None, training=False):
        x = self.emb(tokens)
        if mask is None:
            return self.out(ops.mean(x, axis=1))
        weights = ops.cast(mask, x.dtype)[..., None]
        return self.out(ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1))

@keras.saving.register_keras_serializable("optional")
class Several(keras.Model):
    """A sum of what is there."""
    def __init__(self, **options):
        super().__init__(**options)
        self.out = keras.layers.Dense(2, name="out")
    def call(self, x, y=None, z=None, factor=1.0, training=None):
        total = x * factor
        total = total if y is None else total + 10 * y
        return self.out(total if z is None else total + 100 * z)

@keras.saving.register_keras_serializable("optional")
class Paired(keras.Model):
    """Two arrays in a list, and weights for them."""
    def __init__(self, **options):
        super().__init__(**options)
        self.out = keras.layers.Dense(2, name="out")
    def call(self, inputs, weight=None):
        left, right = inputs
        return self.out(left - right if weight is None else (left - right) * weight)
'''

TOKENS = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 1, 2, 3]], "int32")
MASK = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], bool)
X, Y, Z = (np.random.default_rng(seed).standard_normal((3, 5)).astype("float32") for seed in range(3))


@pytest.fixture(scope="module")
def kinds() -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(SOURCE, space)
    return space


@pytest.fixture
def saved(tmp_path: Path, kinds: dict[str, Any]) -> dict[str, keras.Model]:
    """`pooled.keras`, `several.keras` and `paired.keras`, built with what they need alone, and their arrays."""
    (tmp_path / "own.py").write_text(SOURCE)
    models = {"pooled": kinds["Pooled"](), "several": kinds["Several"](), "paired": kinds["Paired"]()}
    models["pooled"](TOKENS)
    models["several"](X)
    models["paired"]([X, Y])
    for number, (name, model) in enumerate(models.items()):
        for weight in model.weights:
            weight.assign(np.random.default_rng(number).standard_normal(weight.shape))
        model.save(tmp_path / f"{name}.keras")
    for name, array in {"tokens": TOKENS, "mask": MASK, "x": X, "y": Y, "z": Z}.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.savez(tmp_path / "both.npz", tokens=TOKENS, mask=MASK)
    np.savez(tmp_path / "more.npz", tokens=TOKENS, mask=MASK, labels=X)
    return models


def dense(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return x @ model.out.kernel.numpy() + model.out.bias.numpy()


def pooled(model: keras.Model, mask: np.ndarray | None) -> np.ndarray:
    table = model.emb.embeddings.numpy()[TOKENS]
    weights = np.ones(TOKENS.shape) if mask is None else mask.astype(float)
    return dense(model, (table * weights[..., None]).sum(1) / weights.sum(1, keepdims=True))


def output_of(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["outputs/output"][()]


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize(
    "inputs",
    [["both.npz"], ["tokens.npy", "mask=mask.npy"], ["mask=mask.npy", "tokens=tokens.npy"], ["tokens.npy", "mask.npy"]],
    ids=" ".join,
)
def test_an_array_of_an_optional_argument_is_fed(
    saved: dict[str, Any], tfdump: Run, tmp_path: Path, inputs: list[str], eager: bool
) -> None:
    options = ("--import", "own.py", "-o", "d.h5", *["--eager"] * eager)
    done = tfdump("activations", "pooled.keras", *inputs, *options)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    np.testing.assert_allclose(output_of(tmp_path / "d.h5"), pooled(saved["pooled"], MASK), atol=1e-5)


def test_without_it_the_model_runs_without_it(saved: dict[str, Any], tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("activations", "pooled.keras", "tokens.npy", "--import", "own.py", "-o", "d.h5")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(output_of(tmp_path / "d.h5"), pooled(saved["pooled"], None), atol=1e-5)
    listed = tfdump("layers", "pooled.keras", "--import", "own.py")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split("\n")[1].startswith("emb\t")


@pytest.mark.parametrize(
    ("model", "inputs", "complaint"),
    [
        ("pooled", ["more.npz"], "more.npz::labels is no input of the model (its inputs: 'tokens', 'mask')"),
        ("pooled", ["tokens.npy", "masks=mask.npy"], "no input 'masks'; near: 'mask'"),
        ("pooled", ["tokens.npy", "training=mask.npy"], "no input 'training'"),
        ("pooled", ["tokens.npy", "mask.npy", "mask.npy"], "takes 2 inputs, 'tokens', 'mask' (optional), and 3 arrays"),
        ("pooled", ["mask=mask.npy"], "and 1 array is given"),
        ("several", ["x.npy", "y.npy"], "can be any of the optional inputs 'y', 'z' (name it: y=FILE)"),
    ],
)
def test_what_fits_no_argument_is_refused(
    saved: dict[str, Any], tfdump: Run, tmp_path: Path, model: str, inputs: list[str], complaint: str
) -> None:
    done = tfdump("activations", f"{model}.keras", *inputs, "--import", "own.py", "-o", "d.h5")
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "d.h5").exists()


def test_the_advice_about_an_archive_works(saved: dict[str, Any], tfdump: Run, tmp_path: Path) -> None:
    inputs = ["tokens=more.npz::tokens", "mask=more.npz::mask"]
    assert tfdump("activations", "pooled.keras", *inputs, "--import", "own.py", "-o", "d.h5").returncode == 0
    np.testing.assert_allclose(output_of(tmp_path / "d.h5"), pooled(saved["pooled"], MASK), atol=1e-5)


@pytest.mark.parametrize("built", [True, False])
def test_some_of_several_optional_arguments(kinds: dict[str, Any], saved: dict[str, Any], built: bool) -> None:
    """Also a number that is an array here; a model that was never called tells no shapes."""

    def run(x: Any) -> tuple[np.ndarray, keras.Model]:
        model = saved["several"] if built else kinds["Several"]()
        return api.activations(model, x)["out"], model

    for x, expected in (
        ({"x": X, "z": Z}, X + 100 * Z),
        ({"z": Z, "x": X, "y": Y}, X + 10 * Y + 100 * Z),
        ((X, Y, Z), X + 10 * Y + 100 * Z),
        ({"x": X, "factor": Y}, X * Y),
        (X, X),
    ):
        got, model = run(x)
        np.testing.assert_allclose(got, dense(model, expected), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="can be any of the optional inputs"):
        run((X, Y))


@pytest.mark.parametrize("built", [True, False])
def test_a_list_of_arrays_and_an_optional_one(kinds: dict[str, Any], saved: dict[str, Any], built: bool) -> None:
    def run(x: Any) -> tuple[np.ndarray, keras.Model]:
        model = saved["paired"] if built else kinds["Paired"]()
        return api.activations(model, x)["out"], model

    got, model = run((X, Y))
    np.testing.assert_allclose(got, dense(model, X - Y), atol=1e-4)
    if built:
        got, model = run((X, Y, Z))
        np.testing.assert_allclose(got, dense(model, (X - Y) * Z), atol=1e-4)


def test_gradients_take_the_optional_argument_and_the_targets(
    saved: dict[str, Any], tfdump: Run, tmp_path: Path
) -> None:
    """Two plain files are the input and the targets; the rest is said by name, by number, or with --targets."""
    targets = np.random.default_rng(5).standard_normal((3, 2)).astype("float32")
    np.save(tmp_path / "t.npy", targets)
    model = saved["pooled"]
    for inputs, mask in (
        (["tokens.npy", "t.npy"], None),
        (["tokens.npy", "mask.npy", "t.npy"], MASK),
        (["tokens.npy", "mask=mask.npy", "t.npy"], MASK),
        (["both.npz", "t.npy"], MASK),
        (["tokens.npy", "mask.npy", "--targets", "t.npy"], MASK),
        (["tokens.npy", "--targets", "t.npy"], None),
    ):
        options = ("--loss", "mean_squared_error", "--import", "own.py", "-o", "g.h5", "-f")
        done = tfdump("gradients", "pooled.keras", *inputs, *options)
        assert done.returncode == 0, done.stderr
        expected = ((pooled(model, mask) - targets) ** 2).mean()
        with h5py.File(tmp_path / "g.h5") as file:
            assert file["loss"][()] == pytest.approx(expected, rel=1e-5), inputs
            bias = 2 * (pooled(model, mask) - targets).sum(0) / targets.size
            np.testing.assert_allclose(file["gradients/weights/out.bias"][()], bias, rtol=1e-4, atol=1e-6)


def test_saved_inputs_and_their_batches(saved: dict[str, Any], tfdump: Run, tmp_path: Path) -> None:
    """The optional array is read in batches with the others, and a wrong number of examples is an error."""
    options = ("--import", "own.py", "-o", "d.h5", "--batch-size", "2", "--save-inputs")
    assert tfdump("activations", "pooled.keras", "both.npz", *options).returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["inputs/mask"][()], MASK)
    np.testing.assert_allclose(output_of(tmp_path / "d.h5"), pooled(saved["pooled"], MASK), atol=1e-5)
    with pytest.raises(TfdumpError, match="examples"):
        api.activations(saved["pooled"], {"tokens": TOKENS, "mask": MASK[:2]})
