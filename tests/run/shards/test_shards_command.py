"""`tfdump activations --shards`: what it prints, what it goes on with, and what it refuses with one line."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

from support.command import ROOT, Run
from support.other_systems import run_without
from support.row_models import LateNoise
from support.signalled import default_signals
from tfdump.address import Selection
from tfdump.dump.shards.folder import LOCK, shard_writer, sweep
from tfdump.dump.shards.manifest import MANIFEST, read_manifest
from tfdump.dump.shards.shard_file import shard_name
from tfdump.dump.writer import DumpWriter
from tfdump.errors import DumpError
from tfdump.inputs.data_options import DataOptions
from tfdump.model.loading.options import LoadingOptions
from tfdump.run.activations.options import activation_options
from tfdump.run.options import RunOptions
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.ranges import Division
from tfdump.run.shards.worker import ShardWorker, plan_shards

pytestmark = pytest.mark.tensorflow

IMPORT = ("--import", ROOT / "tests/support/row_models.py")
SHARDS = [shard_name(0, 8), shard_name(8, 16), shard_name(16, 23)]


@pytest.fixture
def command(place: Path) -> list[str]:
    return ["activations", str(place / "cnn.keras"), str(place / "x.npy"), "--batch-size", "4"]


@pytest.fixture(scope="module")
def made(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three shards of eight examples, which tests copy."""
    from tfdump.cli import main

    folder = tmp_path_factory.mktemp("made") / "D"
    words = ["activations", str(place / "cnn.keras"), str(place / "x.npy"), "--batch-size", "4"]
    assert main.run([*words, "--shards", str(folder), "--shard-examples", "7"]) == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "D"))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK)


