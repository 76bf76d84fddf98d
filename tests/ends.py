"""Sudden ends of real runs at random moments, hundreds of times: `make ends`, or `python tests/ends.py --help`.

After each, the output is the whole new file or what it was before, nothing else is left (but after SIGKILL, and the
journal of `--resume`), and the status and the one line on stderr say what happened.

Every run is a process of its own. `--runs command` is the command line with TensorFlow and a model; importing it takes
longer than the run, so the processes are forked from one that has imported it and done nothing else with it.
`--runs writer` is the same way to the disk (cli.dumping.dump, the worker, the sinks, the writer, the journal) fed with
arrays instead of a model, and needs no TensorFlow.
"""

import argparse
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from support.signalled import take_default_signals
from support.small_disks import small_disk
from tfdump.cli.dumping import DumpOutput, write_planned
from tfdump.cli.verbosity import Verbosity
from tfdump.dump.axis0 import BATCH, EXAMPLE
from tfdump.errors import TfdumpError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.process import signals
from tfdump.process.supervisor import PASSED
from tfdump.run.batching import Batches
from tfdump.run.options import StoreOptions
from tfdump.run.output import open_writer
from tfdump.run.pipeline import BatchOutput, run_at_once, run_in_order
from tfdump.run.resume import JournaledBatches
from tfdump.run.sinks import TensorSink
from tfdump.tensors import InputSpec, TensorInfo

SAMPLES = Path(__file__).resolve().parent.parent / "sample_models"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU, signal.SIGKILL]


@dataclass
class Ended:
    """How a process ended: its status (negative for a signal) and what it wrote."""

    status: int
    out: str
    err: str


@dataclass
class Place:
    """A folder with the inputs of a run, what the output holds when it is whole, and how long a run takes."""

    folder: Path
    run: Callable[[list[str]], None]
    whole: str = ""
    seconds: float = 0.0
    size: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    @property
    def target(self) -> Path:
        return self.folder / "d.h5"

    def start(self, *options: str, before: Callable[[], None] = lambda: None) -> tuple[int, Path]:
        """Start a run in a child; return its process id and the stem of the files that take its words."""
        words = Path(tempfile.mkdtemp(dir=self.folder.parent))
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)  # what comes before the run can answer waits until it can
        child = os.fork()
        if child == 0:
            take_default_signals()
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(words / name, os.O_WRONLY | os.O_CREAT), number)
            os.chdir(self.folder)
            before()
            self.run(list(options))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)
        return child, words

    @staticmethod
    def end(child: int, words: Path) -> Ended:
        """Wait for a run."""
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        outputs = [(words / name).read_text() if (words / name).exists() else "" for name in ("out", "err")]
        shutil.rmtree(words)
        return Ended(status, *outputs)

    def clean(self) -> None:
        """Remove what runs left."""
        for path in self.folder.glob("d.h5*"):
            path.unlink()

    def left(self) -> set[str]:
        return {path.name for path in self.folder.glob("d.h5*")}

    def check(
        self, ended: Ended, kind: str, old: bytes | None, resume: bool = False, before: Collection[str] = ()
    ) -> None:
        """Raise AssertionError unless the run left all or nothing, and told the truth about it.

        What a SIGKILL left `before` may still be there, where this run ended before it began to write.
        """
        self.ends[f"{kind}: {ended.status}"] += 1
        about = f"{kind}: {ended}"
        holds = self.target.read_bytes() if self.target.exists() else None
        whole = holds is not None and hashlib.sha256(holds).hexdigest() == self.whole
        assert whole or holds == old, f"half a file after {about}"
        assert "Traceback" not in ended.err, about
        if ended.status == 0:
            assert whole, about
            assert ended.out == "d.h5\n", about
            assert self.left() == {"d.h5"}, (self.left(), about)
            return
        answered = [128 + number for number in SIGNALS if number != signal.SIGKILL]
        assert ended.status in (2, *answered, -signal.SIGKILL), about
        killed = ended.status == -signal.SIGKILL  # that may come when all is done, before the process has ended
        assert ended.out == "" or (killed and whole), about
        if ended.status > 0:
            assert not whole, about
            assert sum(line.startswith("Error: ") for line in ended.err.splitlines()) == 1, about
        allowed = {"d.h5", *before} | ({"d.h5.partial"} if resume else set())
        if ended.status != -signal.SIGKILL:
            assert self.left() <= allowed, (self.left(), about)
        assert all(name == "d.h5" or name.endswith(".partial") for name in self.left()), self.left()


# The two kinds of runs


def run_command(options: list[str]) -> None:
    """Run the command line; does not return."""
    from tfdump.cli.entry import main

    model = [str(SAMPLES / "digits_cnn.keras"), "x.npy", "--batch-size", "16", "--stats", "-l", "conv*", "-l", "hidden"]
    sys.argv = ["tfdump", "activations", *model, "-o", "d.h5", *options]
    main()


