"""The options of `tfdump weights`: what is stored, how, and where."""

import hashlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import tfdump
from support.command import SAMPLES, Run

pytestmark = pytest.mark.tensorflow

MODEL = SAMPLES / "digits_cnn.keras"


def test_statistics_are_those_of_numpy(tfdump: Run, tmp_path: Path) -> None:
    assert tfdump("weights", MODEL, "--stats-only", "-l", "conv1", "-o", "stats.h5").returncode == 0
    assert tfdump("weights", MODEL, "-l", "conv1").returncode == 0
    with h5py.File(tmp_path / "stats.h5") as dump, h5py.File(tmp_path / "digits_cnn.weights-dump.h5") as whole:
        for address, item in dump["weights"].items():
            values = whole["weights"][address][()].astype(np.float64)
            assert not item.attrs["values"]
            assert tuple(item.attrs["computed_shape"]) == values.shape
            assert item.attrs["stat_count"] == values.size
            for name, expected in (("mean", values.mean()), ("std", values.std()), ("l2", np.linalg.norm(values))):
                np.testing.assert_allclose(item.attrs[f"stat_{name}"], expected, rtol=1e-9)


def test_dtype_compression_and_checksums(tfdump: Run, tmp_path: Path) -> None:
    options = ("--dtype", "float16", "--compression", "gzip", "--checksums")
    assert tfdump("weights", MODEL, "-l", "hidden.kernel", *options).returncode == 0
    expected = keras.models.load_model(MODEL).get_layer("hidden").kernel
    with h5py.File(tmp_path / "digits_cnn.weights-dump.h5") as dump:
        kernel = dump["weights/hidden.kernel"]
        np.testing.assert_array_equal(kernel[()], np.asarray(expected).astype(np.float16))
        assert kernel.compression == "gzip"
        assert (kernel.attrs["dtype"], kernel.attrs["stored_as"]) == ("float32", "float16")
        assert "crc32" in kernel.attrs


def test_values_too_large_for_the_dtype_are_counted() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, name="d")])
    model.layers[0].kernel.assign([[1e6, 1.0]])
    with pytest.warns(tfdump.TfdumpWarning, match="^1 finite values are too large for dtype float16"):
        weights = tfdump.weights(model, dtype="float16")
    assert weights["d.kernel"].tolist() == [[np.inf, 1.0]]
    assert weights.attributes["d.kernel"]["overflowed"] == 1


@pytest.mark.parametrize("statistics", [(), ("--stats",)])
def test_the_same_command_writes_the_same_bytes_as_many_as_foretold(
    statistics: tuple[str, ...], tfdump: Run, tmp_path: Path
) -> None:
    digests = set()
    for _ in range(2):
        assert tfdump("weights", MODEL, *statistics, "-f", "-o", "w.h5").returncode == 0
        digests.add(hashlib.sha256((tmp_path / "w.h5").read_bytes()).hexdigest())
    assert len(digests) == 1
    lines = tfdump("weights", MODEL, *statistics, "--dry-run").stdout.splitlines()
    assert lines[1] == "weights/conv1.kernel\t(3, 3, 1, 16)\tfloat32\tnone\t576"
    assert int(lines[-1].split("\t")[-1]) == pytest.approx((tmp_path / "w.h5").stat().st_size, rel=0.05)


def test_bad_options_are_one_line(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "there.h5").write_text("mine")
    for options, message in {
        ("-o", "there.h5"): "output there.h5 exists (overwrite it with -f",
        ("-o", "w.npz"): "w.npz",
        ("--stats-only", "--dtype", "float16"): "--dtype float16 needs values, and --stats-only stores none",
        ("-l", "conv9"): "no layer matches 'conv9'; near: 'conv",
        ("--like", "missing.keras"): "missing.keras",
        ("--shards", "parts"): "--shards divides runs over examples, and weights have none (leave it out)",
        ("--workers", "2"): "--workers divides runs over examples, and weights have none (leave it out)",
    }.items():
        done = tfdump("weights", MODEL, *options)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), options
        assert message in done.stderr
    assert (tmp_path / "there.h5").read_text() == "mine"
    done = tfdump("weights", "missing.keras")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = tfdump("weights", "there.h5")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_dump_is_no_model(tfdump: Run) -> None:
    assert tfdump("weights", MODEL).returncode == 0
    done = tfdump("weights", "digits_cnn.weights-dump.h5")
    assert done.returncode == 2
    assert "is a dump of tfdump, not a model" in done.stderr
