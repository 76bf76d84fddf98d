"""Damaged files of every kind, thousands of them, through every command that reads them: `make fuzz`.

    python tests/fuzz.py [KIND ...] [--mutations N] [--seed N] [--only NUMBER] [--keep FOLDER]

Each has to end in a result, or in exit status 2 with one line `Error: ...`: no traceback, no mistake of tfdump's own,
no other words on stderr, no hang, no memory beyond the limits below, and in `cat` and the inputs of `activations` the
values that h5py and NumPy read. Prints a row a kind; files on which a command failed are kept, named after the kind and
the number of the mutation, which are the same for the same seed.

Every mutation is run in a process of its own, forked from one that has imported what the commands need and done nothing
else with it. Where a library crashes there, the whole command is run in its own process, and has to survive that.
"""

import argparse
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import tfdump
from support import mutations
from support.dumps import write_dump
from support.made_dumps import Tensor, make_dump
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.tensors import Ragged, TensorInfo

ROOT = Path(__file__).resolve().parent.parent
SAMPLES, DATA = ROOT / "sample_models", ROOT / "tests" / "data"
X = np.load(SAMPLES / "wine.npy")[:20].astype("f4")

MEGABYTE = 1 << 20
MAX_BYTES = "200M"
LIMITS = {False: (256 * MEGABYTE, 20), True: (900 * MEGABYTE, 100)}
"""Without and with TensorFlow: how much memory a mutation may take above what there was, and how many seconds of
computing. TensorFlow's own start and tracing take about half of both."""

SECONDS = 600
"""After which a mutation hangs that does not compute; the machine may be busy."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: what it is called, how it is made and damaged, and the commands that read it.

    `share` is how many of a thousand mutations it gets; `check` compares what came out with what is in the file.
    """

    name: str
    ways: tuple[mutations.Mutation, ...]
    commands: tuple[str, ...]
    share: int
    tensorflow: bool = False
    check: Callable[[str, bytes, Path], str | None] = lambda *_: None


@dataclass
class Row:
    """What became of the mutations of one kind.

    `crashed` are those on which a library crashed and the command survived; `most` is the highest memory of one.
    """

    kind: str
    count: int = 0
    fine: int = 0
    refused: int = 0
    crashed: int = 0
    most: int = 0
    failed: dict[int, str] = field(default_factory=dict)


# What is damaged


def gradient_dump(path: Path) -> None:
    dice = np.random.default_rng(0)
    weights = {f"gradients/weights/d{n}.kernel": dice.normal(size=(8, 4)).astype("f4") for n in range(3)}
    steps = {"gradients/activations/steps": Tensor(dice.normal(size=(3, 20, 4)), axis0="step", norm=np.ones(3))}
    inputs = {"gradients/inputs/x": dice.normal(size=(20, 5, 5, 1)).astype("f2")}
    storage = {"compression": "gzip", "chunks": True}
    make_dump(path, weights | steps | inputs, loss=[1.0, 0.5, 0.2], storage=storage, kind="gradients")


def verified_dump(path: Path) -> None:
    """A dump by the writer itself: packed, with checksums, an architecture, and statistics."""
    with DumpWriter(path, storage=storage_for("gzip", 1 << 9, True)) as writer:
        ragged = Ragged(X[:4, 0].copy(), (np.array([0, 1, 4]),))
        tensors = {"rows": (X, 20), "text": (np.array([b"a", b"b"], object), 2), "r": (ragged, 2)}
        for order, (name, (values, examples)) in enumerate(tensors.items()):
            info = TensorInfo(name, name, name, ("Layer",), order, "string" if name == "text" else "float32", None)
            collector = writer.collector(info, values, axis0="example", examples=examples, batches=1)
            collector.append(values)
            writer.link("activations", info, collector, {"stat_mean": 1.0})
        config = (SAMPLES / "wine_mlp.keras").read_bytes()
        writer.describe(
            {"format": "tfdump", "format_version": np.int64(1), "kind": "activations"},
            mutations.members(config)["config.json"].decode(),
            (),
        )


def arrays_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("dense", data=X, chunks=(8, 13), compression="gzip")
        file["more/x"] = X.astype("f8")


