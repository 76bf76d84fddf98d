"""Every mistake ends in one line that says what, where and how to mend it, in exit status 2, and in no file."""

import os
import resource
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support.command import SAMPLES, Ended, Run
from support.dumps import write_dump
from support.forked import forked_python
from support.signalled import start_command
from support.small_disks import small_disk_or_skip

pytestmark = pytest.mark.tensorflow

MODEL = SAMPLES / "digits_cnn.keras"
DIGITS = SAMPLES / "digits.npy"


def assert_refused(done: Ended, folder: Path, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Note: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("Error: ")
    for word in words:
        assert word in errors[0], errors[0]
    assert not list(folder.glob("*.partial"))
    assert not list(folder.glob("*.activations.h5"))


def saved(folder: Path, array: np.ndarray, name: str = "x.npy") -> str:
    np.save(folder / name, array)
    return name


def test_no_such_model(tfdump: Run, tmp_path: Path) -> None:
    assert_refused(tfdump("activations", "nope.keras", DIGITS), tmp_path, "no such model: nope.keras")


def test_a_url_is_no_path(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("activations", "https://example.org/m.keras", DIGITS)
    assert_refused(done, tmp_path, "https://example.org/m.keras is a URL", "download it")
    assert_refused(tfdump("activations", MODEL, "https://example.org/x.npy"), tmp_path, "is a URL", "download it")


def test_an_array_instead_of_the_model(tfdump: Run, tmp_path: Path) -> None:
    assert_refused(tfdump("layers", DIGITS), tmp_path, "is an array, not a model", "MODEL INPUT")
    assert_refused(tfdump("activations", DIGITS, MODEL), tmp_path, "is a model, not an input", "MODEL INPUT")


def test_a_text_file_instead_of_the_model(tfdump: Run, tmp_path: Path) -> None:
    assert_refused(tfdump("activations", SAMPLES / "README.md", DIGITS), tmp_path, "is not a saved model")


@pytest.mark.parametrize("length", [0, 1, 1000, 30_000, -1])
def test_a_truncated_model(tfdump: Run, tmp_path: Path, length: int) -> None:
    (tmp_path / "cut.keras").write_bytes(MODEL.read_bytes()[:length])
    assert_refused(tfdump("activations", "cut.keras", DIGITS), tmp_path, "cut.keras")


def test_damaged_weights(tfdump: Run, tmp_path: Path) -> None:
    whole = bytearray(MODEL.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 200] = bytes(200)
    (tmp_path / "damaged.keras").write_bytes(whole)
    assert_refused(tfdump("activations", "damaged.keras", DIGITS), tmp_path, "damaged.keras")


def test_a_folder_without_weights_or_with_a_pipe_in_it(tfdump: Run, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(MODEL) as archive:
        archive.extractall(folder)
    weights = folder / "model.weights.h5"
    weights.unlink()
    assert_refused(tfdump("activations", folder, DIGITS), tmp_path, "incomplete", "model.weights.h5")
    os.mkfifo(weights)
    assert_refused(tfdump("activations", folder, DIGITS), tmp_path, "model.weights.h5", "neither a file nor a folder")
    with zipfile.ZipFile(tmp_path / "bare.keras", "w") as archive:
        archive.write(folder / "config.json", "config.json")
    assert_refused(tfdump("activations", "bare.keras", DIGITS), tmp_path, "incomplete", "model.weights.h5")


def test_an_imported_file_does_not_take_the_place_of_a_module(tfdump_process: Run, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "h5py.py").write_text("MINE = True\n")
    done = tfdump_process("activations", MODEL, DIGITS, "--import", "own/h5py.py", "-o", "a.h5")
    assert done.returncode == 0, done.stderr


def test_a_class_that_was_not_imported(tfdump_forked: Run, tmp_path: Path) -> None:
    done = tfdump_forked("activations", SAMPLES / "twice.keras", DIGITS)
    assert_refused(done, tmp_path, "'Twice'", "--import")


def test_an_import_that_fails(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('from the module')")
    assert_refused(tfdump("layers", MODEL, "--import", "broken.py"), tmp_path, "broken.py", "from the module")
    assert_refused(tfdump("layers", MODEL, "--import", "nowhere.py"), tmp_path, "nowhere.py", "no such file")
    assert_refused(tfdump("layers", MODEL, "--import", "nowhere"), tmp_path, "nowhere", "ModuleNotFoundError")


def test_a_lambda_is_not_run_unless_trusted(tfdump: Run, tmp_path: Path) -> None:
    code = (
        "import keras; x = keras.Input((2,)); "
        "keras.Model(x, keras.layers.Lambda(lambda v: open('canary', 'w') and v, name='mine')(x)).save('lambda.keras')"
    )
    subprocess.run([*forked_python(), "-c", code], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "canary").unlink(missing_ok=True)
    x = saved(tmp_path, np.zeros((3, 2), "float32"))
    assert_refused(tfdump("activations", "lambda.keras", x), tmp_path, "'mine'", "--trust-model")
    assert not (tmp_path / "canary").exists()
    assert_refused(
        tfdump("activations", "lambda.keras", x, env={"TFDUMP_ACTIVATIONS_TRUST_MODEL": "1"}),
        tmp_path,
        "--trust-model",
    )
    assert tfdump("activations", "lambda.keras", x, "--trust-model").returncode == 0


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 8, 8, 1, 1), "float32"), ("(3, 8, 8, 1, 1)", "'image' takes (?, 8, 8, 1)")),
        (np.zeros((3, 9, 9, 1), "float32"), ("(3, 9, 9, 1)", "'image' takes (?, 8, 8, 1)")),
        (np.zeros((0, 8, 8, 1), "float32"), ("no examples",)),
        (np.full((3, 8, 8, 1), "a"), ("holds text", "takes floating-point numbers (float32)")),
        (np.zeros((3, 8, 8, 1), "complex64"), ("complex numbers (complex64)", "(float32)")),
        (np.full((3, 8, 8, 1), 2**53 + 1), ("9007199254740993", "does not fit into float32")),
        (np.full((3, 8, 8, 1), 1e300), ("does not fit into float32",)),
        (np.array([{}], dtype=object), ("pickled",)),
    ],
)
def test_an_input_that_does_not_fit(tfdump: Run, tmp_path: Path, array: np.ndarray, words: tuple[str, ...]) -> None:
    assert_refused(tfdump("activations", MODEL, saved(tmp_path, array)), tmp_path, "x.npy", *words)


