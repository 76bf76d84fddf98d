"""SavedModels and `.tflite` files from the shell: good input, bad input, and what stands on stdout and stderr."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.command import SAMPLES, Ended, Run
from support.saved_formats import exported, lite, sample, saved

pytestmark = pytest.mark.tensorflow

DIGITS = SAMPLES / "digits.npy"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample CNN as a SavedModel and as `.tflite` files."""
    folder = tmp_path_factory.mktemp("models")
    cnn = sample("digits_cnn")
    exported(cnn, folder / "cnn")
    lite(cnn, folder / "cnn.tflite")
    lite(cnn, folder / "cnn8.tflite", "int8", np.load(DIGITS)[:50])
    return folder


def assert_refused(done: Ended, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0]


def attributes(dump: Path, address: str) -> dict[str, object]:
    with h5py.File(dump) as file:
        return dict(file[f"activations/{address}"].attrs)


# --- good input


def test_a_saved_model_is_dumped(tfdump: Run, models: Path, tmp_path: Path) -> None:
    done = tfdump("activations", models / "cnn", DIGITS, "--trust-model", "--stats")
    assert (done.returncode, done.stdout) == (0, "cnn.activations.h5\n"), done.stderr
    conv1 = attributes(tmp_path / "cnn.activations.h5", "conv1")
    assert (conv1["class"], conv1["dtype"], conv1["axis0"]) == ("BiasAdd", "float32", "example")
    assert conv1["structure"] == "StatefulPartitionedCall/digits_cnn_1/conv1_1/BiasAdd"
    with h5py.File(tmp_path / "cnn.activations.h5") as file:
        assert (file.attrs["model"], file.attrs["model_class"]) == ("cnn", "SavedModel")
        assert len(file.attrs["model_sha256"]) == 64
        described = json.loads(file["config"][()])
        assert described["inputs"] == [{"name": "image", "shape": [None, 8, 8, 1], "dtype": "float32"}]
        assert list(file["outputs"]) == ["output_0"]
        assert "--trust-model" in file.attrs["command"]


@pytest.mark.usefixtures("converter_names_weights")
def test_a_tflite_file_is_dumped_without_a_word_of_the_interpreter(
    tfdump_forked: Run, models: Path, tmp_path: Path
) -> None:
    done = tfdump_forked("activations", models / "cnn.tflite", DIGITS)
    assert (done.returncode, done.stdout) == (0, "cnn.activations.h5\n"), done.stderr
    assert all(line.startswith("Note: ") for line in done.stderr.splitlines()), done.stderr
    assert attributes(tmp_path / "cnn.activations.h5", "relu1")["class"] == "CONV_2D"


def test_quantized_tensors_have_scale_and_zero_point(tfdump: Run, models: Path, tmp_path: Path) -> None:
    assert tfdump("activations", models / "cnn8.tflite", DIGITS, "-o", "raw.h5").returncode == 0
    done = tfdump("activations", models / "cnn8.tflite", DIGITS, "-o", "real.h5", "--dequantize", "--stats")
    assert done.returncode == 0, done.stderr
    assert "is quantized from float32 to int8" in done.stderr
    raw, real = (attributes(tmp_path / name, "relu1") for name in ("raw.h5", "real.h5"))
    assert (raw["dtype"], real["dtype"], real["quantized_dtype"]) == ("int8", "float32", "int8")
    assert raw["scale"] == real["scale"]
    assert raw["zero_point"] == real["zero_point"]
    with h5py.File(tmp_path / "raw.h5") as integers, h5py.File(tmp_path / "real.h5") as reals:
        values = integers["activations/relu1"][()]
        assert values.dtype == np.int8
        exact = (values.astype(np.float32) - np.float32(raw["zero_point"])) * raw["scale"]
        np.testing.assert_array_equal(reals["activations/relu1"][()], exact)
    np.testing.assert_allclose(real["stat_mean"], exact.mean(dtype=np.float64), rtol=1e-6)


def test_the_same_command_writes_the_same_bytes(tfdump: Run, tfdump_forked: Run, models: Path, tmp_path: Path) -> None:
    """In two processes, whose seeds of hashes differ."""
    for model in ("cnn", "cnn8.tflite"):
        for name, run in (("one.h5", tfdump), ("two.h5", tfdump_forked)):
            done = run("activations", models / model, DIGITS, "--trust-model", "-f", "-o", name)
            assert done.returncode == 0, done.stderr
        assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.usefixtures("converter_names_weights")
def test_layers_lists_without_an_input(tfdump: Run, models: Path) -> None:
    done = tfdump("layers", models / "cnn.tflite", "--json")
    items = json.loads(done.stdout)["items"]
    assert [item["address"] for item in items][:3] == ["relu1", "bn2", "relu2"]
    assert items[0]["shape"] == [None, 8, 8, 16]
    done = tfdump("layers", models / "cnn", "--trust-model", "-l", "type:MaxPool")
    assert done.stdout.splitlines()[1].split("\t")[:3] == ["pool", "MaxPool", "(?, 4, 4, 16)"]


