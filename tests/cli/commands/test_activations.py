"""`tfdump activations` on the sample models: what it writes, and what it prints where."""

import json
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from support import zoo
from support.command import SAMPLES, Run

pytestmark = pytest.mark.tensorflow

DIGITS = (SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy")
WINE = (SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy")
TEXT = (SAMPLES / "text_gru.keras", SAMPLES / "text.npz")
SIAMESE = (SAMPLES / "siamese.keras", SAMPLES / "pairs.npz")
TWICE = (SAMPLES / "twice.keras", SAMPLES / "digits.npy", "--import", SAMPLES / "twice.py")
ALL = {"digits": DIGITS, "wine": WINE, "text": TEXT, "siamese": SIAMESE, "twice": TWICE}


def wine_by_hand() -> dict[str, np.ndarray]:
    """The activations of the wine classifier in float64 NumPy, from its weights alone."""
    model = keras.models.load_model(WINE[0], compile=False)
    mean, variance = np.asarray(model.layers[0].mean), np.asarray(model.layers[0].variance)
    (w1, b1), (w2, b2) = model.layers[1].get_weights(), model.layers[2].get_weights()
    normalize = (np.load(WINE[1]).astype("float64") - mean) / np.sqrt(variance)
    hidden = np.tanh(normalize @ w1.astype("float64") + b1)
    exponentials = np.exp(hidden @ w2.astype("float64") + b2)
    return {
        "normalize": normalize,
        "hidden": hidden,
        "predictions": exponentials / exponentials.sum(1, keepdims=True),
    }


def test_the_path_alone_is_on_stdout_and_the_values_are_right(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("activations", *WINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wine_mlp.activations.h5\n", "")
    with h5py.File(tmp_path / "wine_mlp.activations.h5") as file:
        assert list(file["activations"]) == ["normalize", "hidden", "predictions"]
        assert list(file["outputs"]) == ["predictions"]
        for address, expected in wine_by_hand().items():
            np.testing.assert_allclose(file["activations"][address], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_final_outputs_equal_the_models_own_prediction(tfdump: Run, tmp_path: Path, name: str) -> None:
    sys.path.insert(0, str(SAMPLES))
    import twice  # noqa: F401 - registers the classes of twice.keras

    assert tfdump("activations", *ALL[name], "-o", "d.h5", "--save-inputs").returncode == 0
    model = keras.models.load_model(ALL[name][0], compile=False)
    with h5py.File(tmp_path / "d.h5") as file:
        inputs = {key: item[()] for key, item in file["inputs"].items() if ":" not in key}
        x = next(iter(inputs.values())) if len(inputs) == 1 else inputs
        (output,) = file["outputs"].values()
        np.testing.assert_allclose(output, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_every_attribute_of_the_format_is_there(tfdump: Run, tmp_path: Path) -> None:
    assert tfdump("activations", *DIGITS, "--stats", "--examples", "10:60", "--batch-size", "16").returncode == 0
    with h5py.File(tmp_path / "digits_cnn.activations.h5") as file:
        root = dict(file.attrs)
        assert (root["format"], root["format_version"], root["kind"]) == ("tfdump", 1, "activations")
        assert (root["model"], root["model_class"]) == ("digits_cnn.keras", "Functional")
        assert (root["examples"], root["batch_size"], root["training"], root["seed"]) == (50, 16, False, 0)
        digest = subprocess.run(["sha256sum", DIGITS[0]], capture_output=True, text=True, check=True).stdout.split()[0]
        assert root["model_sha256"] == digest
        assert root["keras_version"] == keras.__version__
        assert root["numpy_version"] == np.__version__
        assert root["command"] == (
            "tfdump activations digits_cnn.keras digits.npy --batch-size 16 --examples 10:60 --stats"
        )
        assert json.loads(root["not_captured"]) == []
        assert json.loads(file["config"][()])["class_name"] == "Functional"
        conv = file["activations/conv1"]
        attributes = dict(conv.attrs)
        assert (attributes["address"], attributes["layer"], attributes["class"]) == ("conv1", "conv1", "Conv2D")
        assert (attributes["axis0"], attributes["dtype"], attributes["order"]) == ("example", "float32", 0)
        assert list(attributes["shape"]) == [-1, 8, 8, 16]
        assert "stored_as" not in attributes
        values = conv[()].astype("float64")
        assert attributes["stat_count"] == values.size
        for name, expected in {
            "min": values.min(),
            "max": values.max(),
            "mean": values.mean(),
            "std": values.std(),
            "l2": np.linalg.norm(values),
        }.items():
            assert attributes[f"stat_{name}"] == pytest.approx(expected, rel=1e-9), name
        assert (attributes["stat_nan"], attributes["stat_inf"]) == (0, 0)
        relu = file["activations/relu1"]
        assert relu.attrs["stat_zero"] == np.count_nonzero(relu[()] == 0)
        assert [item.attrs["order"] for item in file["activations"].values()] == list(range(13))


def test_nothing_in_the_file_tells_of_this_machine(tfdump: Run, tmp_path: Path) -> None:
    assert tfdump("activations", *TWICE, "-o", tmp_path / "here.h5", "--save-inputs").returncode == 0
    written = (tmp_path / "here.h5").read_bytes()
    for secret in (str(tmp_path), str(SAMPLES), "here.h5"):
        assert secret.encode() not in written


@pytest.mark.parametrize("options", [[], ["--stats", "--save-inputs", "--compression", "gzip", "--training"]])
def test_the_same_command_writes_the_same_bytes(
    tfdump: Run, tfdump_forked: Run, tmp_path: Path, options: list[str]
) -> None:
    """In two processes, whose seeds of hashes differ."""
    assert tfdump("activations", *TWICE, "-o", "one.h5", *options).returncode == 0
    time.sleep(2)
    assert tfdump_forked("activations", *TWICE, "-o", "two.h5", *options).returncode == 0
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_ragged_text_is_padded_and_its_lengths_are_kept(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("activations", *TEXT, "--pad-to", "12", "-o", "d.h5")
    assert "padded to 12 with 0" in done.stderr
    assert "bidirectional.forward_gru.gru_cell" in done.stderr
    splits = np.load(TEXT[1])["tokens.row_splits"]
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["inputs/tokens:lengths"], np.diff(splits))
        assert file["activations/embedding"].shape[:2] == (len(splits) - 1, 12)
        named = {item["address"]: item["reason"] for item in json.loads(file.attrs["not_captured"])}
        assert "loop" in named["bidirectional.forward_gru.gru_cell"]
        # what a masked model says does not depend on the padding
        model = keras.models.load_model(TEXT[0], compile=False)
        values = np.load(TEXT[1])["tokens.values"]
        for row in (0, 5, 17):
            alone = values[splits[row] : splits[row + 1]][None]
            np.testing.assert_allclose(file["outputs/predictions"][row], np.asarray(model(alone))[0], rtol=1e-4)


def test_variable_length_hdf5_reads_as_ragged(tfdump: Run, tmp_path: Path) -> None:
    data = np.load(TEXT[1])
    rows = np.split(data["tokens.values"], data["tokens.row_splits"][1:-1])
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file.create_dataset("deep/tokens", len(rows), dtype=h5py.vlen_dtype(np.int32))[:] = np.array(rows, dtype=object)
    assert tfdump("activations", TEXT[0], "text.h5::/deep/tokens", "-o", "a.h5").returncode == 0
    assert tfdump("activations", *TEXT, "-o", "b.h5").returncode == 0
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        for address in b["activations"]:
            np.testing.assert_array_equal(a["activations"][address], b["activations"][address])


def test_every_way_to_give_two_inputs_gives_the_same(tfdump: Run, tmp_path: Path) -> None:
    pairs = np.load(SIAMESE[1])
    np.save(tmp_path / "l.npy", pairs["left"])
    np.save(tmp_path / "r.npy", pairs["right"])
    with h5py.File(tmp_path / "pairs.h5", "w") as file:
        file["g/left"], file["g/right"] = pairs["left"], pairs["right"]
    ways = [
        [SIAMESE[1]],
        ["l.npy", "r.npy"],
        ["right=r.npy", "left=l.npy"],
        ["right=r.npy", "l.npy"],
        ["pairs.h5::/g"],
        [f"left={SIAMESE[1]}::left", "right=pairs.h5::/g/right"],
    ]
    results = []
    for way in ways:
        done = tfdump("activations", SIAMESE[0], *way, "-o", "d.h5", "-f", "-l", "same", "-q")
        assert done.returncode == 0, done.stderr
        with h5py.File(tmp_path / "d.h5") as file:
            results.append(file["activations/same"][()])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_an_array_comes_through_a_pipe(tfdump_forked: Run, tmp_path: Path) -> None:
    done = tfdump_forked("activations", WINE[0], "-", "-o", "piped.h5", stdin=WINE[1].read_bytes())
    assert (done.returncode, done.stdout, done.stderr) == (0, "piped.h5\n", "")
    with h5py.File(tmp_path / "piped.h5") as file:
        np.testing.assert_allclose(file["activations/hidden"], wine_by_hand()["hidden"], rtol=1e-4, atol=1e-6)


def test_one_example_without_its_axis_and_a_cast_are_noted(tfdump: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.load(DIGITS[1])[3].astype("float64"))
    done = tfdump("activations", DIGITS[0], "one.npy", "-l", "logits")
    assert done.returncode == 0
    assert "Note: one.npy has shape (8, 8, 1): read as one example of 'image'" in done.stderr
    assert "Note: one.npy is cast from float64 to float32" in done.stderr
    with h5py.File(tmp_path / "digits_cnn.activations.h5") as file:
        assert file["activations/logits"].shape == (1, 10)
    assert tfdump("activations", DIGITS[0], "one.npy", "-f", "-q").stderr == ""


@pytest.fixture(scope="module")
def in_one_batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dump of every model, of one batch."""
    folder = tmp_path_factory.mktemp("in_one_batch")
    for name, arguments in ALL.items():
        status, _ = zoo.command("activations", *arguments, "-o", folder / f"{name}.h5", "--batch-size", "300")
        assert status == 0
    return folder


@pytest.mark.parametrize("batch_size", ["1", "7", "32", "auto"])
def test_values_do_not_depend_on_the_batch_size(
    tfdump: Run, tmp_path: Path, in_one_batch: Path, batch_size: str
) -> None:
    for name, arguments in ALL.items():
        assert tfdump("activations", *arguments, "-o", "a.h5", "-f", "--batch-size", batch_size).returncode == 0
        with h5py.File(tmp_path / "a.h5") as a, h5py.File(in_one_batch / f"{name}.h5") as b:
            assert list(a["activations"]) == list(b["activations"])
            for address, item in b["activations"].items():
                np.testing.assert_allclose(a["activations"][address], item, rtol=1e-4, atol=1e-5, err_msg=address)


def test_statistics_alone_take_little_space(tfdump: Run, tmp_path: Path) -> None:
    assert tfdump("activations", *DIGITS, "--stats-only", "-o", "s.h5").returncode == 0
    for option, value in (("--dtype", "float16"), ("--compression", "gzip")):
        done = tfdump("activations", *DIGITS, "--stats-only", option, value, "-o", "n.h5")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"Error: {option} {value}" in done.stderr
        assert "--stats-only stores none" in done.stderr
    assert tfdump("activations", *DIGITS, "--stats", "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "s.h5") as s, h5py.File(tmp_path / "d.h5") as d:
        assert s["activations/conv1"].size == 0
        assert list(s["activations/conv1"].attrs["computed_shape"]) == [300, 8, 8, 16]
        for address, item in d["activations"].items():
            names = [name for name in item.attrs if name.startswith("stat_")]
            assert len(names) == 9
            for name in names:
                assert s["activations"][address].attrs[name] == item.attrs[name]
    assert (tmp_path / "s.h5").stat().st_size < 100_000


def test_a_dry_run_writes_nothing_and_foretells_the_bytes(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("activations", *DIGITS, "--dry-run", "-l", "conv*", "--dtype", "float16")
    assert list(tmp_path.iterdir()) == []
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["tensor", "shape", "dtype", "axis0", "bytes"]
    assert rows[1] == ["activations/conv1", "(?, 8, 8, 16)", "float32", "example", str(300 * 8 * 8 * 16 * 2)]
    values = sum(int(row[-1]) for row in rows[1:3])
    assert values == 2 * 300 * 8 * 8 * 16 * 2
    assert int(rows[-1][-1]) == values + int(rows[-2][-1])


@pytest.mark.parametrize("name", ALL)
def test_a_dry_run_is_close_to_the_file(tfdump: Run, tmp_path: Path, name: str) -> None:
    foretold = tfdump("activations", *ALL[name], "--dry-run", "--save-inputs").stdout.splitlines()[-1].split("\t")[-1]
    assert tfdump("activations", *ALL[name], "-o", "d.h5", "--save-inputs").returncode == 0
    assert int(foretold) == pytest.approx((tmp_path / "d.h5").stat().st_size, rel=0.25)


def test_storing_as_float16_says_what_it_lost(tfdump: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", np.load(DIGITS[1]) * 1e6)
    done = tfdump("activations", DIGITS[0], "big.npy", "-l", "conv1", "--dtype", "float16")
    with h5py.File(tmp_path / "digits_cnn.activations.h5") as file:
        conv = file["activations/conv1"]
        assert (conv.dtype, conv.attrs["dtype"], conv.attrs["stored_as"]) == (np.float16, "float32", "float16")
        lost = int(np.isinf(conv[()]).sum())
        assert lost > 0
        assert conv.attrs["overflowed"] == lost
    assert f"{lost} finite values are too large for --dtype float16" in done.stderr


def test_inputs_are_stored_as_they_were_fed_whatever_the_dtype_of_the_rest(tfdump: Run, tmp_path: Path) -> None:
    images = np.load(DIGITS[1]) * np.float32(1e6) / 3
    np.save(tmp_path / "big.npy", images)
    done = tfdump(
        "activations", DIGITS[0], "big.npy", "-l", "hidden", "--dtype", "float16", "--save-inputs", "-o", "d.h5"
    )
    assert done.returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["activations/hidden"].dtype == np.float16
        np.testing.assert_array_equal(file["inputs/image"], images)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_dumps_hold_the_same_values(tfdump: Run, tmp_path: Path, compression: str) -> None:
    import hdf5plugin  # noqa: F401 - lets h5py read zstd

    assert tfdump("activations", *DIGITS, "-o", "a.h5").returncode == 0
    assert tfdump("activations", *DIGITS, "-o", "b.h5", "--compression", compression).returncode == 0
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        for address, item in a["activations"].items():
            np.testing.assert_array_equal(b["activations"][address], item)
    assert (tmp_path / "b.h5").stat().st_size < 0.8 * (tmp_path / "a.h5").stat().st_size


def test_outputs_with_a_selection_only_when_asked_for(tfdump: Run, tmp_path: Path) -> None:
    tfdump("activations", *DIGITS, "-l", "conv1", "-o", "a.h5")
    tfdump("activations", *DIGITS, "-l", "conv1", "--outputs", "-o", "b.h5")
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        assert "outputs" not in a
        assert list(b["outputs"]) == ["predictions"]


def test_options_come_from_the_environment_too(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump(
        "activations", *WINE, env={"TFDUMP_ACTIVATIONS_OUTPUT": "env.h5", "TFDUMP_ACTIVATIONS_LAYER": "hidden"}
    )
    assert done.stdout == "env.h5\n"
    with h5py.File(tmp_path / "env.h5") as file:
        assert list(file["activations"]) == ["hidden"]


def test_tensorflow_is_silent_in_a_process_of_its_own(tfdump_process: Run) -> None:
    assert tfdump_process("activations", *WINE).stderr == ""
