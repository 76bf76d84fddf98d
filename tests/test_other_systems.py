"""What tfdump does where the system lacks what only POSIX has, as far as a POSIX system can show that."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from support.command import SAMPLES
from support.other_systems import run_without

READING = (
    ("show", "d.h5", "--stats"),
    ("cat", "d.h5", "hidden", "-o", "hidden.npy"),
    ("diff", "d.h5", "d.h5"),
    ("check", "d.h5"),
    ("plot", "d.h5", "hidden", "-o", "hidden.png"),
    ("report", "d.h5", "-o", "d.html"),
)


@pytest.mark.tensorflow
def test_a_dump_is_made_and_read(tmp_path: Path) -> None:
    """Also over an older file, and with the same values; TensorFlow itself is that of this system."""
    model, x = SAMPLES / "wine_mlp.keras", np.load(SAMPLES / "wine.npy")
    for options in ((), ("-f",)):
        done = run_without(tmp_path, "activations", model, SAMPLES / "wine.npy", "-o", "d.h5", *options)
        assert (done.returncode, done.stdout) == (0, "d.h5\n"), done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"d.h5"}
    import keras

    loaded = keras.models.load_model(model)
    hidden = x
    for layer in loaded.layers[: loaded.layers.index(loaded.get_layer("hidden")) + 1]:
        hidden = layer(hidden)
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_allclose(file["activations/hidden"], hidden, rtol=1e-5, atol=1e-6)
    for command in READING:
        done = run_without(tmp_path, *command)
        assert done.returncode == 0, (command, done.stderr)


@pytest.mark.tensorflow
def test_resuming_without_locks_is_refused_in_one_line(tmp_path: Path) -> None:
    files = SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy"
    done = run_without(tmp_path, "activations", *files, "-o", "d.h5", "--resume")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: --resume needs locks on files, which this system does not have "
        "(leave it out: the dump is made in one go)\n"
    )
    assert list(tmp_path.iterdir()) == []
