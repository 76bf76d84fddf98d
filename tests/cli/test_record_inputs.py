"""TFRecord files and sound as the inputs of commands."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import tfdump as api
from support.command import Ended, Run
from support.record_files import example, write_records
from support.sound_files import sound, write_wave

pytestmark = pytest.mark.tensorflow

ROWS = 10


def randomized(model: keras.Model) -> keras.Model:
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0.2, 0.1, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def features() -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    return [
        {
            "age": random.normal(size=1).astype(np.float32),
            "tokens": random.integers(1, 20, 1 + row % 3),
            "label": np.array([row % 4]),
        }
        for row in range(ROWS)
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records and sound, and models with random weights that take them."""
    folder = tmp_path_factory.mktemp("recorded")
    age, tokens = keras.Input((1,), name="age"), keras.Input((None,), dtype="int32", name="tokens")
    text = keras.layers.GlobalAveragePooling1D(name="pool")(keras.layers.Embedding(20, 3, name="embed")(tokens))
    joined = keras.layers.Concatenate(name="join")([age, text])
    model = keras.Model([age, tokens], keras.layers.Dense(4, activation="softmax", name="out")(joined))
    model.compile(loss="sparse_categorical_crossentropy")
    randomized(model).save(folder / "people.keras")
    wave = keras.Input((100, 1), name="wave")
    y = keras.layers.Flatten(name="flat")(keras.layers.Conv1D(3, 5, name="conv")(wave))
    randomized(keras.Model(wave, keras.layers.Dense(2, name="out")(y))).save(folder / "sound.keras")
    write_records(folder / "people.tfrecord", features())
    for shard in range(2):
        write_records(folder / f"shards/p-{shard}.tfrecord.gz", features()[shard * 5 : shard * 5 + 5], "GZIP")
    write_wave(folder / "words/no/a.wav", sound(350, seed=1))
    write_wave(folder / "words/yes/b.wav", sound(200, seed=2))
    return folder


def padded() -> tuple[np.ndarray, np.ndarray]:
    rows = features()
    tokens = np.zeros((ROWS, 3), np.int32)
    for row, item in enumerate(rows):
        tokens[row, : len(item["tokens"])] = item["tokens"]
    return np.stack([item["age"] for item in rows]), tokens


def refused(done: Ended, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Note: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("Error: ")
    for word in words:
        assert word in errors[0], errors[0]


def test_records_are_the_inputs_of_their_names(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    records = saved / "people.tfrecord"
    done = tfdump("activations", saved / "people.keras", records, "--save-inputs", "--batch-size", 4, "-o", "d.h5")
    assert done.returncode == 0, done.stderr
    age, tokens = padded()
    expected = keras.models.load_model(saved / "people.keras").predict([age, tokens], verbose=0)
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["inputs/tokens"][()], tokens)
        np.testing.assert_allclose(file["outputs/out"][()], expected, rtol=1e-5)
        assert json.loads(file.attrs["input_settings"])["age"] == {"feature": "age", "shape": [1], "decode": None}
    with api.open(tmp_path / "d.h5") as dump:
        assert dump.examples is not None
        assert dump.examples.name(7) == "people.tfrecord:7"


def test_shards_and_some_examples_give_the_same_numbers(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    whole = tfdump("activations", saved / "people.keras", saved / "shards", "-o", "whole.h5")
    assert whole.returncode == 0, whole.stderr
    part = tfdump(
        "activations", saved / "people.keras", f"{saved}/shards/*.gz", "--examples", "3:7", "--batch-size", 1,
        "--pad-to", 3, "-o", "part.h5",
    )  # fmt: skip
    assert part.returncode == 0, part.stderr
    with h5py.File(tmp_path / "whole.h5") as first, h5py.File(tmp_path / "part.h5") as second:
        np.testing.assert_allclose(first["outputs/out"][3:7], second["outputs/out"][()], rtol=1e-5)
        assert second["examples/id"][1:3].tolist() == [b"p-0.tfrecord.gz:4", b"p-1.tfrecord.gz:0"]


def test_a_feature_is_the_targets(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    records = saved / "people.tfrecord"
    named = tfdump("gradients", saved / "people.keras", records, "--targets", f"{records}::label", "-o", "a.h5")
    assert named.returncode == 0, named.stderr
    behind = tfdump("gradients", saved / "people.keras", records, f"{records}::label", "-o", "b.h5")
    assert behind.returncode == 0, behind.stderr
    age, tokens = padded()
    labels = np.arange(ROWS) % 4
    model = keras.models.load_model(saved / "people.keras")
    expected = model.evaluate([age, tokens], labels, verbose=0)
    for name in ("a.h5", "b.h5"):
        with h5py.File(tmp_path / name) as file:
            assert float(file["loss"][()]) == pytest.approx(float(np.ravel(expected)[0]), rel=1e-5)


def test_what_is_left_out_is_recorded(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    records = [example(item) for item in features()]
    records[2] = b"nonsense"
    path = write_records(tmp_path / "bad.tfrecord", records)
    refused(tfdump("activations", saved / "people.keras", path, "-o", "d.h5"), f"record 2 of {path}", "--skip-damaged")
    done = tfdump("activations", saved / "people.keras", path, "--skip-damaged", "-o", "d.h5")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("bad.tfrecord:2") == 1
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["outputs/out"].shape == (ROWS - 1, 4)
        assert any("bad.tfrecord:2" in str(value) for value in file.attrs.values())


def test_sound_in_pieces(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    model, words = saved / "sound.keras", saved / "words"
    refused(tfdump("activations", model, words), "has 350 samples, and the model takes 100", "--window 0.0125")
    done = tfdump("activations", model, words, "--window", 0.0125, "--hop", 0.00625, "--batch-size", 2, "-o", "d.h5")
    assert done.returncode == 0, done.stderr
    pieces = [sound(350, seed=1)[start : start + 100] for start in range(0, 251, 50)]
    pieces += [sound(200, seed=2)[start : start + 100] for start in range(0, 101, 50)]
    expected = keras.models.load_model(model).predict(np.stack(pieces).astype(np.float32) / 32768, verbose=0)
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_allclose(file["outputs/out"][()], expected, rtol=1e-4, atol=1e-6)
        assert file["examples/id"][1] == b"words/no/a.wav:0.00625s"
        assert file["examples/label"][()].tolist() == [0] * 6 + [1] * 3
    refused(tfdump("activations", model, words, "--sample-rate", 16000), "8000", "16000")


def test_layers_and_a_dry_run_take_them_too(saved: Path, tfdump: Run) -> None:
    listed = tfdump("layers", saved / "people.keras", saved / "people.tfrecord")
    assert listed.returncode == 0, listed.stderr
    dry = tfdump("activations", saved / "people.keras", saved / "people.tfrecord", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"outputs/out\t(?, 4)\tfloat32\texample\t{ROWS * 4 * 4}\n" in dry.stdout
