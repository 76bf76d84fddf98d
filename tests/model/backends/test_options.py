"""The options that run a Keras file in another process: what they give, and what is refused in one line."""

import json
import os
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import tfdump as api
from support.backend_models import save_with_own_layer
from support.command import ROOT, SAMPLES, Ended, Run
from support.forked import forked_interpreter
from tfdump.errors import ModelError, TfdumpError, UntrustedModelError
from tfdump.model.loading.load import load_model

pytestmark = pytest.mark.tensorflow

MODEL, X = SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy"
KERAS_2 = ROOT / "tests" / "data" / "keras2_15_net.keras"


def elsewhere() -> tuple[str, str]:
    """The words that run a model in another process."""
    return "--backend-python", forked_interpreter()


def line_of(done: Ended) -> str:
    """The one line of an error."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_a_dump_is_that_of_an_eager_run_but_for_what_made_it(tfdump: Run, tmp_path: Path) -> None:
    for file, words in (("here.h5", ("--eager",)), ("a.h5", elsewhere()), ("b.h5", elsewhere())):
        done = tfdump("activations", MODEL, X, "--examples", "0:20", *words, "-o", file)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "here.h5") as here, h5py.File(tmp_path / "a.h5") as there:
        assert list(here["activations"]) == list(there["activations"])
        for group in ("activations", "outputs"):
            for address, tensor in here[group].items():
                other = there[group][address]
                np.testing.assert_array_equal(other[:], tensor[:])
                assert {name: str(value) for name, value in other.attrs.items()} == {
                    name: str(value) for name, value in tensor.attrs.items()
                }
        assert there["config"][()] == here["config"][()]
        changed = {
            name for name in {*here.attrs, *there.attrs} if str(here.attrs.get(name)) != str(there.attrs.get(name))
        }
        assert changed == {"runtime", "runtime_version", "command"}
        assert there.attrs["runtime"] == "tensorflow"
        assert there.attrs["runtime_version"] == there.attrs["tensorflow_version"] == here.attrs["tensorflow_version"]


def test_layers_lists_what_a_graph_declares(tfdump: Run) -> None:
    """Both open axes of a model of sequences are open, and no axis of fixed size is."""
    path = SAMPLES / "text_gru.keras"
    here, there = (json.loads(tfdump("layers", path, "--json", *words).stdout) for words in ((), elsewhere()))
    assert [(item["address"], item["shape"]) for item in there["items"]] == [
        (item["address"], item["shape"]) for item in here["items"]
    ]
    assert there["items"][0]["shape"][:2] == [None, None]


def test_layers_of_a_model_that_rejects_zeros_asks_for_an_input(tfdump: Run, tmp_path: Path) -> None:
    save_with_own_layer(tmp_path, "if not keras.ops.any(x): raise ValueError('all zero')\n        return x")
    words = ("--import", "mine.py", *elsewhere())
    line = line_of(tfdump("layers", "m.keras", *words))
    assert line.endswith("does not run on zeros: the model fails on this input: all zero (add an INPUT to run it on)")
    done = tfdump("layers", "m.keras", "x.npy", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("own\tOwn")


def test_random_layers_and_states_start_again_with_every_run(tfdump: Run, tmp_path: Path) -> None:
    """The looks at the first examples leave no trace, so that a batch at a time is one batch after the other."""
    x = keras.Input((3, 2), batch_size=2, name="x")
    keras.Model(x, layers.GRU(4, stateful=True, name="gru")(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6, 3, 2)).astype("f4"))
    for file, words in (("here.h5", ("--eager",)), ("there.h5", elsewhere())):
        done = tfdump("activations", "m.keras", "x.npy", *words, "-o", file)
        assert done.returncode == 0, done.stderr
    model = keras.models.load_model(tmp_path / "m.keras")
    batches = np.load(tmp_path / "x.npy").reshape(3, 2, 3, 2)
    expected = np.concatenate([np.asarray(model(batch)) for batch in batches])
    for file in ("here.h5", "there.h5"):
        with h5py.File(tmp_path / file) as dump:
            np.testing.assert_allclose(dump["activations/gru"][:], expected, rtol=1e-5, atol=1e-6)


def test_until_nan_searches_elsewhere_too(tfdump: Run, tmp_path: Path) -> None:
    x = keras.Input((2,), name="x")
    keras.Model(x, layers.Activation("log_softmax", name="last")(keras.ops.log(x))).save(tmp_path / "m.keras")
    values = np.ones((9, 2), "f4")
    values[5, 1] = -1.0
    np.save(tmp_path / "x.npy", values)
    done = tfdump("activations", "m.keras", "x.npy", "--until-nan", "--batch-size", 2, *elsewhere())
    assert done.returncode == 1, done.stderr
    assert "log" in done.stderr
    assert "example 5" in done.stderr


def test_the_environment_may_ask_for_a_backend_that_only_another_process_has(tfdump_process: Run) -> None:
    done = tfdump_process("layers", MODEL, *elsewhere(), env=os.environ | {"KERAS_BACKEND": "jax"})
    assert done.returncode == 0, done.stderr
    assert "conv1\tConv2D" in done.stdout


def test_two_sides_in_processes_of_their_own(tfdump: Run) -> None:
    words = (
        "--examples",
        "0:50",
        "--golden-backend-python",
        forked_interpreter(),
        "--new-backend-python",
        forked_interpreter(),
    )
    done = tfdump("compare", MODEL, MODEL, X, *words, "--exact")
    assert done.returncode == 0, done.stderr
    assert "agree in 14 tensors" in done.stderr


def test_a_difference_elsewhere_is_found_at_its_layer(tfdump: Run, tmp_path: Path) -> None:
    model = keras.models.load_model(MODEL)
    kernel = model.get_layer("conv2").kernel
    kernel.assign(kernel * 1.01)
    model.save(tmp_path / "digits_cnn.keras")
    done = tfdump(
        "compare", MODEL, "digits_cnn.keras", X, "--examples", "0:20", "--new-backend-python", forked_interpreter()
    )
    assert done.returncode == 1, done.stderr
    assert "first diverging layer: conv2 (Conv2D)" in done.stderr


def test_python_has_the_same_arguments() -> None:
    x = np.load(X)[:5]
    here, there = api.activations(MODEL, x, eager=True), api.activations(MODEL, x, backend_python=forked_interpreter())
    assert list(here) == list(there)
    for address, values in here.items():
        np.testing.assert_array_equal(there[address], values)
    listed = api.layers(MODEL, backend="tensorflow", backend_python=Path(forked_interpreter()))
    assert [tensor.address for tensor in listed] == list(here)
    assert api.compare(MODEL, MODEL, x, new_backend_python=forked_interpreter()).same


def test_python_refuses_what_is_no_backend() -> None:
    x = np.load(X)[:2]
    for arguments, words in (
        ({"backend": "theano"}, "backend='theano' is not a backend (tensorflow, jax, torch)"),
        ({"backend_python": 3}, "backend_python=3 is not the path of a Python interpreter"),
        (
            {"backend_python": sys.executable, "training": True},
            "training=True does not go with backend and backend_python",
        ),
    ):
        with pytest.raises(TfdumpError) as error:
            api.activations(MODEL, x, **arguments)
        assert words in str(error.value)
    with pytest.raises(TfdumpError, match="a model in memory runs in this process, without backend"):
        api.activations(keras.models.load_model(MODEL), x, backend="jax")


@pytest.mark.parametrize(
    "words",
    [("--training",), ("--eager",), ("--dequantize",), ("--attention",), ("--ops",), ("--preactivation",)],
    ids=lambda words: words[0],
)
def test_what_needs_tensorflow_is_refused(tfdump: Run, words: tuple[str, ...]) -> None:
    line = line_of(tfdump("activations", MODEL, X, *elsewhere(), *words))
    assert line.startswith(f"Error: {words[0]} does not go with --backend and --backend-python")
    assert line.endswith("(leave it out)")


def test_files_that_are_not_of_keras_are_refused(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07")
    (tmp_path / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 100)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    for name, kind in (("m.onnx", "ONNX"), ("m.tflite", "TFLite"), ("saved", "SavedModel")):
        line = line_of(tfdump("activations", name, X, "--backend", "jax"))
        assert line == f"Error: --backend jax is for Keras files, but {name} is of the kind {kind} (leave it out)"
    assert "was saved by Keras 2" in line_of(tfdump("activations", KERAS_2, X, "--backend", "torch"))
    like = line_of(tfdump("activations", MODEL, X, "--backend", "jax", "--like", MODEL))
    assert like == "Error: --like is not for Keras files, and --backend jax is (leave one of them out)"


def test_a_dump_has_no_backend(tfdump: Run) -> None:
    assert tfdump("activations", MODEL, X, "-o", "d.h5").returncode == 0
    line = line_of(tfdump("compare", "d.h5", MODEL, X, "--golden-backend", "jax"))
    assert line.startswith("Error: d.h5 is a dump, and --golden-backend and --new-backend are for models")


def test_no_part_of_a_model_of_another_process_is_written(tfdump: Run, tmp_path: Path) -> None:
    line = line_of(tfdump("compare", MODEL, MODEL, X, "--new-backend-python", sys.executable, "--shrink", "small"))
    assert "--shrink writes parts of models that run in this process" in line
    with pytest.raises(TfdumpError, match="does not go with golden_backend and new_backend"):
        api.compare(MODEL, MODEL, np.load(X), new_backend="jax", shrink=tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_the_options_of_a_side_are_named(tfdump: Run) -> None:
    line = line_of(tfdump("compare", MODEL, MODEL, X, "--new-backend", "jax"))
    assert "--new-backend jax needs jax in the environment of" in line
    assert "--new-backend-python PATH" in line


def lambda_file(folder: Path) -> Path:
    """A model whose file has code that would leave a trace."""
    trace = str(folder / "trace")
    code = layers.Lambda(lambda x: (open(trace, "w"), x)[1], name="code")  # noqa: SIM115 - one expression
    model = keras.Sequential([keras.Input((3,)), code])
    model.save(folder / "m.keras")
    (folder / "trace").unlink(missing_ok=True)
    np.save(folder / "x.npy", np.ones((2, 3), "f4"))
    return folder / "m.keras"


def test_code_in_a_file_runs_only_with_trust(tfdump: Run, tmp_path: Path) -> None:
    lambda_file(tmp_path)
    for words in (elsewhere(), (*elsewhere(), "--import", "keras")):
        line = line_of(tfdump("activations", "m.keras", "x.npy", *words))
        assert "layer 'code' is a Lambda layer, which runs code from the model file" in line
        assert "--trust-model" in line
    with pytest.raises(UntrustedModelError, match=r"add trust=True"):
        api.activations(tmp_path / "m.keras", np.ones((2, 3), "f4"), backend_python=forked_interpreter())
    assert not (tmp_path / "trace").exists()
    assert tfdump("activations", "m.keras", "x.npy", *elsewhere(), "--trust-model").returncode == 0
    assert (tmp_path / "trace").exists()


def test_a_class_of_the_user_has_to_be_imported(tfdump: Run, tmp_path: Path) -> None:
    save_with_own_layer(tmp_path, "return -x")
    (tmp_path / "empty.py").write_text("")
    words = ("activations", "m.keras", "x.npy", *elsewhere())
    here = line_of(tfdump("activations", "m.keras", "x.npy"))
    assert line_of(tfdump(*words)) == here
    assert "needs the class 'Own' of the module 'mine'" in here
    assert "needs the class 'Own' of the module 'mine'" in line_of(tfdump(*words, "--import", "empty.py"))
    (tmp_path / "code.py").write_text("import keras\nclass Own(keras.layers.Lambda): pass\n")
    assert "is a Lambda layer" in line_of(tfdump(*words, "--import", "code.py"))
    assert line_of(tfdump(*words, "--import", "gone.py")) == "Error: --import gone.py: no such file"
    assert tfdump(*words, "--import", "mine.py").returncode == 0
    with h5py.File(tmp_path / "m.activations.h5") as file:
        np.testing.assert_array_equal(file["activations/own"][:], -np.load(tmp_path / "x.npy"))


def test_a_layer_that_would_fill_the_memory_is_refused(tfdump: Run, tmp_path: Path) -> None:
    """A file of a few kilobytes that declares a kernel of gigabytes."""
    import zipfile

    keras.Sequential([keras.Input((3,)), layers.Dense(4, name="wide")]).save(tmp_path / "small.keras")
    with zipfile.ZipFile(tmp_path / "small.keras") as old, zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"units": 4', b'"units": 900000000'))
    np.save(tmp_path / "x.npy", np.ones((2, 3), "f4"))
    line = line_of(tfdump("activations", "m.keras", "x.npy", *elsewhere()))
    assert line == line_of(tfdump("activations", "m.keras", "x.npy"))
    assert "900000000" in line
    with pytest.raises(ModelError):
        load_model(tmp_path / "m.keras")
