"""Two dumps of some GB against each other: tfdump diff, and `np.abs(a - b).max()` of every tensor with h5py.

    python benchmarks/diff.py

Each contestant runs in a process of its own and reads both files from the page cache; start-up does not count. The
files are the same, or differ in every element by less than the tolerance, or by more than that (the dearest case).
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np
from measure import Row, compare, contest, elapsed, run_script

from tfdump.comparison.diff import diff
from tfdump.dump.writer import DumpWriter
from tfdump.tensors import TensorInfo

GIGABYTES = 1
TENSORS = 8
ROW = (56, 56, 64)


def make_dump(path: Path, rows: int, factor: float) -> None:
    """Write tensors of float32 as a dump has them; `factor` moves every element."""
    random = np.random.default_rng(0)
    with DumpWriter(path) as writer:
        for number in range(TENSORS):
            info = TensorInfo(f"layer{number}", f"layer{number}", "", ("Conv2D",), number, "float32", (-1, *ROW))
            collector = None
            for start in range(0, rows, 16):
                values = random.standard_normal((min(16, rows - start), *ROW), dtype="f4") * np.float32(factor)
                if collector is None:
                    collector = writer.collector(info, values, axis0="example", examples=rows, batches=1)
                collector.append(values)
            if collector is not None:
                writer.link("activations", info, collector, {})
        root = {"format": "tfdump", "format_version": np.int64(1), "kind": "activations", "examples": np.int64(rows)}
        writer.describe(root, None, ())


def tfdump_route(folder: Path, new: str) -> float:
    """Compare as the command does."""
    return elapsed(lambda: diff(folder / "golden.h5", folder / new))


def whole_tensors_route(folder: Path, new: str) -> float:
    """Read each tensor whole and take the largest distance, as one would by hand."""

    def compare_all() -> None:
        with h5py.File(folder / "golden.h5") as a, h5py.File(folder / new) as b:
            for name in a["activations"]:
                np.abs(a["activations"][name][()] - b["activations"][name][()]).max()

    return elapsed(compare_all)


def noise_route(folder: Path, new: str) -> float:
    """Compare by the ratio of signal to noise, as `--min-sqnr` does."""
    return elapsed(lambda: diff(folder / "golden.h5", folder / new, min_sqnr=0))


def whole_noise_route(folder: Path, new: str) -> float:
    """Compute the same ratio of whole tensors in float64, as one would by hand."""

    def compare_all() -> None:
        with h5py.File(folder / "golden.h5") as a, h5py.File(folder / new) as b:
            for name in a["activations"]:
                x = a["activations"][name][()].astype("f8")
                y = b["activations"][name][()].astype("f8")
                10 * np.log10(np.square(x).sum() / np.square(x - y).sum())

    return elapsed(compare_all)


ROUTES = {
    "tfdump": tfdump_route,
    "np.abs": whole_tensors_route,
    "--min-sqnr": noise_route,
    "SQNR by hand": whole_noise_route,
}

SIDES = {"same.h5": 1.0, "moved.h5": 1 + 1e-6, "off.h5": 1.01}
"""The new side, with the factor that moves its elements: not at all, within the tolerance, and beyond it."""


def race() -> list[Row]:
    """Race."""
    rows = []
    count = max(1, int(GIGABYTES * 1e9 / TENSORS / (4 * np.prod(ROW))))
    with tempfile.TemporaryDirectory() as folder:
        make_dump(Path(folder) / "golden.h5", count, 1.0)
        for new, factor in SIDES.items():
            make_dump(Path(folder) / new, count, factor)
            samples = contest(__file__, ["tfdump", "np.abs"], folder, new, rounds=3)
            ours, theirs = samples["tfdump"], samples["np.abs"]
            name = f"diff of 2 x {GIGABYTES} GB, {new.removesuffix('.h5')}"
            rows.append(compare(name, ours.seconds, "h5py, np.abs(a - b).max()", theirs.seconds, goal=1.3))
            if new == "off.h5":
                noise = contest(__file__, ["--min-sqnr", "SQNR by hand"], folder, new, rounds=3)
            (Path(folder) / new).unlink()
    rows.append(compare(f"{name}: memory", ours.megabytes, "h5py, np.abs(a - b).max()", theirs.megabytes, "MB"))
    ours, theirs = noise["--min-sqnr"], noise["SQNR by hand"]
    rows.append(compare(f"{name} --min-sqnr", ours.seconds, "h5py, the ratio in NumPy", theirs.seconds, goal=1.0))
    return rows


if __name__ == "__main__":
    run_script(ROUTES, race)