def test_input_gradients_of_a_saved_model(tfdump: Run, models: Path, tmp_path: Path) -> None:
    done = tfdump("gradients", models / "cnn", DIGITS, "--wrt", "inputs", "--objective", "output_0[3]", "--trust-model")
    assert (done.returncode, done.stdout) == (0, "cnn.gradients.h5\n"), done.stderr
    of_keras = SAMPLES / "digits_cnn.keras"
    done = tfdump("gradients", of_keras, DIGITS, "--wrt", "inputs", "--objective", "predictions[3]", "-o", "k.h5")
    with h5py.File(tmp_path / "cnn.gradients.h5") as ours, h5py.File(tmp_path / "k.h5") as theirs:
        assert ours.attrs["model_class"] == "SavedModel"
        name = "gradients/inputs/image"
        np.testing.assert_allclose(ours[name][()], theirs[name][()], rtol=1e-4, atol=1e-6)


# --- bad input


def test_a_saved_model_without_trust(tfdump: Run, models: Path) -> None:
    assert_refused(tfdump("layers", models / "cnn"), "is a SavedModel", "--trust-model")


def test_parts_of_a_saved_model_that_are_missing_or_damaged(tfdump: Run, models: Path, tmp_path: Path) -> None:
    def broken(name: str) -> Path:
        return Path(shutil.copytree(models / "cnn", tmp_path / name))

    (broken("nograph") / "saved_model.pb").unlink()
    (broken("noindex") / "variables" / "variables.index").unlink()
    for shard in (broken("noshard") / "variables").glob("*.data-*"):
        shard.unlink()
    graph = (models / "cnn" / "saved_model.pb").read_bytes()
    (broken("cutgraph") / "saved_model.pb").write_bytes(graph[: len(graph) // 2])
    (broken("emptygraph") / "saved_model.pb").write_bytes(b"")
    for shard in (broken("cutshard") / "variables").glob("*.data-*"):
        shard.write_bytes(shard.read_bytes()[:1000])
    for name, words in {
        "nograph": "without its saved_model.pb",
        "noindex": "variables.index is missing",
        "noshard": "0 of 1 files",
        "cutgraph": "is damaged",
        "emptygraph": "is damaged",
        "cutshard": "cutshard",
    }.items():
        assert_refused(tfdump("layers", name, "--trust-model"), name, words)


def test_a_saved_model_without_signatures(tfdump: Run, tmp_path: Path) -> None:
    import tensorflow as tf

    saved(tf.Module(), tmp_path / "plain")
    assert_refused(tfdump("layers", "plain", "--trust-model"), "plain has no signatures", "model.export")


def test_signatures_that_are_not_there(tfdump: Run, models: Path) -> None:
    done = tfdump("layers", models / "cnn", "--trust-model", "--signature", "serving")
    assert_refused(done, "no signature 'serving'", "serve, serving_default")
    assert_refused(tfdump("layers", models / "cnn.tflite", "--signature", "x"), "no signature 'x'", "serving_default")
    done = tfdump("layers", SAMPLES / "wine_mlp.keras", "--signature", "x")
    assert_refused(done, "is a Keras model", "leave it out")


@pytest.mark.parametrize("content", [b"", b"hello", b"abcdTFL3", b"\x1c\0\0\0TFL3" + b"\xff" * 64])
def test_what_is_no_tflite_file(tfdump: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tflite").write_bytes(content)
    assert_refused(tfdump("layers", "x.tflite"), "x.tflite")


def test_a_truncated_tflite_file(tfdump: Run, models: Path, tmp_path: Path) -> None:
    whole = (models / "cnn.tflite").read_bytes()
    for part in (20, 1000, len(whole) // 2, len(whole) - 4000):
        (tmp_path / "cut.tflite").write_bytes(whole[:part])
        assert_refused(tfdump("activations", "cut.tflite", DIGITS), "cut.tflite is damaged or truncated")


def test_arrays_that_do_not_fit(tfdump: Run, models: Path) -> None:
    for model in ("cnn", "cnn.tflite"):
        done = tfdump("activations", models / model, SAMPLES / "wine.npy", "--trust-model")
        assert_refused(done, "the input 'image' takes (?, 8, 8, 1)")
        done = tfdump("activations", models / model, f"pixels={DIGITS}", "--trust-model")
        assert_refused(done, "no input 'pixels'", "'image'")


def test_options_that_need_a_keras_model(tfdump: Run, models: Path) -> None:
    for model in ("cnn", "cnn.tflite"):
        for option in ("--training", "--eager"):
            done = tfdump("activations", models / model, DIGITS, "--trust-model", option)
            assert_refused(done, f"{option} needs a Keras model")
    keras_model = SAMPLES / "digits_cnn.keras"
    assert_refused(tfdump("activations", keras_model, DIGITS, "--dequantize"), "quantized .tflite", "leave it out")
    done = tfdump("activations", models / "cnn8.tflite", DIGITS, "--strict-dtype")
    assert_refused(done, "takes int8", "--strict-dtype")


def test_gradients_that_there_are_not(tfdump: Run, models: Path) -> None:
    done = tfdump("gradients", models / "cnn.tflite", DIGITS, "--wrt", "inputs", "--objective", "sum")
    assert_refused(done, "is a .tflite file", "--wrt inputs")
    done = tfdump("gradients", models / "cnn", DIGITS, SAMPLES / "digits_labels.npy", "--trust-model")
    assert_refused(done, "with respect to its inputs only (use --wrt inputs", ".keras")
    done = tfdump("gradients", models / "cnn", DIGITS, "--wrt", "inputs", "--trust-model")
    assert_refused(done, "saved without a loss", "--objective")
