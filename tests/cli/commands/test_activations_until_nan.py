"""`tfdump activations --until-nan`: the dump of the bad example, exit statuses, messages, excluded options."""

import html
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import tfdump as package
from support.command import SAMPLES, Run
from support.forked import forked_python
from support.signalled import start_command
from support.small_disks import small_disk_or_skip

pytestmark = pytest.mark.tensorflow

DIGITS, SIAMESE = SAMPLES / "digits_cnn.keras", SAMPLES / "siamese.keras"
TEXT = (SAMPLES / "text_gru.keras", SAMPLES / "text.npz")
IMAGES = SAMPLES / "digits.npy"
CLEAN = "all clean: no NaN or Inf in 15 tensors of 300 examples\n"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The digits, of which image 137 has an infinite pixel and image 200 a NaN."""
    images = np.load(IMAGES).astype("float32")
    images[137, 3, 3] = np.inf
    images[200, 0, 0] = np.nan
    np.save(tmp_path / "broken.npy", images)
    return tmp_path / "broken.npy"


@pytest.fixture
def negative(tmp_path: Path) -> Path:
    """The digits model with a negative variance, the square root of which is NaN for every example."""
    model = keras.models.load_model(DIGITS, compile=False)
    variance = model.get_layer("bn2").moving_variance
    variance.assign([-1.0] + [1.0] * (variance.shape[0] - 1))
    model.save(tmp_path / "negative.keras")
    return tmp_path / "negative.keras"


def test_the_dump_holds_the_bad_example_as_its_batch_computed_it(tfdump: Run, tmp_path: Path, broken: Path) -> None:
    done = tfdump("activations", DIGITS, broken, "--until-nan", "--batch-size", "32", "-o", "bad.h5")
    assert (done.returncode, done.stdout) == (1, "bad.h5\n")
    told = done.stderr.splitlines()
    assert "Inf is in the input itself: 'inputs/image' (example 137)" in told
    assert [line for line in told if line.startswith("NaN starts in 'conv2' (Conv2D), example 137")]
    assert tfdump("activations", DIGITS, broken, "--save-inputs", "--batch-size", "32", "-o", "all.h5").returncode == 0
    with h5py.File(tmp_path / "bad.h5") as bad, h5py.File(tmp_path / "all.h5") as everything:
        for group in ("inputs", "activations", "outputs"):
            assert list(bad[group]) == list(everything[group])
            for name, item in everything[group].items():
                np.testing.assert_array_equal(bad[group][name], item[137:138], err_msg=name)
                assert dict(bad[group][name].attrs).keys() == dict(item.attrs).keys()
                assert bad[group][name].attrs["axis0"] == "example"
        root = dict(bad.attrs)
        assert (root["examples"], root["first_example"], root["batch_size"]) == (1, 137, 32)
        assert (root["searched_examples"], root["batch_first_example"]) == (160, 128)
        assert root["command"].endswith("--until-nan")
        assert set(root) == set(everything.attrs) | {"searched_examples", "batch_first_example"}


def test_every_command_speaks_of_the_right_example(tfdump: Run, tmp_path: Path, broken: Path) -> None:
    options = ("--until-nan", "--examples", "100:250")
    done = tfdump("activations", DIGITS, broken, *options, "--batch-size", "16", "-o", "bad.h5")
    assert done.returncode == 1
    with h5py.File(tmp_path / "bad.h5") as file:
        names = ("first_example", "searched_examples", "batch_first_example")
        assert [file.attrs[name] for name in names] == [137, 48, 132]
    checked = tfdump("check", "bad.h5", "--json")
    assert {item["example"] for item in json.loads(checked.stdout)["items"] if item["example"] is not None} == {137}
    told = tfdump("check", "bad.h5").stderr
    assert "NaN starts in 'conv2' (Conv2D), example 137" in told
    assert "because 1 example is too few to call a unit dead" in told
    assert tfdump("report", "bad.h5", "-o", "page.html").returncode == 0
    page = html.unescape((tmp_path / "page.html").read_text())
    assert "NaN starts in 'conv2' (Conv2D), example 137" in page
    assert "(1, 8, 8, 16)" in tfdump("show", "bad.h5").stdout
    tfdump("activations", DIGITS, broken, "--examples", "100:101", "--save-inputs", "-o", "other.h5")
    refused = tfdump("diff", "other.h5", "bad.h5")
    assert refused.returncode == 2
    assert "start at different examples (first_example: 100 and 137)" in refused.stderr


def test_clean_examples_write_nothing(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("activations", DIGITS, IMAGES, "--until-nan")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", CLEAN)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.h5").write_bytes(b"precious")
    done = tfdump("activations", DIGITS, IMAGES, "--until-nan", "-o", "old.h5", "-f", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "old.h5").read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["old.h5"]
    assert tfdump("activations", DIGITS, IMAGES, "--until-nan", "-o", "old.h5").returncode == 2


def test_one_tensor_of_one_example_is_counted_right(tfdump: Run) -> None:
    done = tfdump("activations", DIGITS, IMAGES, "--until-nan", "--examples", "7:8", "-l", "conv1", "--allow-inf")
    assert done.stderr == "all clean: no NaN in 2 tensors of 1 example\n"


def test_a_layer_that_makes_nan_is_named(tfdump: Run, tmp_path: Path, negative: Path) -> None:
    done = tfdump("activations", negative, IMAGES, "--until-nan", "--batch-size", "8")
    assert (done.returncode, done.stdout) == (1, "negative.activations.h5\n")
    assert done.stderr.splitlines()[0].startswith("NaN starts in 'bn2' (BatchNormalization), example 0: ")
    with h5py.File(tmp_path / "negative.activations.h5") as file:
        assert (file.attrs["searched_examples"], file.attrs["examples"]) == (8, 1)
    assert tfdump("activations", negative, IMAGES, "--until-nan", "-f", "-q").stderr == ""
    searched = tfdump("activations", negative, IMAGES, "--until-nan", "-f", "-l", "conv1")
    assert searched.returncode == 0


def test_allow_inf_stops_at_nan_only(tfdump: Run, tmp_path: Path, broken: Path) -> None:
    done = tfdump("activations", DIGITS, broken, "--until-nan", "--allow-inf", "-l", "conv1", "-o", "nan.h5")
    assert done.returncode == 1
    assert done.stderr == "NaN is in the input itself: 'inputs/image' (example 200)\n"
    with h5py.File(tmp_path / "nan.h5") as file:
        assert file.attrs["first_example"] == 200


def test_a_reduction_that_hides_the_infinity_does_not_hide_where_it_was(tfdump: Run, tmp_path: Path) -> None:
    """One channel is infinite everywhere, and the smallest value of all channels is not."""
    model = keras.models.load_model(DIGITS, compile=False)
    model.get_layer("conv1").bias.assign([np.inf] + [0.0] * 15)
    model.save(tmp_path / "infinite.keras")
    options = ("--until-nan", "--examples", "20:", "--reduce", "min", "-l", "conv1", "-o", "b.h5")
    done = tfdump("activations", "infinite.keras", IMAGES, *options)
    assert (done.returncode, done.stderr) == (1, "NaN or Inf is in 'conv1' (example 20)\n")
    with h5py.File(tmp_path / "b.h5") as file:
        assert np.isfinite(file["activations/conv1"]).all()


def test_what_is_stored_beside_the_values(tfdump: Run, tmp_path: Path, broken: Path) -> None:
    stored = ("--stats", "--checksums", "--compression", "gzip", "--dtype", "float16")
    done = tfdump("activations", DIGITS, broken, "--until-nan", *stored, "-o", "bad.h5")
    assert done.returncode == 1
    verified = tfdump("check", "bad.h5", "--verify")
    assert verified.returncode == 0, verified.stderr
    with h5py.File(tmp_path / "bad.h5") as file:
        conv = file["activations/conv1"]
        assert (conv.dtype, conv.attrs["stat_count"], conv.compression) == (np.float16, 1024, "gzip")
        values = file["inputs/image"][()]
        assert (values.dtype, np.isinf(values).sum(), file["inputs/image"].attrs["stat_inf"]) == ("float32", 1, 1)


def test_the_same_command_writes_the_same_bytes(tfdump: Run, tfdump_forked: Run, tmp_path: Path, broken: Path) -> None:
    """In two processes, whose seeds of hashes differ."""
    options = ("--until-nan", "--batch-size", "16", "-o")
    assert tfdump("activations", DIGITS, broken, *options, "one.h5").returncode == 1
    time.sleep(2)
    assert tfdump_forked("activations", DIGITS, broken, *options, "two.h5").returncode == 1
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_ragged_text_and_its_length(tfdump: Run, tmp_path: Path) -> None:
    model = keras.models.load_model(TEXT[0], compile=False)
    tokens = np.load(TEXT[1])
    splits = tokens["tokens.row_splits"]
    embedding = model.get_layer("embedding")
    table = np.array(embedding.get_weights()[0])
    rows = np.split(tokens["tokens.values"], splits[1:-1])
    rare = next(token for token in rows[40] if all(token not in row for row in rows[:40]) and token)
    first = next(number for number, row in enumerate(rows) if rare in row)
    table[rare] = np.nan
    embedding.set_weights([table])
    model.save(tmp_path / "text.keras")
    done = tfdump("activations", "text.keras", TEXT[1], "--until-nan", "--batch-size", "16", "-o", "bad.h5")
    assert done.returncode == 1
    assert f"NaN starts in 'embedding' (Embedding), example {first}: " in done.stderr
    with h5py.File(tmp_path / "bad.h5") as file:
        assert file["inputs/tokens:lengths"][()].tolist() == [len(rows[first])]
        np.testing.assert_array_equal(file["inputs/tokens"][0, : len(rows[first])], rows[first])


def test_the_second_input_is_searched_and_stored(tfdump: Run, tmp_path: Path) -> None:
    pairs = dict(np.load(SAMPLES / "pairs.npz"))
    pairs["right"] = pairs["right"].astype("float32")
    pairs["right"][19].flat[5] = np.nan
    np.savez(tmp_path / "p.npz", **pairs)
    done = tfdump("activations", SIAMESE, "p.npz", "--until-nan", "-o", "bad.h5")
    assert done.returncode == 1
    assert "NaN is in the input itself: 'inputs/right' (example 19)" in done.stderr
    with h5py.File(tmp_path / "bad.h5") as file:
        for name in ("left", "right"):
            np.testing.assert_array_equal(
                file["inputs"][name][0], pairs[name][19].reshape(file["inputs"][name].shape[1:])
            )


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--stats-only", "--stats-only stores none (leave one of the options out)"),
        ("--resume", "--until-nan and --resume exclude each other (leave one of them out)"),
        ("--dry-run", "--until-nan and --dry-run exclude each other (leave one of them out)"),
    ],
)
def test_options_that_exclude_a_search(tfdump: Run, tmp_path: Path, option: str, words: str) -> None:
    done = tfdump("activations", DIGITS, IMAGES, "--until-nan", option)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_allow_inf_alone_is_refused(tfdump: Run) -> None:
    done = tfdump("activations", DIGITS, IMAGES, "--allow-inf")
    assert done.returncode == 2
    assert "Error: --allow-inf is for a search (add --until-nan, or leave --allow-inf out)" in done.stderr
    assert tfdump("activations", DIGITS, IMAGES, "--allow-inf", "--until-nan").returncode == 0


def test_the_options_come_from_the_environment_too(tfdump: Run, broken: Path) -> None:
    assert tfdump("activations", DIGITS, broken, env={"TFDUMP_ACTIVATIONS_UNTIL_NAN": "1"}).returncode == 1


def test_an_input_through_a_pipe(tfdump_forked: Run, tmp_path: Path, broken: Path) -> None:
    done = tfdump_forked("activations", DIGITS, "-", "--until-nan", "-o", "bad.h5", stdin=broken.read_bytes())
    assert (done.returncode, done.stdout) == (1, "bad.h5\n")
    assert package.check(tmp_path / "bad.h5").findings[0].example == 137


def test_a_closed_pipe_keeps_the_verdict(tmp_path: Path, broken: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*forked_python(), "-m", "tfdump", "activations", DIGITS, broken, "--until-nan", "-o", "bad.h5"]
    done = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, timeout=300)
    os.close(writer)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "bad.h5").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """There are so many examples that the search cannot end before the signal."""
    images = np.lib.format.open_memmap(tmp_path / "many.npy", "w+", "float32", (400_000, 8, 8, 1))
    del images
    words = ("activations", DIGITS, "many.npy", "--until-nan", "--batch-size", "4", "-o", "bad.h5")
    process = start_command(*words, cwd=tmp_path, python=forked_python())
    time.sleep(2)  # it is loaded after one
    assert process.poll() is None
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (128 + number, b"")
    assert len(stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["many.npy"]


def test_a_full_disk_leaves_the_old_file(tfdump_forked: Run, tmp_path: Path, broken: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk_or_skip(disk, kilobytes=60):
        (disk / "old.h5").write_text("precious")
        for compression, words in (("none", "left"), ("gzip", "No space left on device")):
            options = ("--until-nan", "--compression", compression, "-o", disk / "old.h5", "-f")
            done = tfdump_forked("activations", DIGITS, broken, *options)
            assert (done.returncode, done.stdout) == (2, "")
            assert words in done.stderr
            assert (disk / "old.h5").read_text() == "precious"
            assert os.listdir(disk) == ["old.h5"]