class ArrayRun:
    """A run on arrays: rows, a stack, and statistics."""

    planned: tuple[()] = ()
    value_bytes = file_bytes = journal_bytes = 0

    def __init__(self) -> None:
        readers = {"x": open_arguments(["x.npy"])[0].reader}
        self.source = Source([InputSpec("x", None, "float32")], readers, ReadingOptions(), print)

    def open_writer(self, path: Path | None, force: bool, alone: bool = False) -> Any:
        return open_writer(path, force, "none", 1 << 20, 2, True, alone)

    def write(self, writer: Any, command: str, progress: Any, journal: Any = None) -> None:
        batches, count = Batches(16, self.source.examples), self.source.examples
        store = StoreOptions(statistics=True)

        def collector(info: TensorInfo, value: Any, axis0: str) -> Any:
            return writer.collector(info, value, axis0=axis0, examples=count, batches=len(batches))

        info = [TensorInfo(name, name, name, ("Layer",), 0, "float32", None) for name in ("rows", "stack")]
        sinks = [TensorSink("activations", info[0], EXAMPLE, store, collector)]
        sinks.append(TensorSink("activations", info[1], BATCH, store, collector))

        def compute(batch: dict[str, np.ndarray], start: int, stop: int) -> tuple[list[Any], np.ndarray]:
            rows = np.repeat(batch["x"].reshape(stop - start, -1), 8, axis=1)
            return [np.sin(rows), rows.mean(0)], np.zeros(0)

        output = BatchOutput(sinks, writer.check, progress)
        if journal is not None:
            journal.begin({"command": command})
            journaled = JournaledBatches(journal, sinks, set(), lambda note: None)
            run_in_order(self.source, batches, compute, output, journaled)
        else:
            run_at_once(self.source, batches, compute, output, lambda batch: batch)
        for sink in sinks:
            signals.raise_waiting()
            writer.link(sink.group, sink.info, *sink.finish())
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, ())
        signals.raise_waiting()


def run_writer(options: list[str]) -> None:
    """Write a dump of arrays as the commands do; does not return."""
    status, force = 0, "-f" in options
    try:
        signals.install()
        output = DumpOutput(Path("d.h5"), force, dry_run=False, resume="--resume" in options)
        write_planned(ArrayRun(), output, "arrays", Verbosity(), "none", imports=[])
        os.write(1, b"d.h5\n")
    except (signals.Terminated, KeyboardInterrupt) as ended:
        status = getattr(ended, "status", 130)
        os.write(2, b"Error: interrupted\n")
    except (TfdumpError, OSError) as error:
        status = 2
        os.write(2, f"Error: {error}\n".encode())
    os._exit(status)


# The ends


def kills(place: Place, dice: random.Random, count: int) -> None:
    """Signals at any moment, over nothing and over an older file."""
    for number in range(count):
        place.clean()
        old = b"an older file" if number % 2 else None
        if old is not None:
            place.target.write_bytes(old)
        started = place.start(*(["-f"] if old is not None else []))
        time.sleep(dice.uniform(0, 1.05 * place.seconds))
        kill = dice.choice(SIGNALS)
        os.kill(started[0], kill)
        place.check(place.end(*started), f"killed by {kill.name}", old)


def resumed(place: Place, dice: random.Random, count: int) -> None:
    """The same with --resume, again and again until the run comes to its end."""
    done = 0
    while done < count:
        place.clean()
        while True:
            before = place.left()
            started = place.start("--resume")
            if dice.random() < 0.85:
                time.sleep(dice.uniform(0.3, 1) * place.seconds)
                kill = dice.choice(SIGNALS)
                os.kill(started[0], kill)
                done += 1
            ended = place.end(*started)
            place.check(ended, "killed with --resume", None, resume=True, before=before)
            if place.target.exists():  # whole, as was checked; killed right behind that, the journal is still there
                break


def full_disks(place: Place, dice: random.Random, count: int) -> None:
    """A limit on the size of files, below what the output takes; with --resume, the limit is raised until it fits."""
    for number in range(count):
        place.clean()
        resume = number % 2 == 1
        limit = dice.randrange(place.size)
        for attempt in range(2 + resume):
            most = limit if attempt == 0 else place.size - 1 if attempt == 1 else resource.RLIM_INFINITY

            def limited(most: int = most) -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

            ended = place.end(*place.start(*(["--resume"] if resume else []), before=limited))
            place.check(ended, "file size limit", None, resume)
            assert ended.status == (0 if attempt == 2 else 2), ended
            if ended.status:
                assert "File too large" in ended.err, ended


