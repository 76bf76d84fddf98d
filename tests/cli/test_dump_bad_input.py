"""What is given as a dump and is none, or not a whole one: one line that says what it is, and status 2."""

import os
import random
import shutil
import signal
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.command import ROOT, SAMPLES, Run
from support.dumps import TEXT, describe, empty_dump, write_dump
from support.signalled import start_command
from tfdump.dump.reader import open_dump
from tfdump.errors import DumpError


def one_line(tfdump: Run, path: Path | str, words: str) -> None:
    for command in (
        ("show", path),
        ("show", path, "x", "--json"),
        ("cat", path, "x"),
        ("cat", path, "--all", "-o", "o"),
    ):
        done = tfdump(*command)
        assert (done.returncode, done.stdout) == (2, ""), command
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
        assert words in done.stderr


def keras_weights(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones(3)
        file.create_group("vars")


def keras_2_weights(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["dense"]
        file["dense/kernel"] = np.ones(3)


def other(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/b"], file["c"] = np.ones(3), 1.0
        file["again"] = file["c"]
        file["away"] = h5py.ExternalLink("/etc/passwd", "/")


def newer(path: Path) -> None:
    with empty_dump(path, format_version=99):
        pass


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(b""), "is empty, not a dump"),
        (lambda path: path.write_bytes(b"hello, world"), "is not an HDF5 file"),
        (lambda path: np.save(path.open("wb"), np.ones(3)), "is an array (.npy), not a dump"),
        (lambda path: np.savez(path.open("wb"), a=np.ones(3), b=np.ones(3)), "is an archive of 2 arrays (.npz)"),
        (lambda path: path.write_bytes(b"PK\3\4 no more"), "is a damaged zip archive, not a dump"),
        (lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "a"), "is a zip archive, not a dump"),
        (lambda path: shutil.copy(SAMPLES / "wine_mlp.keras", path), "is a Keras model, not a dump (dump it first:"),
        (lambda path: shutil.copy(ROOT / "tests/data/keras2.h5", path), "it is a whole Keras model (dump it first:"),
        (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3 and so on"), "is a .tflite model, not a dump"),
        (keras_weights, "not a dump of tfdump: it holds the weights of a Keras model"),
        (keras_2_weights, "not a dump of tfdump: it holds the weights of a Keras model"),
        (other, "not a dump of tfdump: it holds 2 datasets of something else"),
        (newer, "has format version 99, and this tfdump reads 1 (upgrade it"),
        (lambda path: None, "no such file: given"),
    ],
)
def test_what_is_no_dump_says_what_it_is(tfdump: Run, tmp_path: Path, write: object, words: str) -> None:
    write(tmp_path / "given")
    one_line(tfdump, "given", words)


