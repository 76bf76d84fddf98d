"""All checks of a dump, against a pass of h5py and np.isnan over the same file.

    python benchmarks/check.py

The file is in the page cache; start-up does not count.
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np
from measure import Row, compare, contest, elapsed, run_script

from tfdump.dump.writer import DumpWriter
from tfdump.tensors import TensorInfo

GIGABYTES = 1
ROWS = 64
CLASSES = ("Conv2D", "BatchNormalization", "ReLU")


def make_dump(path: Path, gigabytes: float) -> None:
    """Write activations of (examples, 56, 56, 64), a third of them rectified, with a dead unit."""
    block = np.random.default_rng(0).standard_normal((ROWS, 56, 56, 64), dtype=np.float32)
    rectified = np.maximum(block, 0)
    rectified[..., 5] = 0
    with DumpWriter(path) as writer:
        for number in range(max(1, round(gigabytes * 1e9 / block.nbytes / 4))):
            kind = CLASSES[number % 3]
            values = rectified if kind == "ReLU" else block
            info = TensorInfo(f"t{number}", f"t{number}", "", (kind,), number, "float32", (-1, 56, 56, 64))
            collector = writer.collector(info, values, axis0="example", examples=4 * ROWS, batches=4)
            for _ in range(4):
                collector.append(values)
            writer.link("activations", info, collector, {})
        writer.describe({"format": "tfdump", "format_version": 1, "kind": "activations"}, None, ())


def tfdump_route(folder: Path) -> float:
    """Make every check."""
    from tfdump import check

    return elapsed(lambda: check(folder / "dump.h5"))


def isnan_route(folder: Path) -> float:
    """Look for NaN, 5 examples at a time."""

    def look() -> None:
        with h5py.File(folder / "dump.h5") as file:
            for dataset in file["activations"].values():
                for start in range(0, len(dataset), 5):
                    np.isnan(dataset[start : start + 5]).any()

    return elapsed(look)


ROUTES = {"tfdump": tfdump_route, "isnan": isnan_route}


def race() -> list[Row]:
    """Race."""
    with tempfile.TemporaryDirectory() as folder:
        make_dump(Path(folder) / "dump.h5", GIGABYTES)
        samples = contest(__file__, list(ROUTES), folder)
    ours, theirs = samples["tfdump"], samples["isnan"]
    name = f"check, all checks of {GIGABYTES} GB"
    return [
        compare(name, ours.seconds, "h5py and np.isnan", theirs.seconds),
        compare(f"{name}: memory", ours.megabytes, "h5py and np.isnan", theirs.megabytes, "MB"),
    ]


if __name__ == "__main__":
    run_script(ROUTES, race)