def refused(done: Any, *parts: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: "), done.stderr
    for part in parts:
        assert part in last


def test_a_shard_after_the_other_makes_the_folder(command: list[str], tfdump: Run, tmp_path: Path, made: Path) -> None:
    for number, name in enumerate(SHARDS, 1):
        done = tfdump(*command, "--shards", "D", "--shard", f"{number}/3")
        assert (done.returncode, done.stdout) == (0, f"D/{name}\n")
        missing = "none missing (next: tfdump merge D -o FILE)" if number == 3 else f"{3 - number} missing"
        assert f"3 shards, 1 written now, {missing}" in done.stderr
    again = tfdump(*command, "--shards", "D", "--shard", "2/3")
    assert (again.returncode, again.stdout) == (0, f"D/{SHARDS[1]}\n")
    assert "3 shards, 0 written now, none missing" in again.stderr
    assert names_in(tmp_path / "D") == [MANIFEST, *SHARDS]
    for name in [MANIFEST, *SHARDS]:
        assert (tmp_path / "D" / name).read_bytes() == (made / name).read_bytes()


def test_quiet_prints_the_path_alone(command: list[str], tfdump: Run, folder: Path) -> None:
    done = tfdump(*command, "--shards", "D", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "D\n", "")


def test_a_dry_run_prints_the_plan_and_the_shards_and_writes_nothing(
    command: list[str], tfdump: Run, folder: Path, tmp_path: Path
) -> None:
    (folder / SHARDS[1]).unlink()
    for where, states in (("D", ["there", "", "there"]), ("E", ["", "", ""])):
        done = tfdump(*command, "--shards", where, "--shard-examples", "8", "--dry-run")
        assert done.returncode == 0
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        tensors, shards = rows[: rows.index(["shard", "first example", "behind the last", "state"])], rows[-3:]
        assert {"activations/conv", "activations/norm", "total"} <= {row[0] for row in tensors}
        assert shards == [
            [name, start, stop, state]
            for name, (start, stop), state in zip(SHARDS, [("0", "8"), ("8", "16"), ("16", "23")], states, strict=True)
        ]
    assert not (tmp_path / "E").exists()
    assert names_in(folder) == [MANIFEST, SHARDS[0], SHARDS[2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "1/3"], "--shard needs the folder of the shards (add --shards DIR)"),
        (["--shard-examples", "4"], "--shard-examples needs the folder of the shards"),
        (["--shards", "D", "--shard", "3"], "--shard '3' is not K/N"),
        (["--shards", "D", "--shard", "0/3"], "K is from 1 to N"),
        (["--shards", "D", "--shard", "4/3"], "K is from 1 to N"),
        (["--shards", "D", "--shard", "1/3", "--shard-examples", "4"], "--shard and --shard-examples exclude each"),
        (["--shards", "D", "--shard-examples", "0"], "0 is not in the range x>=1"),
        (["--shards", "D", "-o", "x.h5"], "--shards and -o exclude each other"),
        (["--shards", "D", "-f"], "--shards and --force exclude each other"),
        (["--shards", "D", "--resume"], "--shards and --resume exclude each other"),
        (["--shards", "D", "--until-nan"], "--shards and --until-nan exclude each other"),
        (["--shards", "D", "--training"], "--shards excludes --training"),
        (["--shards", "no/such/D"], "the folder no/such does not exist (make it first)"),
        (["--threads", "0"], "0 is not in the range 1<=x<=1024"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    command: list[str], tfdump: Run, tmp_path: Path, options: list[str], message: str
) -> None:
    refused(tfdump(*command, *options), message)
    assert not list(tmp_path.iterdir())


def test_more_parts_than_batches_are_refused(command: list[str], tfdump: Run, tmp_path: Path) -> None:
    refused(tfdump(*command, "--shards", "D", "--shard", "1/7"), "there are 6 batches of 4 examples", "divide by 6")
    assert not (tmp_path / "D").exists()


def test_another_division_than_that_of_the_folder_is_refused(command: list[str], tfdump: Run, folder: Path) -> None:
    for options in (["--shard", "1/4"], ["--shard-examples", "12"]):
        done = tfdump(*command, "--shards", "D", *options)
        refused(done, f"D has 3 shards, which are not those of {options[0]}", "ask for --shard K/3")
    assert tfdump(*command, "--shards", "D", "--shard-examples", "5").returncode == 0  # the same, rounded up


def test_a_shard_is_the_kth_of_the_folder_however_that_is_divided(
    command: list[str], tfdump: Run, tmp_path: Path
) -> None:
    """Two shards of four and two batches; two parts would have three each."""
    assert tfdump(*command, "--shards", "D", "--shard-examples", "16").returncode == 0
    (tmp_path / "D" / shard_name(16, 23)).unlink()
    done = tfdump(*command, "--shards", "D", "--shard", "2/2")
    assert (done.returncode, done.stdout) == (0, f"D/{shard_name(16, 23)}\n")


def test_a_folder_that_is_something_else_is_refused(command: list[str], tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused(tfdump(*command, "--shards", "file"), "--shards file is not a folder")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    refused(tfdump(*command, "--shards", "dangling"), "--shards dangling is not a folder")
    (tmp_path / "orphans").mkdir()
    (tmp_path / "orphans" / SHARDS[0]).write_bytes(b"")
    refused(tfdump(*command, "--shards", "orphans"), f"orphans has {SHARDS[0]}, and no {MANIFEST}")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / MANIFEST).write_text("{}")
    refused(tfdump(*command, "--shards", "broken"), f"broken/{MANIFEST} is no manifest of shards")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(command: list[str], tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "D").mkdir(mode=0o500)
    refused(tfdump(*command, "--shards", "D"), "cannot write in D (choose another folder with --shards)")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no folders on Linux alone")
def test_a_folder_that_cannot_be_made_is_refused(command: list[str], tfdump: Run) -> None:
    refused(tfdump(*command, "--shards", "/proc/shards"), "/proc")


def test_what_else_is_in_the_folder_is_left_alone(command: list[str], tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    (tmp_path / "D/notes.txt").write_text("mine")
    (tmp_path / "D/other.h5.x.partial").write_text("mine too")
    assert tfdump(*command, "--shards", "D", "--shard", "1/1").returncode == 0
    assert (tmp_path / "D/notes.txt").read_text() == "mine"
    assert (tmp_path / "D/other.h5.x.partial").read_text() == "mine too"


def changed_input(place: Path, tmp_path: Path) -> list[str]:
    x = np.load(place / "x.npy")
    x[11] += 1  # one of the rows over the run that are looked at
    np.save(tmp_path / "x.npy", x)
    return [str(place / "cnn.keras"), str(tmp_path / "x.npy"), "--batch-size", "4"]


def changed_model(place: Path, tmp_path: Path) -> list[str]:
    model = keras.models.load_model(place / "cnn.keras")
    model.set_weights([weight + 1 for weight in model.get_weights()])
    model.save(tmp_path / "cnn.keras")
    return [str(tmp_path / "cnn.keras"), str(place / "x.npy"), "--batch-size", "4"]


def more(*options: str) -> Any:
    return lambda place, tmp_path: [str(place / "cnn.keras"), str(place / "x.npy"), *options]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (changed_model, "the file of the model has other contents now"),
        (changed_input, "x.npy has other contents now"),
        (more("--batch-size", "2"), "batch_size was 4, and is 2 now"),
        (more("--batch-size", "4", "--dtype", "float16"), "dtype was not set, and is 'float16' now"),
        (more("--batch-size", "4", "-l", "conv"), "layer was [], and is ['conv'] now"),
        (more("--batch-size", "4", "--examples", ":20"), "examples was [None, None], and is [None, 20] now"),
        (more("--batch-size", "4", "--checksums"), "checksums was False, and is True now"),
        (more("--batch-size", "4", "--seed", "1"), "seed was 0, and is 1 now"),
        (more("--batch-size", "4", "--stats", "quantiles"), "statistics was False, and is True now"),
        (more("--batch-size", "4", "--no-such"), "No such option"),
        (more("--batch-size", "4", "--memory", "268435456"), "command was 'tfdump activations"),
    ],
)
def test_the_folder_of_another_run_is_refused(
    place: Path, tfdump: Run, folder: Path, tmp_path: Path, other: Any, message: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused(tfdump("activations", *other(place, tmp_path), "--shards", "D"), message)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_shards_of_another_version_are_refused(command: list[str], tfdump: Run, folder: Path) -> None:
    from dataclasses import replace

    from tfdump.dump.shards.manifest import write_manifest

    manifest = read_manifest(folder)
    (folder / MANIFEST).unlink()
    write_manifest(folder, replace(manifest, versions={**manifest.versions, "numpy_version": "1.0"}))
    refused(tfdump(*command, "--shards", "D"), "numpy_version was '1.0', and is")


def test_another_processor_is_no_other_run(command: list[str], tfdump: Run, folder: Path) -> None:
    from dataclasses import replace

    from tfdump.dump.shards.manifest import write_manifest

    manifest = read_manifest(folder)
    for path in folder.iterdir():
        path.unlink()
    write_manifest(folder, replace(manifest, cpu={"name": "another", "flags": ""}))
    assert tfdump(*command, "--shards", "D", "--shard", "1/3").returncode == 0
    assert read_manifest(folder).cpu["name"] == "another"


def test_a_file_that_is_not_the_shard_is_named_and_left(command: list[str], tfdump: Run, folder: Path) -> None:
    whole = (folder / SHARDS[1]).read_bytes()
    (folder / SHARDS[1]).write_bytes(whole[:-50])
    refused(tfdump(*command, "--shards", "D"), SHARDS[1], "truncated")
    shutil.copy(folder / SHARDS[0], folder / SHARDS[1])
    refused(tfdump(*command, "--shards", "D"), SHARDS[1], "its first_example is 0, and the manifest asks for 8")
    (folder / SHARDS[1]).write_bytes(whole)
    with h5py.File(folder / SHARDS[1], "r+") as file:
        file.attrs["shard_of"] = "f" * 64
    refused(tfdump(*command, "--shards", "D"), SHARDS[1], "its shard_of is 'ffff")


def test_a_model_that_draws_random_numbers_is_refused(tfdump: Run, tmp_path: Path) -> None:
    x = keras.Input((2,), name="x")
    noise = layers.Lambda(lambda v: v + keras.random.normal(ops.shape(v)), name="noise")
    keras.Model(x, noise(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.ones((8, 2), "float32"))
    words = ["activations", "m.keras", "x.npy", "--trust-model", "--shards", "D"]
    refused(tfdump(*words), "the model draws random numbers", "leave --shards out")
    assert not (tmp_path / "D").exists()


DATA = """
import numpy as np
def in_order():
    for number in range(4):
        yield np.full((2, 3), number, "float32")
def rows(start, stop):
    return np.arange(3 * start, 3 * min(stop, 8), dtype="float32").reshape(-1, 3)
"""


def test_data_that_is_only_read_in_order_is_refused_and_ranges_are_not(
    place: Path, tfdump: Run, tmp_path: Path
) -> None:
    (tmp_path / "my_rows.py").write_text(DATA)
    words = ["activations", place / "mixing.keras", "--trust-model", "--batch-size", "2", "--shards", "D"]
    refused(tfdump(*words, "--data", "my_rows.py:in_order"), "my_rows.py:in_order gives its batches in order")
    assert not (tmp_path / "D").exists()
    done = tfdump(*words, "--data", "my_rows.py:rows", "--examples", ":8", "--shard-examples", "4")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "D" / shard_name(4, 8)) as file:
        total = np.arange(12, 24).reshape(2, 2, 3).sum(1)
        np.testing.assert_array_equal(file["activations/total"][()], total)
    (tmp_path / "my_rows.py").write_text(DATA + "# changed\n")
    for name in [name for name in sys.modules if name == "my_rows"]:
        del sys.modules[name]
    done = tfdump(*words, "--data", "my_rows.py:rows", "--examples", ":8")
    refused(done, "my_rows.py has other contents now")


def test_standard_input_and_pipes_are_refused(place: Path, tfdump: Run, tmp_path: Path) -> None:
    refused(tfdump("activations", place / "cnn.keras", "-", "--shards", "D"), "- is standard input (give a file)")
    os.mkfifo(tmp_path / "pipe")
    refused(tfdump("activations", place / "cnn.keras", "pipe", "--shards", "D"), "pipe is a pipe (give a file)")


def test_two_runs_that_begin_together_agree_on_one_manifest(command: list[str], made: Path, tmp_path: Path) -> None:
    """Both find an empty folder, and both plan; which of them writes a shard is left to them."""
    words = [sys.executable, "-m", "tfdump", *command, "--shards", "D", "--shard-examples", "8", "--threads", "1"]
    both = [subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    written = sum(int(end.split(" shards, ")[1].split()[0]) for end in ends)
    assert written == 3
    assert names_in(tmp_path / "D") == [MANIFEST, *SHARDS]
    assert read_manifest(tmp_path / "D").threads == 1
    for name in SHARDS:
        with h5py.File(tmp_path / "D" / name) as one, h5py.File(made / name) as other:
            assert one.attrs["threads"] == 1
            for tensor in other["activations"]:
                np.testing.assert_array_equal(one["activations"][tensor][()], other["activations"][tensor][()])


def test_the_threads_of_the_manifest_hold(command: list[str], tfdump: Run, folder: Path) -> None:
    refused(
        tfdump(*command, "--shards", "D", "--threads", str(os.cpu_count() or 1)),
        "threads was not set, and is 2 now",
    )


END_AT = """
import os, sys
from tfdump.run.pipeline import BatchWriter
write, count, (most, number) = BatchWriter._write, [0], map(int, sys.argv[1:3])
def counted(writer, *batch):
    write(writer, *batch)
    count[0] += 1
    if count[0] == most:
        os.kill(os.getpid(), number)
BatchWriter._write = counted
sys.argv = ["tfdump", *sys.argv[3:]]
from tfdump.cli.entry import main
main()
"""
"""Sends itself a signal when so many batches are written."""


def end_at(batch: int, number: int, words: list[str], tmp_path: Path) -> Any:
    program = [sys.executable, "-c", END_AT, str(batch), str(int(number)), *words]
    with default_signals():
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_a_killed_run_leaves_whole_shards_and_the_same_command_makes_the_others(
    command: list[str], tfdump: Run, made: Path, tmp_path: Path, batch: int
) -> None:
    """There are two batches in a shard: it is killed in the first one, at the end of the second and of the third."""
    words = [*command, "--shards", "D", "--shard-examples", "8"]
    assert end_at(batch, signal.SIGKILL, words, tmp_path).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    whole = SHARDS[: (batch - 1) // 2]
    assert [name for name in names_in(tmp_path / "D") if not name.endswith(".partial")] == [MANIFEST, *whole]
    (left,) = [name for name in names_in(tmp_path / "D") if name.endswith(".partial")]
    again = tfdump(*words)
    assert again.returncode == 0
    assert f"removed a file that a killed run had left in D ({left})" in again.stderr
    assert f"3 shards, {3 - len(whole)} written now, none missing" in again.stderr
    for name in [MANIFEST, *SHARDS]:
        assert (tmp_path / "D" / name).read_bytes() == (made / name).read_bytes(), name
    assert names_in(tmp_path / "D") == [MANIFEST, *SHARDS]


@pytest.mark.parametrize(("number", "status", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "ended by")])
def test_an_interrupted_run_keeps_the_shards_that_are_complete(
    command: list[str], tmp_path: Path, number: str, status: int, word: str
) -> None:
    words = [*command, "--shards", "D", "--shard-examples", "8"]
    done = end_at(3, getattr(signal, number), words, tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {word}")
    assert last.endswith("; 1 of 3 shards are in D (the same command makes the others)")
    assert names_in(tmp_path / "D") == [MANIFEST, SHARDS[0]]


def test_only_the_files_of_dead_writers_are_swept(tmp_path: Path) -> None:
    with shard_writer(tmp_path, lambda: DumpWriter(tmp_path / SHARDS[0])) as writer:
        assert writer.partial is not None
        dead = [f"{SHARDS[1]}.abc.partial", f"{MANIFEST}.x_1.partial"]
        for name in [*dead, "mine.partial", f"{SHARDS[2]}.other"]:
            (tmp_path / name).touch()
        (tmp_path / f"{SHARDS[2]}.link.partial").symlink_to(tmp_path / "mine.partial")
        assert sorted(sweep(tmp_path)) == sorted(dead)
        assert writer.partial.exists()
        writer.describe({}, None, ())
    assert sweep(tmp_path) == []
    rest = {SHARDS[0], LOCK, "mine.partial", f"{SHARDS[2]}.other", f"{SHARDS[2]}.link.partial"}
    assert {path.name for path in tmp_path.iterdir()} == rest


def test_a_shard_that_another_process_makes_meanwhile_is_skipped(place: Path, made: Path, tmp_path: Path) -> None:
    """A worker opened the folder when the shard was missing; it appears while the worker computes it."""
    job = ShardJob(
        kind="activations",
        model=LoadingOptions(place / "cnn.keras"),
        inputs=(str(place / "x.npy"),),
        data=DataOptions(),
        options=activation_options(Selection(), RunOptions(4)),
        command="tfdump activations cnn.keras x.npy --batch-size 4",
        folder=tmp_path / "D",
    )
    notes: list[str] = []
    with ShardWorker(pickle.loads(pickle.dumps(job)), notes.append) as worker:
        manifest = worker.plan(Division(shard_examples=8))
        assert plan_shards(job, Division(), notes.append).id == manifest.id == read_manifest(made).id

        def progress(done: int, total: int) -> None:
            if not (tmp_path / "D" / SHARDS[1]).exists():
                shutil.copy(made / SHARDS[1], tmp_path / "D")

        assert worker.write(0, 8).status == "written"
        with pytest.raises(DumpError, match="is not divided at examples 8 and 12"):
            worker.write(8, 12)
        verdict = worker.write(8, 16, progress=progress)
        assert (verdict.name, verdict.status) == (SHARDS[1], "skipped")
    assert names_in(tmp_path / "D") == [MANIFEST, *SHARDS[:2]]
    assert notes == []


def test_a_model_that_draws_only_in_later_batches_is_refused_there(tfdump: Run, tmp_path: Path) -> None:
    """A model without a graph shows what it draws when it runs, here in the third batch."""
    x = np.ones((8, 2), "float32")
    np.save(tmp_path / "x.npy", x + 9 * (np.arange(8) == 5)[:, None])
    model = LateNoise(name="noise")
    model(x)
    model.save(tmp_path / "m.keras")
    words = ["activations", "m.keras", "x.npy", "--batch-size", "2", *IMPORT, "--shards", "D"]
    assert tfdump(*words, "--shard", "1/4").returncode == 0
    done = tfdump(*words)
    refused(done, "the model draws random numbers")
    assert names_in(tmp_path / "D") == [MANIFEST, shard_name(0, 2), shard_name(2, 4)]


def test_a_system_without_locks_makes_the_same_shards(command: list[str], made: Path, tmp_path: Path) -> None:
    done = run_without(tmp_path, *command, "--shards", "D", "--shard-examples", "8")
    assert (done.returncode, done.stdout) == (0, "D\n"), done.stderr
    for name in [MANIFEST, *SHARDS]:
        assert (tmp_path / "D" / name).read_bytes() == (made / name).read_bytes(), name
