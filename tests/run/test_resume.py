"""An interrupted run goes on where it stopped and ends in the same bytes; where it cannot, it says why."""

import errno
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from support import row_models, tiny_models
from support.command import ROOT, SAMPLES, Run
from support.tiny_models import register
from tfdump.dump.journal import Journal

pytestmark = pytest.mark.tensorflow

DIGITS = [SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy", "--examples", "0:70", "--batch-size", "16"]
WINE = [SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy", SAMPLES / "wine_labels.npy", "--batch-size", "16"]
TEXT = [SAMPLES / "text_gru.keras", SAMPLES / "text.npz", "--examples", "0:70", "--batch-size", "16"]
ROWS = ["rows.npy", "--import", ROOT / "tests" / "support" / "row_models.py", "--batch-size", "2"]
TINY = ["x.npy", "--import", ROOT / "tests" / "support" / "tiny_models.py", "--batch-size", "3"]

COMMANDS = {
    "statistics": ["activations", *DIGITS, "--stats", "--checksums", "--save-inputs"],
    "ragged input": ["activations", *TEXT, "--attention", "--rnn-steps", "--compression", "gzip"],
    "weights": ["gradients", *WINE, "--wrt", "weights", "--wrt", "activations", "--stats"],
    "each": ["gradients", *WINE, "--per-example", "--norms-only", "--stats"],
    "odd axes": ["activations", "odd.keras", *TINY, "--stats"],
    "odd axes reduced": ["activations", "odd.keras", *TINY, "--stats", "--reduce", "mean", "--dtype", "float16"],
    "odd axes without values": ["activations", "odd.keras", *TINY, "--stats-only"],
    "odd types": ["activations", "composite.keras", *TINY, "--stats"],
    "eager": ["activations", "branching.keras", *TINY],
    "bytes": ["activations", "words.keras", "words.npy", "--batch-size", "3", "--save-inputs", "--checksums"],
    "rows": ["activations", "rows.keras", *ROWS, "--stats", "--checksums", "--compression", "gzip"],
    "rows reduced": ["activations", "rows.keras", *ROWS, "--stats", "--reduce", "sum", "--dtype", "float16"],
    "rows without values": ["activations", "rows.keras", *ROWS, "--stats-only"],
    "rows eager": ["activations", "rows_eager.keras", *ROWS, "--checksums"],
    "rows typed": ["activations", "rows_typed.keras", *ROWS, "--stats"],
    "rows typed without values": ["activations", "rows_typed.keras", *ROWS, "--stats-only"],
    "rows of gradients": ["gradients", "rows.keras", *ROWS, "--objective", "sum", "--wrt", "activations", "--stats"],
}


@register
class Noisy(keras.Model):
    """Draws random numbers in every call, from a generator of Keras."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.noise = keras.layers.GaussianNoise(1.0, name="noise")

    def call(self, x: object) -> object:
        return self.noise(x, training=True)


@register
class Drawing(keras.Model):
    """Draws random numbers in every call, past Keras, where nobody can see it before."""

    def call(self, x: object) -> object:
        return x + tf.random.normal(tf.shape(x))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of tables, stacks, ragged, sparse and text, one that cannot be traced, and some that cannot go on."""
    folder = tmp_path_factory.mktemp("models")
    x = np.random.default_rng(0).normal(size=(11, 3)).astype("float32")
    np.save(folder / "x.npy", x)
    stateful = keras.Sequential([keras.Input((1, 3), batch_size=3), keras.layers.LSTM(2, stateful=True)])
    made = {
        "odd": tiny_models.odd_axes(),
        "composite": tiny_models.Composite(),
        "branching": tiny_models.DataDependent(),
        "noisy": Noisy(),
        "drawing": Drawing(),
        "stateful": keras.Sequential([keras.Input((3,), batch_size=3), keras.layers.Reshape((1, 3)), *stateful.layers]),
    }
    for name, model in made.items():
        model(x[:3])
        model.save(folder / f"{name}.keras")
    word = keras.Input((), dtype="string", name="word")
    keras.Model(word, keras.layers.StringLookup(vocabulary=["a", "b"])(word)).save(folder / "words.keras")
    np.save(folder / "words.npy", np.array([b"a", b"b"] * 4 + [b"\xff", b"a\0b", b"a"]))  # the last ones are no text
    np.save(folder / "rows.npy", row_models.X)
    rows = {"rows": row_models.Odd(), "rows_eager": row_models.Odd(eager=True), "rows_typed": row_models.Typed()}
    for name, model in rows.items():
        model(row_models.X[:2])
        model.save(folder / f"{name}.keras")
    return folder


@contextmanager
def full_disk_after(batches: int) -> Iterator[None]:
    """Let the journal find the disk full behind a number of batches."""
    append, count = Journal.append, itertools.count()

    def limited(journal: Journal, *batch: object) -> None:
        if next(count) == batches:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(journal, *batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", limited)
        yield


@pytest.fixture
def folder(tmp_path: Path, models: Path) -> Path:
    for path in models.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def interrupt(tfdump: Run, *arguments: object, batches: int = 2) -> None:
    """Run a command with --resume until its disk is full; what it computed stays."""
    with full_disk_after(batches):
        done = tfdump(*arguments, "-o", "d.h5", "--resume")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Error: cannot write d.h5: No space left on device" in done.stderr
    assert "Note: d.h5.partial keeps what was computed" in done.stderr


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith("d.h5")}


# The same bytes


Whole = Callable[[str], tuple[bytes, str]]


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[bytes, str]]:
    """What `whole` has run."""
    return {}


@pytest.fixture
def whole(tfdump: Run, folder: Path, made: dict[str, tuple[bytes, str]]) -> Whole:
    """The dump of a run that nothing interrupts, and what the run says; each is made once for all tests."""

    def whole(name: str) -> tuple[bytes, str]:
        if name not in made:
            done = tfdump(*COMMANDS[name], "-o", "whole.h5")
            assert done.returncode == 0, done.stderr
            made[name] = (folder / "whole.h5").read_bytes(), done.stderr
        return made[name]

    return whole


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_that_was_interrupted_ends_in_the_same_bytes(tfdump: Run, folder: Path, whole: Whole, name: str) -> None:
    interrupt(tfdump, *COMMANDS[name])
    assert left(folder) == {"d.h5.partial"}
    done = tfdump(*COMMANDS[name], "-o", "d.h5", "--resume")
    assert (done.returncode, done.stdout) == (0, "d.h5\n"), done.stderr
    few = name.startswith(("odd", "eager", "bytes"))
    count = 6 if few else 4 if name.startswith("rows") else 32
    assert f"resumes after {count} examples, which are in d.h5.partial" in done.stderr
    assert left(folder) == {"d.h5"}
    assert (folder / "d.h5").read_bytes() == whole(name)[0]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.startswith("rows")])
