"""Signals at any moment, closed and broken streams, user code that prints or exits: the status and stdout stay true."""

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.command import SAMPLES, Run
from support.forked import forked_python
from support.signalled import default_signals, start_command

pytestmark = pytest.mark.tensorflow

MODEL = SAMPLES / "wine_mlp.keras"
WINE = SAMPLES / "wine.npy"

SIGNAL_AT = """
import os, signal, sys, threading
from tfdump.dump.disk.stream import DumpStream
count, at = 0, int(sys.argv[1])
original = DumpStream.seek
def seek(self, *args):
    global count
    if threading.current_thread() is threading.main_thread():
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGINT)
    return original(self, *args)
DumpStream.seek = seek
sys.argv = ["tfdump", *sys.argv[2:]]
from tfdump.cli.entry import main
main()
"""
"""Sends Ctrl-C while HDF5 is in the middle of its n-th step on the main thread."""


def whole_or_none(folder: Path, done: subprocess.CompletedProcess, reference: dict[str, np.ndarray]) -> None:
    """Assert that the run either failed with one line and left nothing, or succeeded with every value right."""
    left = {path.name for path in folder.iterdir()}
    if done.returncode == 130:
        assert left == set()
        assert done.stdout == b""
        assert done.stderr == b"Error: interrupted; no file was written\n"
    else:
        assert (done.returncode, done.stdout) == (0, b"d.h5\n"), done.stderr.decode()
        assert left == {"d.h5"}
        with h5py.File(folder / "d.h5") as file:
            for address, values in reference.items():
                np.testing.assert_array_equal(file["activations"][address], values)
        (folder / "d.h5").unlink()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run(
        [*forked_python(), "-m", "tfdump", "activations", MODEL, WINE, "-o", "d.h5"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    with h5py.File(folder / "d.h5") as file:
        return {address: item[()] for address, item in file["activations"].items()}


@pytest.mark.parametrize("step", [1, 2, 5, 15, 30])
def test_ctrl_c_in_the_middle_of_a_write(tmp_path: Path, reference: dict[str, np.ndarray], step: int) -> None:
    command = [*forked_python(), "-c", SIGNAL_AT, str(step), "activations", str(MODEL), str(WINE), "-o", "d.h5"]
    with default_signals():
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    whole_or_none(tmp_path, done, reference)


def test_ctrl_c_when_the_file_is_complete_changes_nothing(tmp_path: Path, reference: dict[str, np.ndarray]) -> None:
    (tmp_path / "late.py").write_text(
        "import os, signal\n"
        "from tfdump.model.probe import Probe\n"
        "close = Probe.close\n"
        "Probe.close = lambda probe: (os.kill(os.getpid(), signal.SIGINT), close(probe))\n"
    )
    command = [*forked_python(), "-m", "tfdump", "activations", MODEL, WINE, "-o", "d.h5", "--import", "late.py"]
    with default_signals():
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    (tmp_path / "late.py").unlink()
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    assert done.returncode == 0
    whole_or_none(tmp_path, done, reference)


def test_ctrl_c_at_random_moments(tmp_path: Path, reference: dict[str, np.ndarray]) -> None:
    """From the first import to the last line; before Python has read the first line, Ctrl-C is Python's own."""
    for delay in [0, *random.Random(0).sample([0.2 + 0.3 * n for n in range(14)], 4)]:
        process = start_command("activations", MODEL, WINE, "-o", "d.h5", cwd=tmp_path)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        whole_or_none(tmp_path, subprocess.CompletedProcess([], process.returncode, out, err), reference)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_closed_streams_do_not_change_the_outcome(tmp_path: Path, redirection: str) -> None:
    """Where all of them are closed, what is opened while Python starts and imports has their numbers."""
    python = f"'{sys.executable}'" if redirection.count("&-") == 3 else shlex.join(forked_python())
    command = f"{python} -m tfdump activations '{SAMPLES}/text_gru.keras' '{SAMPLES}/text.npz' -o d.h5"
    done = subprocess.run(["bash", "-c", f"{command} {redirection}"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0
    assert (tmp_path / "d.h5").exists()


@pytest.mark.parametrize("arguments", ["--help", "--version", f"layers '{MODEL}'"])
def test_a_full_stdout_is_trouble_and_a_closed_one_is_not(arguments: str) -> None:
    def status(redirection: str) -> tuple[int, bytes]:
        command = f"{shlex.join(forked_python())} -m tfdump {arguments} {redirection}"
        done = subprocess.run(["bash", "-c", command], capture_output=True)
        return done.returncode, done.stderr

    assert status(">&-") == (0, b"")
    returncode, error = status(">/dev/full")
    assert returncode == 2
    assert error.count(b"\n") == 1
    assert error.startswith(b"Error: cannot write to standard output")


def test_errors_that_nobody_reads_keep_their_status() -> None:
    script = f"'{sys.executable}' -m tfdump show nowhere.h5 2>&1 | true; echo ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout == "2\n"


def test_what_user_code_prints_goes_to_stderr(tfdump_forked: Run, tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text("import os\nprint('imported')\nos.system('echo from a child')\n")
    done = tfdump_forked("activations", MODEL, WINE, "--import", "chatty.py", "-o", "d.h5")
    assert done.stdout == "d.h5\n"
    assert "imported" in done.stderr
    assert "from a child" in done.stderr
    assert "imported" not in tfdump_forked("layers", MODEL, "--import", "chatty.py").stdout


def test_user_code_that_exits_is_an_error(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    done = tfdump("activations", MODEL, WINE, "--import", "leaving.py")
    assert done.returncode == 2
    assert "leaving.py" in done.stderr
    assert "SystemExit" in done.stderr


def test_the_model_and_the_inputs_are_never_overwritten(tfdump: Run, tmp_path: Path) -> None:
    shutil.copy(MODEL, tmp_path / "m.keras")
    shutil.copy(WINE, tmp_path / "x.npy")
    os.link(tmp_path / "x.npy", tmp_path / "hard.h5")
    (tmp_path / "soft.h5").symlink_to("m.keras")
    for output in ("m.keras", "x.npy", "hard.h5", "soft.h5"):
        before = (tmp_path / output).read_bytes()
        done = tfdump("activations", "m.keras", "x.npy", "-f", "-o", output)
        assert done.returncode == 2
        assert f"output {output} is the file that the dump is made from" in done.stderr
        assert (tmp_path / output).read_bytes() == before


def test_inputs_from_fifos_and_process_substitution(tmp_path: Path) -> None:
    command = f"-m tfdump activations '{MODEL}'"
    started, forked = f"'{sys.executable}' {command}", f"{shlex.join(forked_python())} {command}"
    for number, script in enumerate(
        [f"{started} <(cat '{WINE}') -o d0.h5", f"cat '{WINE}' | {forked} /dev/stdin -o d1.h5"]
    ):
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with h5py.File(tmp_path / f"d{number}.h5") as file:
            assert file["activations/hidden"].shape == (59, 16)


def test_devices_are_no_models(tfdump: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for command in (["layers", "/dev/zero"], ["layers", "fifo"], ["show", "fifo"], ["activations", MODEL, "/dev/zero"]):
        done = tfdump(*command)
        assert done.returncode == 2
        assert "is not a regular file" in done.stderr


def test_standard_input_feeds_one_input_only(tfdump: Run) -> None:
    done = tfdump("activations", SAMPLES / "siamese.keras", "-", "-", stdin=b"x")
    assert done.returncode == 2
    assert "standard input can be only one of the inputs" in done.stderr


def test_a_member_is_chosen_whatever_lies_beside_it(tfdump: Run, tmp_path: Path) -> None:
    x = np.load(WINE)
    np.savez(tmp_path / "e.npz", x=x, meta=np.array([{}], object), allow_pickle=True)
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["x"] = x
        file["soft"] = h5py.SoftLink("/x")
        file["none"] = h5py.Empty("f4")
    for argument in ("e.npz::x", "x=e.npz::x", "e.h5::x", "e.h5::/x"):
        name = argument.replace("x=", "analysis=")
        done = tfdump("activations", MODEL, name, "-o", "d.h5", "-f")
        assert done.returncode == 0, done.stderr


def test_a_damaged_dump_is_one_line(tfdump: Run, tfdump_forked: Run, tmp_path: Path) -> None:
    """In a process each, because HDF5 itself crashes on some of them; `make fuzz` tries thousands."""
    assert tfdump("activations", MODEL, WINE, "-o", "d.h5", "--stats").returncode == 0
    whole = bytearray((tmp_path / "d.h5").read_bytes())
    dice = random.Random(1)
    for _ in range(30):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        (tmp_path / "x.h5").write_bytes(damaged)
        done = tfdump_forked("show", "x.h5", "--json")
        assert done.returncode in (0, 2)
        assert "a bug in tfdump" not in done.stderr, done.stderr
        assert done.stderr.count("\n") == (done.returncode == 2)