def test_floats_for_token_ids(tfdump: Run, tmp_path: Path) -> None:
    x = saved(tmp_path, np.zeros((3, 5), "float32"))
    done = tfdump("activations", SAMPLES / "text_gru.keras", x)
    assert_refused(done, tmp_path, "floating-point numbers (float32)", "integers (int32)")


def test_files_that_are_no_input(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.npy").touch()
    (tmp_path / "pickle.npy").write_bytes(b"\x80\x04N.")
    (tmp_path / "text.bin").write_text("1,2,3\n")
    (tmp_path / "cut.npy").write_bytes(DIGITS.read_bytes()[:5000])
    shutil.copy(SAMPLES / "pairs.npz", tmp_path / "whole.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:5000])
    assert_refused(tfdump("activations", MODEL, "missing.npy"), tmp_path, "no such input file: missing.npy")
    assert_refused(tfdump("activations", MODEL, "."), tmp_path, "has no images among 6 other files")
    assert_refused(tfdump("activations", MODEL, "empty.npy"), tmp_path, "empty.npy is empty")
    assert_refused(tfdump("activations", MODEL, "pickle.npy"), tmp_path, "pickle", "numpy.save")
    assert_refused(tfdump("activations", MODEL, "text.bin"), tmp_path, "text.bin", "numpy.save")
    assert_refused(tfdump("activations", MODEL, "cut.npy"), tmp_path, "cut.npy is truncated")
    assert_refused(tfdump("activations", MODEL, "cut.npz"), tmp_path, "cut.npz")
    assert_refused(tfdump("activations", MODEL, "-", stdin=b""), tmp_path, "standard input is empty")
    assert_refused(tfdump("activations", MODEL, "-", stdin=b"hello"), tmp_path, "standard input")


def test_inputs_by_name_and_number(tfdump: Run, tmp_path: Path) -> None:
    siamese = SAMPLES / "siamese.keras"
    assert_refused(
        tfdump("activations", siamese, DIGITS), tmp_path, "takes 2 inputs, 'left' float32, 'right'", "1 array"
    )
    assert_refused(tfdump("activations", siamese, DIGITS, DIGITS, DIGITS), tmp_path, "3 arrays")
    assert_refused(tfdump("activations", siamese, f"lft={DIGITS}", f"right={DIGITS}"), tmp_path, "'lft'; near: 'left'")
    assert_refused(
        tfdump("activations", siamese, f"left={DIGITS}", f"left={DIGITS}"), tmp_path, "'left' is given twice"
    )
    short = saved(tmp_path, np.load(DIGITS)[:5])
    assert_refused(tfdump("activations", siamese, DIGITS, short), tmp_path, "different numbers of examples", "has 5")
    assert_refused(tfdump("activations", MODEL, SAMPLES / "pairs.npz"), tmp_path, "'left', 'right'", "'image'")


def test_selections_that_match_nothing(tfdump: Run, tmp_path: Path) -> None:
    assert_refused(
        tfdump("activations", MODEL, DIGITS, "-l", "conv9"), tmp_path, "'conv9'; near: ", "'conv1'", "tfdump layers"
    )
    assert_refused(tfdump("activations", MODEL, DIGITS, "-x", "conv9"), tmp_path, "'conv9'")
    assert_refused(tfdump("activations", MODEL, DIGITS, "-l", "type:Conv3D"), tmp_path, "'Conv3D'; near: 'Conv2D'")
    assert_refused(tfdump("activations", MODEL, DIGITS, "-l", "re:("), tmp_path, "not a regular expression")
    assert_refused(tfdump("activations", MODEL, DIGITS, "-l", "conv1", "-x", "conv*"), tmp_path, "select no tensor")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--batch-size", "0"], "--batch-size '0'"),
        (["--batch-size", "many"], "--batch-size 'many'"),
        (["--memory", "lots"], "'lots' is not a number of bytes"),
        (["--examples", "7"], "START:STOP"),
        (["--examples", "5:5"], "none of the 300 examples"),
        (["--examples", "900:"], "none of the 300 examples"),
        (["--reduce", "median"], "'median'"),
        (["--reduce", "mean:0"], "axis 0"),
        (["--dtype", "int8"], "int8"),
        (["--depth", "0"], "depth"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_options_that_make_no_sense(tfdump: Run, tmp_path: Path, options: list[str], word: str) -> None:
    assert_refused(tfdump("activations", MODEL, DIGITS, *options), tmp_path, word)


def test_strict_dtype_refuses_a_cast(tfdump: Run, tmp_path: Path) -> None:
    x = saved(tmp_path, np.zeros((2, 8, 8, 1)))
    assert_refused(tfdump("activations", MODEL, x, "--strict-dtype"), tmp_path, "float64", "float32", "--strict-dtype")


# --- the output


def test_an_existing_output_is_kept(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "there.h5").write_text("precious")
    done = tfdump("activations", MODEL, DIGITS, "-o", "there.h5")
    assert_refused(done, tmp_path, "there.h5 exists", "-f")
    assert (tmp_path / "there.h5").read_text() == "precious"
    assert tfdump("activations", MODEL, DIGITS, "-o", "there.h5", "-f").returncode == 0
    assert (tmp_path / "there.h5").read_bytes()[:4] == b"\x89HDF"


def test_an_output_that_cannot_be(tfdump: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert_refused(tfdump("activations", MODEL, DIGITS, "-o", "no/x.h5"), tmp_path, "folder no does not exist")
    assert_refused(tfdump("activations", MODEL, DIGITS, "-o", "fifo", "-f"), tmp_path, "not a regular file")
    assert_refused(tfdump("activations", MODEL, DIGITS, "-o", "/dev/null", "-f"), tmp_path, "not a regular file")
    assert_refused(tfdump("activations", MODEL, DIGITS, "-o", ".", "-f"), tmp_path, "not a regular file")


def test_a_full_disk_leaves_the_old_file(tfdump_forked: Run, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk_or_skip(disk, kilobytes=3 << 10):
        (disk / "old.h5").write_text("precious")
        for compression in ("none", "gzip"):  # the first is refused beforehand, the second fails while writing
            done = tfdump_forked(
                "activations",
                MODEL,
                DIGITS,
                "-o",
                disk / "old.h5",
                "-f",
                "--compression",
                compression,
                "--dtype",
                "float64",
            )
            assert_refused(done, disk, "left" if compression == "none" else "No space left on device")
            assert (disk / "old.h5").read_text() == "precious"
            assert os.listdir(disk) == ["old.h5"]


def test_a_file_size_limit_leaves_nothing(tfdump_process: Run, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = tfdump_process("activations", MODEL, DIGITS, preexec_fn=limit)
    assert_refused(done, tmp_path, "cannot write", "File too large")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("signum", "status", "said"),
    [(signal.SIGINT, 130, b"interrupted; no file was written"), (signal.SIGTERM, 143, b"ended by SIGTERM")],
)
def test_a_signal_leaves_nothing(tmp_path: Path, signum: int, status: int, said: bytes) -> None:
    np.save(tmp_path / "many.npy", np.zeros((200_000, 8, 8, 1), "float32"))
    process = start_command(
        "activations", MODEL, "many.npy", "--batch-size", "64", cwd=tmp_path, python=forked_python()
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*.partial")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.glob("*.partial")), "the dump never began"
    time.sleep(0.5)
    process.send_signal(signum)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err.decode()
    assert (out, err) == (b"", b"Error: " + said + b"\n")
    assert os.listdir(tmp_path) == ["many.npy"]


@pytest.mark.parametrize("name", ["q.json", "q.npy", "q.parquet", "q.html"])
def test_an_output_with_the_ending_of_another_format(tfdump: Run, tmp_path: Path, name: str) -> None:
    done = tfdump("activations", MODEL, DIGITS, "-o", name)
    assert_refused(done, tmp_path, f"'{name}' is the name of", "end it in .h5, .hdf5")
    done = tfdump("gradients", MODEL, DIGITS, SAMPLES / "digits_labels.npy", "-o", name)
    assert_refused(done, tmp_path, f"'{name}' is the name of", "end it in .h5, .hdf5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["my dump's.h5", "-d.h5", "$HOME.h5"])
def test_the_advice_to_list_the_tensors_works_when_copied_into_a_shell(tfdump: Run, tmp_path: Path, name: str) -> None:
    write_dump(tmp_path / name)
    for command in (["show", "--", name, "nope"], ["cat", "--", name, "nope"], ["plot", "--", name, "nope"],
                    ["check", "-l", "nope", "--", name], ["show", "-l", "nope", "--", name]):  # fmt: skip
        said = tfdump(*command).stderr
        advice = said.partition("list them: ")[2].rstrip(")\n")
        done = subprocess.run(["sh", "-c", f"printf '%s\\n' {advice}"], capture_output=True, text=True, check=True)
        words = done.stdout.splitlines()
        assert words[0] == "tfdump", said
        assert tfdump(*words[1:]).returncode == 0, said


def test_models_are_no_dumps_to_compare(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("diff", MODEL, MODEL)
    assert_refused(done, tmp_path, "is a Keras model, not a dump", "dump it first: tfdump activations")


def test_a_dump_that_cannot_be_read_is_told_before_a_page_that_exists(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine")
    (tmp_path / "cut.h5").write_bytes(write_dump(tmp_path / "d.h5").read_bytes()[:3000])
    for name in ("nope.h5", "cut.h5"):
        done = tfdump("report", name, "-o", "page.html")
        assert_refused(done, tmp_path, name)
        assert "exists" not in done.stderr
    assert_refused(tfdump("report", "d.h5", "nope.h5", "-o", "page.html"), tmp_path, "no such file: nope.h5")
    assert_refused(tfdump("report", "d.h5", "-o", "page.html"), tmp_path, "page.html exists")


def test_an_unreadable_input_is_told_before_an_existing_output(tfdump: Run, tmp_path: Path) -> None:
    """Removing the output would not help, since the input stays unreadable."""
    (tmp_path / "out.h5").write_text("mine")
    (tmp_path / "cut.npy").write_bytes(DIGITS.read_bytes()[:1000])
    for name, words in (("nope.npy", "no such input file: nope.npy"), ("cut.npy", "cut.npy")):
        for command in ("activations", "gradients"):
            done = tfdump(command, MODEL, name, "-o", "out.h5")
            assert_refused(done, tmp_path, words)
            assert "exists" not in done.stderr
    assert_refused(tfdump("activations", "nope.keras", DIGITS, "-o", "out.h5"), tmp_path, "no such model: nope.keras")
    done = tfdump("activations", MODEL, "-", "-o", "out.h5", stdin=b"nothing of the kind")
    assert_refused(done, tmp_path, "output out.h5 exists")  # standard input is not read in vain