def test_a_folder_without_dumps(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    for command, words in (("show", "given has no dumps"), ("cat", "given is a folder, not a dump")):
        done = tfdump(command, "given", "x")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert words in done.stderr


def test_a_folder_that_is_a_model_says_so(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "saved_model.pb").write_bytes(b"")
    one_line(tfdump, "given", "given is a model, not a dump (dump it first: tfdump activations given)")


def test_a_truncated_dump(tfdump: Run, tmp_path: Path) -> None:
    whole = write_dump(tmp_path / "d.h5").read_bytes()
    for length in (9, 500, len(whole) // 2, len(whole) - 1):
        (tmp_path / "given").write_bytes(whole[:length])
        one_line(tfdump, "given", "Error: cannot open given: " if length == 9 else "given is ")


def test_links_and_external_storage_are_refused(tfdump: Run, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones(3)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("secret.h5", "x", (3,))
    kinds = {
        "soft": lambda group: group.__setitem__("x", h5py.SoftLink("/outputs")),
        "external": lambda group: group.__setitem__("x", h5py.ExternalLink("secret.h5", "/x")),
        "virtual": lambda group: describe(group.create_virtual_dataset("x", layout)),
        "stored outside": lambda group: describe(
            group.create_dataset("x", (3,), "f8", external=[("secret.h5", 0, 24)])
        ),
    }
    for write in kinds.values():
        with empty_dump(tmp_path / "given") as file:
            write(file["activations"])
        one_line(tfdump, "given", "(copy the data into the file itself)")


def test_a_part_of_a_composite_that_leads_away_is_refused(tfdump: Run, tmp_path: Path) -> None:
    with empty_dump(tmp_path / "given") as file:
        group = file["activations"].create_group("x")
        group["values"], group["indices"] = h5py.ExternalLink("secret.h5", "/x"), np.zeros((1, 1), int)
        describe(group, encoding="sparse", dense_shape=np.array([4]))
    for command in (("show", "given", "x"), ("cat", "given", "x", "-o", "x.npz"), ("cat", "given", "--all", "-o", "o")):
        done = tfdump(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is a link to another place" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_an_address_that_is_not_its_name_is_damage(tfdump: Run, tmp_path: Path) -> None:
    with empty_dump(tmp_path / "given") as file:
        describe(file["activations"].create_dataset("x", data=np.ones(3)), address="../../escape")
    one_line(tfdump, "given", "'activations/x' is damaged: its attribute says that it is '../../escape'")


def test_damaged_composites_are_one_line(tfdump: Run, tmp_path: Path) -> None:
    """Parts that are missing, have no shape, or do not fit each other."""
    good = {"values": np.ones(3, "f4"), "indices": np.zeros((3, 1), int), "row_splits": np.array([0, 3])}
    bad = [
        ("ragged", {"row_splits": np.array([0, 9])}),
        ("ragged", {"row_splits": np.array([[0, 3]])}),
        ("ragged", {"values": np.float32(1)}),
        ("sparse", {"indices": np.zeros((2, 1), int)}),
        ("sparse", {"indices": np.zeros(3, int)}),
        ("sparse", {"indices": np.zeros((3, 70), int)}),
        ("sparse", {"indices": h5py.Empty("i8")}),
        ("sparse", {"values": np.float32(1)}),
    ]
    for encoding, change in bad:
        with empty_dump(tmp_path / "given") as file:
            group = file["activations"].create_group("x")
            for name, values in (good | change).items():
                group[name] = values
            describe(group, encoding=encoding, dense_shape=np.array([4]))
        done = tfdump("show", "given", "x")
        assert done.returncode == 2, change
        assert done.stderr.count("\n") == 1
        assert "a bug in tfdump" not in done.stderr


def test_flipped_bits_never_end_in_a_traceback(tfdump: Run, tmp_path: Path) -> None:
    whole = bytearray(write_dump(tmp_path / "d.h5").read_bytes())
    dice = random.Random(3)
    for number in range(60):
        damaged = bytearray(whole)
        for _ in range(8):
            damaged[dice.randrange(min(len(damaged), 40_000))] ^= 1 << dice.randrange(8)
        (tmp_path / "x.h5").write_bytes(damaged)
        command = [("show", "x.h5", "*", "--json"), ("cat", "x.h5", "--all", "-f", "-o", "x.npz")][number % 2]
        done = tfdump(*command, "-q")
        assert done.returncode in (0, 2)
        assert "a bug in tfdump" not in done.stderr, done.stderr
        assert done.stderr.count("\n") == (done.returncode == 2)
        assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("change", ["rewritten", "longer", "shorter"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    path = write_dump(tmp_path / "d.h5")
    conv = "activations/conv"
    with pytest.raises(DumpError) as raised, open_dump(path) as dump:  # noqa: PT012 - the change is in between
        assert dump["conv"][:1].shape == (1, 4, 3, 8)
        with path.open("r+b") as stream:
            if change == "rewritten":
                stream.write(stream.read(1))
            stream.truncate(path.stat().st_size + {"rewritten": 0, "longer": 1, "shorter": -60_000}[change])
        os.utime(path, ns=(time.time_ns(), time.time_ns() + 1_000_000))
        for part in dump[conv].parts():
            list(part.blocks(100))
    assert "d.h5" in str(raised.value)
    assert "was changed while it was being read" in str(raised.value) or "is damaged" in str(raised.value)


def test_a_file_that_is_replaced_is_read_to_its_end(tmp_path: Path) -> None:
    """A rename puts another file there; the one that is open stays what it was."""
    path = write_dump(tmp_path / "d.h5")
    with open_dump(path) as dump:
        (tmp_path / "new").write_bytes(b"")
        (tmp_path / "new").replace(path)
        assert dump["scalar"].read() == 2.5


@pytest.mark.parametrize("delay", [0, 0.2, 0.5, 0.8])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_cat_leaves_the_whole_file_or_none(
    tmp_path: Path, delay: float, number: signal.Signals, status: int
) -> None:
    with empty_dump(tmp_path / "d.h5") as file:
        describe(file["activations"].create_dataset("x", data=np.random.default_rng(0).normal(size=2_000_000)))
    process = start_command("cat", "d.h5", "x", "-o", "x.csv", cwd=tmp_path)
    time.sleep(delay)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    left = {path.name for path in tmp_path.iterdir()}
    if process.returncode == 0:
        assert (left, out) == ({"d.h5", "x.csv"}, b"x.csv\n")
    else:
        assert (process.returncode, left, out) == (status, {"d.h5"}, b"")


def test_control_characters_of_a_file_do_not_reach_the_terminal(tfdump: Run, tmp_path: Path) -> None:
    with empty_dump(tmp_path / "d.h5", model="\x1b[31mred") as file:
        described = file["activations"].create_dataset("x", data=["\x1b]0;title\x07"], dtype=TEXT)
        describe(described, "string", **{"class": "\x1b[2J"})
    for command in (
        ("show", "d.h5"),
        ("show", "d.h5", "x"),
        ("show", "d.h5", "--provenance"),
        ("show", "d.h5", "--json"),
    ):
        assert not set(map(chr, range(32))) - set("\t\n") & set(tfdump(*command).stdout)


def test_nor_do_they_by_way_of_errors_and_verdicts(tfdump: Run, tmp_path: Path) -> None:
    name = "\x1b]0;title\x07\x9b31m"
    for file_name, address in (("d.h5", name), ("e.h5", "x"), ("damaged.h5", name)):
        with empty_dump(tmp_path / file_name) as file:
            described = file["activations"].create_dataset(address, data=np.ones(3, "f4"))
            describe(described, "float32", address=address if file_name != "damaged.h5" else "y")
    for command in (("show", "damaged.h5"), ("diff", "d.h5", "e.h5"), ("cat", "d.h5", name + "y"), ("\x1b[31m",)):
        done = tfdump(*command)
        assert "\\x1b" in done.stderr, done.stderr
        assert not (set(map(chr, (*range(32), *range(127, 160)))) - {"\n"}) & set(done.stderr), done.stderr