def test_a_tensor_that_became_a_stack_before_the_end_of_a_run_is_one_in_the_next(
    tfdump: Run, folder: Path, whole: Whole, name: str
) -> None:
    """The third of six batches tells: here it is among those that are kept."""
    interrupt(tfdump, *COMMANDS[name], batches=5)
    done = tfdump(*COMMANDS[name], "-o", "d.h5", "--resume")
    assert done.returncode == 0, done.stderr
    dump, said = whole(name)
    assert (folder / "d.h5").read_bytes() == dump
    assert "no row per example" in said
    assert [line for line in done.stderr.splitlines() if "resumes after" not in line] == said.splitlines()


@pytest.mark.parametrize("batches", [1, 4, 5])
def test_it_goes_on_from_anywhere(tfdump: Run, folder: Path, batches: int) -> None:
    """From the first batch, from the last but one, and where only the dump itself was missing (there are 5)."""
    command = ["activations", *DIGITS, "-l", "conv1"]
    assert tfdump(*command, "-o", "whole.h5").returncode == 0
    if batches < 5:
        interrupt(tfdump, *command, batches=batches)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, "remove", lambda journal: None)  # ended between the dump and the end
            assert tfdump(*command, "-o", "d.h5", "--resume").returncode == 0
        (folder / "d.h5").unlink()
    assert left(folder) == {"d.h5.partial"}
    done = tfdump(*command, "-o", "d.h5", "--resume")
    assert f"resumes after {min(70, 16 * batches)} examples" in done.stderr
    assert (folder / "d.h5").read_bytes() == (folder / "whole.h5").read_bytes()