def other_models(folder: Path) -> None:
    """Save models in the other formats, in a process of its own: this one is forked from."""
    code = (
        "from pathlib import Path; from support.saved_formats import lite, sample; import numpy as np;"
        "from support.onnx_files import dense; dense(Path('model.onnx'), features=13);"
        "model = sample('wine_mlp');"
        "model.save('model.h5'); lite(model, Path('model.tflite'), 'int8_inside', np.load('good.npy'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# What has to come out


def same_as_h5py(command: str, out: bytes, path: Path) -> str | None:
    """Compare the `.npy` that `cat` gave with what h5py reads alone."""
    if not command.startswith("cat {} activations/"):
        return None
    with h5py.File(path) as file:
        return _same(np.load(io.BytesIO(out)), file["activations/dense"][()])


def same_as_numpy(_: str, __: bytes, path: Path) -> str | None:
    """Compare the inputs that a dump keeps with what NumPy or h5py reads alone."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            values = file["dense"][()]
    else:
        values = np.load(path) if path.suffix == ".npy" else np.load(path)["dense"]
    with h5py.File(path.with_name("out.h5")) as file:
        return _same(next(iter(file["inputs"].values()))[()], values.reshape(-1, 13))


def _same(got: np.ndarray, expected: np.ndarray) -> str | None:
    with np.errstate(all="ignore"):
        equal = np.array_equal(got, expected.astype(got.dtype), equal_nan=got.dtype.kind in "fc")
    return None if got.shape == expected.shape and equal else "other values than the file holds"


# The kinds

DUMP = ("show {}", "show {} '*'", "show {} --stats --json", "cat {} activations/dense", "cat {} --all -o all.npz -f",
        "check {}", "ranges {} --memory 1k",
        "ranges good.dump.h5 {} --json", "diff good.dump.h5 {}", "diff {} good.dump.h5 --json",
        "plot {} dense --text")  # fmt: skip
GRADIENTS = ("show {} --json", "show {} 'gradients/*'", "check {} --fail-on all", "ranges {} --per-channel --json",
             "plot {} gradients/inputs/x --text", "diff {} good.gradients.h5")  # fmt: skip
VERIFIED = ("show {} '*'", "check {} --verify", "show {} --provenance")
RUN = "activations model.keras {} -o out.h5 -f -q --save-inputs --max-bytes " + MAX_BYTES
MODEL = tuple(
    f"{command} -q --max-bytes {MAX_BYTES}"
    for command in (
        "layers {} --json",
        "activations {} good.npy -o out.h5 -f",
        "gradients {} good.npy labels.npy -o out.h5 -f --loss sparse_categorical_crossentropy",
    )
)


def either_way(name: str) -> tuple[str, str]:
    """A plain array is the golden side of a comparison, and the new one."""
    return f"diff good.{name} {{}}", f"diff {{}} good.{name}"


KINDS = (
    Kind("dump.h5", mutations.HDF5, DUMP, 235, check=same_as_h5py),
    Kind("gradients.h5", mutations.HDF5, GRADIENTS, 130),
    Kind("verified.h5", mutations.HDF5, VERIFIED, 60),
    Kind("array.npy", mutations.NPY, either_way("array.npy"), 120),
    Kind("arrays.npz", mutations.NPZ, either_way("arrays.npz"), 120),
    Kind("arrays.h5", mutations.HDF5, either_way("arrays.h5"), 100),
    Kind("input.npy", mutations.NPY, (RUN,), 15, True, check=same_as_numpy),
    Kind("input.npz", mutations.NPZ, (RUN.replace("{}", "{}::dense"),), 15, True, check=same_as_numpy),
    Kind("input.h5", mutations.HDF5, (RUN.replace("{}", "{}::dense"),), 20, True, check=same_as_numpy),
    Kind("model.keras", mutations.KERAS, MODEL, 55, True),
    Kind("model.h5", mutations.LEGACY, MODEL, 40, True),
    Kind("model.tflite", mutations.LITE, MODEL[:2], 45, True),
    Kind("model.onnx", mutations.BYTES, MODEL[:2], 45, True),
)


def make_specimens(folder: Path, models: bool) -> None:
    """Make one good file of each kind, and what the commands need beside it."""
    np.save(folder / "good.npy", X)
    np.save(folder / "labels.npy", np.load(SAMPLES / "wine_labels.npy")[: len(X)])
    shutil.copy(SAMPLES / "wine_mlp.keras", folder / "model.keras")
    write_dump(folder / "good.dump.h5")
    with h5py.File(folder / "good.dump.h5", "r+") as file:
        file["activations/statistics"].attrs.update({f"stat_{name}": value for name, value in STATISTICS.items()})
    gradient_dump(folder / "good.gradients.h5")
    verified_dump(folder / "good.verified.h5")
    np.save(folder / "good.array.npy", X)
    np.savez(folder / "good.arrays.npz", dense=X, y=X[:, 0])
    arrays_hdf5(folder / "good.arrays.h5")
    if not models:
        return
    np.save(folder / "good.input.npy", X)
    np.savez_compressed(folder / "good.input.npz", dense=X)
    arrays_hdf5(folder / "good.input.h5")
    other_models(folder)
    for name in ("model.keras", "model.h5", "model.tflite", "model.onnx"):
        shutil.copy(folder / name, folder / f"good.{name}")


STATISTICS = {"count": 12, "min": 0.0, "max": 2.0, "mean": 0.5, "std": 0.5, "l2": 2.5, "nan": 1, "inf": 0, "zero": 3}
WITH_TENSORFLOW = ("model", "run", "api")
"""Parts of tfdump that import it."""


# One mutation


def run_commands(kind: Kind, number: int, path: Path, log: int) -> None:
    """Run the commands of a kind on a file, in this process, and write a line of JSON about each to `log`."""
    from tfdump.cli import main

    memory, seconds = LIMITS[kind.tensorflow]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = _address_space() + 8 * memory
    resource.setrlimit(resource.RLIMIT_AS, (whole, whole))
    for command in commands_of(kind, number):
        os.write(log, json.dumps({"begun": command}).encode() + b"\n")
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            for stream, file in ((1, out), (2, err)):
                os.dup2(file.fileno(), stream)
            try:
                status: Any = main.run(words_of(command, path))
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                traceback.print_exc()
                status = "raised"
            outputs = [(file.seek(0), file.read())[1] for file in (out, err)]
        problem = judged(status, outputs[1].decode(errors="replace"))
        if problem is None and status in (0, 1):
            try:
                problem = kind.check(command, outputs[0], path)
            except Exception as error:
                problem = f"read, and its own library refuses it: {error!r}"[:300]
        most = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if problem is None and most > memory:
            problem = f"takes {most >> 20} MiB"
        entry = {"command": command, "status": status, "problem": problem, "most": most}
        os.write(log, json.dumps(entry).encode() + b"\n")


def commands_of(kind: Kind, number: int) -> tuple[str, ...]:
    """Return the commands for a mutation: all of them, or with TensorFlow, which takes long, one by turns."""
    return (kind.commands[number % len(kind.commands)],) if kind.tensorflow else kind.commands


def words_of(command: str, path: Path) -> list[str]:
    return [word.strip("'").replace("{}", path.name) for word in command.split()]


def judged(status: Any, err: str) -> str | None:
    """Return what is wrong with how a command ended, or None."""
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    if "Traceback" in err or MISTAKE in err or status not in (0, 1, 2):
        return f"status {status}: {err.strip()[-1500:]}"
    if len(errors) != (status == 2):
        return f"status {status} with {len(errors)} errors: {err[-500:]}"
    odd = [line for line in lines if not WORDS.match(line)]
    return f"other words on stderr: {odd}"[:1500] if odd else None


MISTAKE = "a bug in tfdump"
"""What every error ends with that nobody foresaw."""

WORDS = re.compile(r"Error: |Note: |Warning: |\S+ and \S+ (agree in|differ: )|(NaN|Inf) first appears in ")
"""What commands say on stderr: `diff` and `check` give their verdict there."""


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def survived(command: str, path: Path) -> str | None:
    """Run a whole command on a file on which a library crashed; return what is wrong with how it ended, or None."""
    code = (
        f"import tfdump.process.supervisor as s; s.HANGS_AFTER = {LIMITS[False][1]}; "
        "from tfdump.cli.entry import main; main()"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *words_of(command, path)],
            cwd=path.parent,
            capture_output=True,
            timeout=SECONDS,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    err = done.stderr.decode(errors="replace")
    last = err.splitlines()[-1:]  # the C library may have said something before
    fine = done.returncode in (0, 1, 2) and not judged(done.returncode, "\n".join(last))
    return None if fine else f"ends with {done.returncode}: {err[-500:]}"


# Many of them


@dataclass
class Child:
    """A mutation that is being run."""

    number: int
    path: Path
    log: int
    began: float


def run_kind(kind: Kind, numbers: list[int], seed: int, folder: Path, keep: Path, workers: int) -> Row:
    """Run mutations of one kind, some at a time."""
    row = Row(kind.name)
    data = (folder / f"good.{kind.name}").read_bytes()
    waiting, running = list(reversed(numbers)), dict[int, Child]()
    while waiting or running:
        while waiting and len(running) < workers:
            number = waiting.pop()
            pid, child = start(kind, number, data, seed, folder)
            running[pid] = child
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            child = running.pop(pid)
            problem = finish(row, child, os.waitstatus_to_exitcode(status))
            if problem is not None:
                row.failed[child.number] = problem
                copy = keep / f"{kind.name.partition('.')[0]}-{child.number}{child.path.suffix}"
                shutil.copy(child.path, copy)
                print(f"FAILED {kind.name} {child.number} ({copy}): {problem}", flush=True)
            shutil.rmtree(child.path.parent)
            continue
        for stuck, child in running.items():
            if time.monotonic() - child.began > SECONDS:
                os.kill(stuck, signal.SIGKILL)
        time.sleep(0.002)
    return row


def check_good(kind: Kind, folder: Path, keep: Path) -> None:
    """Raise AssertionError unless every command takes the file that is not damaged, which would make fuzzing vain."""
    same = replace(kind, ways=(lambda data, _: data,))
    row = run_kind(same, [4 * 1_000_001 + turn for turn in range(len(kind.commands))], 0, folder, keep, 1)
    assert row.fine == row.count, row


def start(kind: Kind, number: int, data: bytes, seed: int, folder: Path) -> tuple[int, Child]:
    """Damage a file in a folder of its own, and fork a process that runs the commands on it."""
    place = Path(tempfile.mkdtemp(dir=folder))
    for item in folder.iterdir():
        if item.is_file():
            (place / item.name).symlink_to(item)
    path = place / f"x{Path(kind.name).suffix}"
    path.write_bytes(mutations.mutated(data, number, random.Random(f"{seed} {kind.name} {number}"), kind.ways))
    log = os.open(place / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(place)
            run_commands(kind, number, path, log)
        except BaseException as error:
            os.write(log, json.dumps({"problem": f"the fuzzer: {error!r}"}).encode())
        os._exit(0)
    return pid, Child(number, path, log, time.monotonic())


def finish(row: Row, child: Child, status: int) -> str | None:
    """Take the results of a mutation into its row; return what is wrong, or None."""
    entries = [json.loads(line) for line in os.pread(child.log, 1 << 20, 0).splitlines()]
    os.close(child.log)
    row.count += 1
    done = [entry for entry in entries if "begun" not in entry]
    row.most = max([row.most, *(entry.get("most", 0) for entry in done)])
    for entry in done:
        if entry["problem"] is not None:
            return f"{entry.get('command')}: {entry['problem']}"
    if status != 0:
        command = entries[-1]["begun"]
        name = signal.Signals(-status).name if status < 0 else str(status)
        problem = survived(command, child.path)
        row.crashed += problem is None
        return None if problem is None else f"{command}: {name}, and the whole command {problem}"
    refused = any(entry["status"] == 2 for entry in done)
    row.refused += refused
    row.fine += not refused
    return None


def import_commands(tensorflow: bool) -> None:
    """Import what the commands import, so that the processes of the mutations need not."""
    if tensorflow:
        from tfdump.model.backend import import_quietly

        import_quietly()
    for module in Path(tfdump.__file__).parent.rglob("*.py"):
        parts = module.relative_to(Path(tfdump.__file__).parent.parent).with_suffix("").parts
        if parts[-1] not in ("__main__", "__init__") and (tensorflow or parts[1] not in WITH_TENSORFLOW):
            import_module(".".join(parts))


def main() -> int:
    """Run the kinds that were asked for; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"some of {', '.join(kind.name for kind in KINDS)}")
    parser.add_argument("--mutations", type=int, default=12_000, help="of all kinds together [12000]")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="go on with this mutation of each kind")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this mutation of each kind")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where failing files go")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    kinds = [kind for kind in KINDS if not arguments.kinds or kind.name in arguments.kinds]
    import_commands(tensorflow=False)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    print(f"seed {arguments.seed}")
    print(
        f"{'kind':14} {'mutations':>9} {'fine':>6} {'refused':>7} {'crashes survived':>16} {'MiB':>5} {'failed':>6}",
        flush=True,
    )
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_specimens(folder, any(kind.tensorflow for kind in kinds))
        for kind in kinds:  # those with TensorFlow come last: beside it, less is watched
            if kind.tensorflow and "tensorflow" not in sys.modules:
                import_commands(tensorflow=True)
            count = arguments.mutations * kind.share // 1000
            check_good(kind, folder, arguments.keep)
            numbers = [arguments.only] if arguments.only is not None else list(range(arguments.first, count))
            row = run_kind(kind, numbers, arguments.seed, folder, arguments.keep, arguments.workers)
            rows.append(row)
            figures = f"{row.fine:6} {row.refused:7} {row.crashed:16} {row.most >> 20:5} {len(row.failed):6}"
            print(f"{row.kind:14} {row.count:9} {figures}", flush=True)
    failed = sum(len(row.failed) for row in rows)
    print(f"{sum(row.count for row in rows)} mutations, {failed} failed")
    with suppress(OSError):
        arguments.keep.rmdir()  # where it is empty
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
