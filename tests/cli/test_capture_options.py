"""`--attention`, `--rnn-steps`, `--rnn-gates`, `--preactivation` and `--layer-inputs` from the shell."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from support.command import SAMPLES, Run

pytestmark = pytest.mark.tensorflow

TEXT = (SAMPLES / "text_gru.keras", SAMPLES / "text.npz")
WINE = (SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy")


def test_the_dump_holds_what_was_asked_for_and_tells_what_it_is(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("activations", *TEXT, "--attention", "--rnn-steps", "--rnn-gates", "--stats", "-o", "a.h5")
    assert done.returncode == 0, done.stderr
    assert tfdump("activations", *TEXT, "-o", "b.h5").returncode == 0
    with h5py.File(tmp_path / "a.h5") as full, h5py.File(tmp_path / "b.h5") as plain:
        added = full["activations"].keys() - plain["activations"].keys()
        assert added == {
            "attention:attention_scores",
            *(
                f"bidirectional.{side}_gru:{suffix}"
                for side in ("forward", "backward")
                for suffix in ("states.0", "gates.update", "gates.reset", "gates.candidate")
            ),
        }
        for group in ("activations", "outputs"):
            for name, dataset in plain[group].items():
                np.testing.assert_array_equal(full[group][name][()], dataset[()], err_msg=name)
        scores = full["activations/attention:attention_scores"]
        assert scores.attrs["layer"] == "attention"
        assert scores.attrs["class"] == "MultiHeadAttention"
        assert scores.attrs["structure"].endswith(":attention_scores")
        assert scores.attrs["axis0"] == "example"
        np.testing.assert_allclose(scores[()].sum(-1), 1, atol=1e-5)
        assert scores.attrs["stat_count"] == scores.size
        steps = full["activations/bidirectional.forward_gru:states.0"]
        lengths = full["inputs/tokens:lengths"][()]
        outputs = full["activations/bidirectional.forward_gru"][()]
        for row in range(300):
            np.testing.assert_array_equal(steps[row, lengths[row] - 1], outputs[row, lengths[row] - 1])
            np.testing.assert_array_equal(steps[row, -1], steps[row, lengths[row] - 1])
        assert full.attrs["command"].count("--attention") == 1


def test_the_order_is_that_of_the_forward_pass(tfdump: Run, tmp_path: Path) -> None:
    assert tfdump("activations", *WINE, "--preactivation", "--layer-inputs", "-o", "a.h5").returncode == 0
    with h5py.File(tmp_path / "a.h5") as dump:
        names = list(dump["activations"])
        assert names.index("hidden:input") < names.index("hidden:preactivation") < names.index("hidden")
        hidden = dump["activations/hidden"][()]
        np.testing.assert_allclose(np.tanh(dump["activations/hidden:preactivation"][()]), hidden, atol=1e-6)


def test_layers_lists_and_a_selection_chooses_them(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("layers", TEXT[0], "--attention", "--json", "-l", "*attention_scores")
    (item,) = json.loads(done.stdout)["items"]
    assert item["address"] == "attention:attention_scores"
    assert item["shape"] == [None, 2, None, None]
    done = tfdump("activations", *TEXT, "--rnn-steps", "-l", "*:states", "-l", "*:states.0", "-o", "a.h5")
    assert done.returncode == 2
    assert "no layer matches '*:states'" in done.stderr
    assert tfdump("activations", *TEXT, "--rnn-steps", "-l", "*:states.*", "-o", "a.h5").returncode == 0
    with h5py.File(tmp_path / "a.h5") as dump:
        assert list(dump["activations"]) == [f"bidirectional.{side}_gru:states.0" for side in ("forward", "backward")]


@pytest.mark.parametrize(
    ("pattern", "option"),
    [("attention:attention_scores", "--attention"), ("*:states.0", "--rnn-steps"), ("*:gates.forget", "--rnn-gates"),
     ("predictions:preactivation", "--preactivation"), ("predictions:input", "--layer-inputs")],
)  # fmt: skip
def test_a_selection_without_its_option_names_the_option(tfdump: Run, pattern: str, option: str) -> None:
    done = tfdump("activations", *TEXT, "-l", pattern)
    assert done.returncode == 2
    assert f"tfdump activations {option} captures such tensors" in done.stderr


def test_an_option_that_finds_nothing_says_so(tfdump: Run) -> None:
    done = tfdump("activations", *WINE, "--attention", "--rnn-steps", "-l", "hidden")
    assert done.returncode == 0
    for option in ("--attention", "--rnn-steps"):
        assert f"Note: {option}: the model has no such tensors" in done.stderr


def test_a_dry_run_counts_them(tfdump: Run) -> None:
    def planned(*options: str) -> int:
        return sum(
            int(line.split("\t")[-1]) for line in rows(tfdump("activations", *TEXT, "--dry-run", *options).stdout)
        )

    def rows(table: str) -> list[str]:
        return [line for line in table.splitlines() if line.startswith("activations/")]

    assert planned("--attention") - planned() == 300 * 2 * 10 * 10 * 4


def test_they_may_not_come_from_gradients(tfdump: Run) -> None:
    done = tfdump("gradients", *TEXT, SAMPLES / "text_labels.npy", "--attention")
    assert done.returncode == 2
    assert "--attention" in done.stderr


def test_a_note_names_a_tensor_once(tfdump: Run, tmp_path: Path) -> None:
    """What is an activation and an output at once has one name."""
    x = keras.Input((4, 4, 2), name="x")
    flat = keras.layers.Flatten(name="flat")(keras.layers.Conv2D(3, 2, name="conv")(x))
    keras.Model(x, keras.layers.Dense(2, name="out")(flat)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype("float32"))
    done = tfdump("activations", "m.keras", "x.npy", "--reduce", "mean:2")
    assert done.stderr.splitlines() == [
        "Note: stored whole, because they do not have the axes of --reduce mean:2: flat, out"
    ]
