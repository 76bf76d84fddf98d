"""Two dumps of some GB against each other: tfdump diff, and `np.abs(a - b).max()` of every tensor with h5py.

    python benchmarks/diff.py [GIGABYTES]

Each contestant runs in a process of its own, several times, and reads both files from the page cache; start-up does
not count. The files differ in every element by less than the tolerance, by more than that (the dearest case), or not
at all. Prints medians, and ratios to tfdump; then how long a comparison of two tiny dumps takes from start to end,
against the imports alone.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import h5py
import numpy as np
from measure import measure, print_race, report

from tfdump.analysis.diff import diff
from tfdump.dump.writer import DumpWriter
from tfdump.tensors import TensorInfo

TENSORS = 8
ROW = (56, 56, 64)
ROUNDS = 15


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


def tfdump_route(golden: Path, new: Path) -> None:
    """Compare as the command does."""
    diff(golden, new)


def whole_tensors_route(golden: Path, new: Path) -> None:
    """Read each tensor whole and take the largest distance, as one would by hand."""
    with h5py.File(golden) as a, h5py.File(new) as b:
        for name in a["activations"]:
            np.abs(a["activations"][name][()] - b["activations"][name][()]).max()


def reading_route(golden: Path, new: Path) -> None:
    """Read both files in blocks, and do nothing with them."""
    buffer = np.empty((5, *ROW), "f4")
    for path in (golden, new):
        with h5py.File(path) as file:
            for dataset in file["activations"].values():
                for start in range(0, len(dataset), 5):
                    count = min(5, len(dataset) - start)
                    dataset.read_direct(buffer, np.s_[start : start + count], np.s_[:count])


ROUTES = {
    "tfdump diff": tfdump_route,
    "h5py, np.abs(a - b).max()": whole_tensors_route,
    "reading both files": reading_route,
}


def seconds_of(*command: object) -> float:
    """Return the median seconds that a command takes."""
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([*map(str, command)], check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return median(taken)


def main() -> None:
    """Race."""
    if len(sys.argv) == 4:
        start = time.perf_counter()
        ROUTES[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
        report(time.perf_counter() - start)
        return
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    rows = max(1, int(size * 1e9 / TENSORS / (4 * np.prod(ROW))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, factor in (("golden.h5", 1.0), ("moved.h5", 1 + 1e-6), ("off.h5", 1.01), ("same.h5", 1.0)):
            make_dump(folder / file, rows, factor)
        for file in ("moved.h5", "off.h5", "same.h5"):
            results = {route: measure(__file__, route, folder / "golden.h5", folder / file) for route in ROUTES}
            print(f"two files of {size:g} GB, {file}")
            print_race(results, "tfdump diff")
        make_dump(folder / "tiny.h5", 1, 1.0)
        tiny = folder / "tiny.h5"
        imports = seconds_of(sys.executable, "-c", "import click, h5py, numpy")
        ours = seconds_of(sys.executable, "-m", "tfdump", "diff", tiny, tiny)
        print(
            f"start to end: imports alone {imports:.3f} s, tfdump diff of tiny dumps {ours:.3f} s: {ours / imports:.2f}"
        )


if __name__ == "__main__":
    main()
