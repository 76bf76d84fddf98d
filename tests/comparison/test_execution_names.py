"""Dumps that number the calls of a layer by execution are compared with those that number them by branches."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from support.command import Run

pytestmark = pytest.mark.tensorflow

WIDTH = 3


@pytest.fixture
def tower(tmp_path: Path, tfdump: Run) -> Path:
    """`k.h5` of a tower with two branches, of which Keras runs the second first, and `s.h5` of its SavedModel."""
    inner = keras.Input((WIDTH,))
    encoder = keras.Model(inner, layers.Dense(WIDTH, "tanh", name="inside")(inner), name="encoder")
    after, last = layers.Dense(4, name="after"), layers.Dense(2, name="last")
    a, b = keras.Input((WIDTH,), name="a"), keras.Input((WIDTH,), name="b")
    model = keras.Model([a, b], layers.Subtract(name="sub")([last(after(encoder(branch))) for branch in (a, b)]))
    model.save(tmp_path / "m.keras")
    model.export(tmp_path / "saved", verbose=False)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", **{name: rng.standard_normal((4, WIDTH)).astype("float32") for name in "ab"})
    assert tfdump("activations", "m.keras", "x.npz", "-o", "k.h5", "-x", "sub").returncode == 0
    done = tfdump("activations", "saved", "x.npz", "-o", "s.h5", "--trust-model", "-x", "*:op.*", "-x", "sub")
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_a_dump_tells_by_which_address_a_call_goes_by_execution(tower: Path) -> None:
    with h5py.File(tower / "k.h5") as file:
        executed = {name: item.attrs["executed_as"] for name, item in file["activations"].items()}
    assert executed["encoder@1.inside"] == "encoder.inside"
    assert executed["encoder.inside"] == "encoder@1.inside"
    assert executed["encoder"] == "encoder@1"
    assert set(executed) == set(executed.values())


def test_a_saved_model_is_the_same(tower: Path, tfdump: Run) -> None:
    for sides in (("k.h5", "s.h5"), ("s.h5", "k.h5")):
        done = tfdump("diff", *sides, "--allow-missing", "--json")
        pairs = [item for item in json.loads(done.stdout)["items"] if item["status"] == "same"]
        assert done.returncode == 0, done.stderr
        assert len(pairs) >= 4, pairs
        assert "paired by order of execution: " in done.stdout


def test_one_branch_alone_has_its_counterpart(tower: Path, tfdump: Run) -> None:
    """Which of the calls it was, no other tensor of the dump has to tell."""
    assert tfdump("activations", "m.keras", "x.npz", "-o", "one.h5", "-l", "re:after@1").returncode == 0
    done = tfdump("diff", "one.h5", "s.h5", "-l", "after*", "--allow-missing")
    assert done.returncode == 0, done.stderr
    assert "after@1 = after" in done.stderr


def test_a_map_names_what_the_dumps_show(tower: Path, tfdump: Run) -> None:
    (tower / "map.tsv").write_text("after@1\tafter\nactivations/after\tafter@1\n")
    done = tfdump("diff", "k.h5", "s.h5", "--map", "map.tsv", "-l", "after*", "--allow-missing")
    assert done.returncode == 0, done.stderr
    (tower / "map.tsv").write_text("after\tafter\n")
    assert tfdump("diff", "k.h5", "s.h5", "--map", "map.tsv", "-l", "after", "--allow-missing").returncode == 1


def test_two_keras_dumps_are_paired_by_their_addresses(tower: Path, tfdump: Run) -> None:
    done = tfdump("diff", "k.h5", "k.h5")
    assert done.returncode == 0
    assert "execution" not in done.stderr