def test_a_run_from_standard_input_goes_on_when_the_same_is_piped_again(tfdump: Run, folder: Path) -> None:
    data = (SAMPLES / "digits.npy").read_bytes()
    command = ["activations", DIGITS[0], "-", *DIGITS[2:], "-l", "conv1", "-o", "d.h5", "--resume"]
    with full_disk_after(2):
        assert tfdump(*command, stdin=data).returncode == 2
    other = np.load(SAMPLES / "digits.npy") + 1
    buffer = io.BytesIO()
    np.save(buffer, other)
    done = tfdump(*command, stdin=buffer.getvalue())
    assert "the inputs are not those of the interrupted run" in done.stderr
    assert tfdump(*command, stdin=data).returncode == 0


# What must be the same


def test_what_differs_is_named(tfdump: Run, folder: Path) -> None:
    shutil.copy(SAMPLES / "wine_mlp.keras", folder / "m.keras")
    (folder / "code_of_mine.py").write_text("VALUE = 1\n")
    x = np.load(SAMPLES / "wine.npy")[:40]
    np.save(folder / "wine.npy", x)
    command = ["activations", "m.keras", "wine.npy", "--import", "code_of_mine.py"]
    sized = [*command, "--batch-size", "16"]
    interrupt(tfdump, *sized, batches=1)
    before = (folder / "d.h5.partial").read_bytes()

    def refused(*arguments: object) -> str:
        done = tfdump(*arguments, "-o", "d.h5", "--resume")
        assert (done.returncode, done.stdout, left(folder)) == (2, "", {"d.h5.partial"})
        assert done.stderr.count("Error: ") == 1
        assert "to start over" in done.stderr
        assert "keeps what was computed" not in done.stderr
        assert (folder / "d.h5.partial").read_bytes() == before
        return done.stderr.splitlines()[-1]

    assert "its command is 'tfdump activations m.keras" in refused(*sized, "--stats")
    (folder / "code_of_mine.py").write_text("VALUE = 2\n")
    assert "its imported code is" in refused(*sized)
    (folder / "code_of_mine.py").write_text("VALUE = 1\n")
    model = keras.models.load_model(folder / "m.keras", compile=False)
    model.weights[0].assign(model.weights[0] + 1)
    shutil.move(folder / "m.keras", folder / "before.keras")
    model.save(folder / "m.keras")
    assert "its model_sha256 is" in refused(*sized)
    shutil.move(folder / "before.keras", folder / "m.keras")
    changed = x.copy()
    changed[3, 0] += 1
    np.save(folder / "wine.npy", changed)
    assert "the inputs are not those of the interrupted run in examples 0 to 15" in refused(*sized)
    np.save(folder / "wine.npy", x[:30])
    assert "its examples is 40, and now it is 30" in refused(*sized)
    np.save(folder / "wine.npy", x)
    assert tfdump(*sized, "-o", "d.h5", "--resume").returncode == 0


def test_inputs_that_were_not_read_yet_may_change(tfdump: Run, folder: Path) -> None:
    """The result is that of the inputs as they are now, which is what the user asks for."""
    x = np.load(SAMPLES / "digits.npy")[:40]
    np.save(folder / "x.npy", x)
    command = ["activations", DIGITS[0], "x.npy", "--batch-size", "16", "-l", "conv1"]
    interrupt(tfdump, *command, batches=1)
    x[20:] += 1
    np.save(folder / "x.npy", x)
    assert tfdump(*command, "-o", "d.h5", "--resume").returncode == 0
    assert tfdump(*command, "-o", "whole.h5").returncode == 0
    assert (folder / "d.h5").read_bytes() == (folder / "whole.h5").read_bytes()