def small_disks(place: Place, dice: random.Random, count: int) -> None:
    """A file system that is too small."""
    for _ in range(count):
        with mounted(place, dice.randrange(2, place.size // 1024)) as small:
            ended = small.end(*small.start())
            small.check(ended, "small disk", None)
            assert ended.status == 2, ended
            assert "No space left" in ended.err or " left (choose fewer layers" in ended.err, ended


def read_only(place: Place) -> None:
    """A folder in which nobody may write."""
    with mounted(place, 1 << 20) as small:
        subprocess.run(["mount", "-o", "remount,ro", str(small.folder)], check=True)
        for options in ([], ["--resume"]):
            ended = small.end(*small.start(*options))
            small.check(ended, "read-only folder", None)
            assert ended.status == 2, ended
            assert "Read-only file system" in ended.err, ended


@contextmanager
def mounted(place: Place, kilobytes: int) -> Iterator[Place]:
    """Another place in a file system of this size, while the body runs; PermissionError where there is none."""
    folder = place.folder.with_name("small")
    with small_disk(folder, kilobytes):
        (folder / "x.npy").symlink_to(place.folder / "x.npy")
        yield Place(folder, place.run, place.whole, ends=place.ends)


def removed_folders(place: Place, dice: random.Random, count: int) -> None:
    """The folder of the output goes away."""
    for number in range(count):
        place.clean()
        moved = place.folder.with_name("moved")
        started = place.start(*(["--resume"] if number % 2 else []))
        time.sleep(dice.uniform(0.2, 0.9) * place.seconds)
        if number % 4 < 2:
            place.folder.rename(moved)
            moved_back = moved
        else:
            moved_back = Path(tempfile.mkdtemp(dir=place.folder.parent))
            shutil.copy(place.folder / "x.npy", moved_back)
            shutil.rmtree(place.folder)
        ended = place.end(*started)
        moved_back.rename(place.folder)
        place.ends[f"folder removed: {ended.status}"] += 1
        assert ended.status in (0, 2), ended
        assert "Traceback" not in ended.err, ended
        holds = place.target.read_bytes() if place.target.exists() else None
        assert holds is None or hashlib.sha256(holds).hexdigest() == place.whole, ended


def truncated_inputs(place: Place, dice: random.Random, count: int) -> None:
    """The input becomes shorter while it is read."""
    data = (place.folder / "x.npy").read_bytes()
    for _ in range(count):
        place.clean()
        started = place.start()
        time.sleep(dice.uniform(0, 1) * place.seconds)
        with (place.folder / "x.npy").open("r+b") as file:
            file.truncate(dice.randrange(len(data)))
        ended = place.end(*started)
        (place.folder / "x.npy").write_bytes(data)
        place.check(ended, "input truncated", None)
        assert ended.status in (0, 2), ended
        if ended.status:
            assert any(text in ended.err for text in ("ended early", "truncated", "is not a .npy", "is empty")), ended


def two_at_once(place: Place, dice: random.Random, count: int) -> None:
    """Two runs with one output: without -f the first wins, with it both do; of two with --resume one waits."""
    for number in range(count):
        place.clean()
        options = [[], ["-f"], ["--resume"]][number % 3]
        first = place.start(*options)
        time.sleep(dice.uniform(0, 0.3) * place.seconds)
        second = place.start(*options)
        ends = [place.end(*first), place.end(*second)]
        statuses = sorted(ended.status for ended in ends)
        place.ends[f"two at once {''.join(options)}: {statuses}"] += 1
        assert statuses == ([0, 0] if options == ["-f"] else [0, 2]), ends
        assert place.left() == {"d.h5"}, (place.left(), ends)
        assert hashlib.sha256(place.target.read_bytes()).hexdigest() == place.whole
        lost = next((ended for ended in ends if ended.status), None)
        if lost is not None:
            refusals = ("made by another run", "exists", "in use by another run")
            assert any(text in lost.err for text in refusals), lost


def reference(place: Place) -> None:
    """Run twice without trouble, for the bytes and the time."""
    for _ in range(2):
        place.clean()
        begin = time.perf_counter()
        ended = place.end(*place.start())
        place.seconds = time.perf_counter() - begin
        assert ended.status == 0, ended
        data = place.target.read_bytes()
        assert place.whole in ("", hashlib.sha256(data).hexdigest())
        place.whole, place.size = hashlib.sha256(data).hexdigest(), len(data)


def main() -> None:
    """Run all ends, and say how many there were of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", choices=["command", "writer"], default="command")
    parser.add_argument("--kills", type=int, default=200, help="how many runs are killed; other ends are fewer")
    parser.add_argument("--small", action="store_true", help="a tenth of the data")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    run = {"command": run_command, "writer": run_writer}[arguments.runs]
    if arguments.runs == "command":
        from tfdump.model.backend import import_quietly

        import_quietly()
    few = max(2, arguments.kills // 20)
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "runs"
        folder.mkdir()
        x = np.load(SAMPLES / "digits.npy")
        np.save(folder / "x.npy", x[:150] if arguments.small else np.concatenate([x] * 5))
        place = Place(folder, run)
        reference(place)
        print(f"a run takes {place.seconds:.2f} s and writes {place.size} bytes", flush=True)
        kills(place, dice, arguments.kills // 2)
        resumed(place, dice, arguments.kills - arguments.kills // 2)
        full_disks(place, dice, few)
        removed_folders(place, dice, 2 * few)
        truncated_inputs(place, dice, 2 * few)
        two_at_once(place, dice, 2 * few)
        try:
            small_disks(place, dice, few)
            read_only(place)
        except PermissionError:
            print("not run: a small and a read-only file system, which only root can mount")
        for kind, number in sorted(place.ends.items()):
            print(f"{number:6d}  {kind}")
        print(f"{sum(place.ends.values())} ends, and every output was whole or untouched")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