CANNOT = {
    "training": (
        ["activations", *DIGITS, "--training"],
        "each batch changes the numbers that the model gives for the next one",
    ),
    "noisy": (["activations", "noisy.keras", *TINY, "--import", __file__], "the model draws random numbers"),
    "stateful": (["activations", "stateful.keras", "x.npy"], "the model changes variables while it runs"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_a_model_that_cannot_start_in_the_middle_keeps_nothing_and_says_why(
    tfdump: Run, folder: Path, name: str
) -> None:
    command, reason = CANNOT[name]
    done = tfdump(*command, "-o", "d.h5", "--resume")
    assert done.returncode == 0, done.stderr
    assert reason in done.stderr
    assert "so an interrupted run must start over; no journal is written" in done.stderr
    assert left(folder) == {"d.h5"}
    assert tfdump(*command, "-o", "whole.h5").returncode == 0
    assert (folder / "d.h5").read_bytes() == (folder / "whole.h5").read_bytes()


def test_random_numbers_that_nobody_can_see_are_found_when_the_run_goes_on(tfdump: Run, folder: Path) -> None:
    command = ["activations", "drawing.keras", *TINY, "--import", __file__]
    interrupt(tfdump, *command, batches=3)  # of the first two, the generator is where it was in the run before
    done = tfdump(*command, "-o", "d.h5", "--resume")
    assert done.returncode == 2
    assert "the numbers that the model gives (it draws random numbers, or runs on another machine)" in done.stderr
    assert left(folder) == {"d.h5.partial"}


def test_a_descent_is_not_kept(tfdump: Run) -> None:
    done = tfdump("gradients", *WINE, "--steps", "2", "--learning-rate", "0.1", "--resume")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--resume and --steps exclude each other" in done.stderr


def test_a_run_without_resume_tells_of_a_journal_and_leaves_it(tfdump: Run, folder: Path) -> None:
    command = ["activations", *DIGITS, "-l", "conv1"]
    interrupt(tfdump, *command)
    done = tfdump(*command, "-o", "d.h5")
    assert "d.h5.partial is left from an interrupted run (add --resume to resume it, or remove it)" in done.stderr
    assert left(folder) == {"d.h5", "d.h5.partial"}


def test_a_journal_that_vanished_with_its_folder_is_not_said_to_keep_anything(tfdump: Run, folder: Path) -> None:
    (folder / "out").mkdir()
    append = Journal.append

    def vanishing(journal: Journal, *batch: object) -> None:
        append(journal, *batch)
        shutil.rmtree(folder / "out", ignore_errors=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", vanishing)
        done = tfdump("activations", *DIGITS, "-l", "conv1", "-o", "out/d.h5", "--resume")
    assert (done.returncode, done.stdout, (folder / "out").exists()) == (2, "", False)
    assert done.stderr.splitlines()[-1].startswith("Error: cannot write out/d.h5"), done.stderr
    assert "keeps what was computed" not in done.stderr


def test_an_error_before_the_first_batch_leaves_nothing(tfdump: Run, folder: Path) -> None:
    (folder / "d.h5.partial").write_bytes(b"precious")
    done = tfdump("activations", *DIGITS, "-o", "d.h5", "--resume")
    assert "d.h5.partial has the name that the journal needs, and is not a journal" in done.stderr
    assert (done.returncode, (folder / "d.h5.partial").read_bytes()) == (2, b"precious")
    done = tfdump("activations", *DIGITS, "-l", "nothing", "-o", "e.h5", "--resume")
    assert (done.returncode, list(folder.glob("e.h5*"))) == (2, [])


def test_the_recorded_command_does_not_tell_of_it(tfdump: Run, folder: Path) -> None:
    assert tfdump("activations", *DIGITS, "-l", "conv1", "--resume", "-o", "d.h5").returncode == 0
    with h5py.File(folder / "d.h5") as file:
        assert "--resume" not in file.attrs["command"]
