"""All checks of a dump, against a pass of h5py and np.isnan over the same file.

    python benchmarks/check.py [GB]

Prints seconds and the peak memory of each process. The file is in the page cache.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from measure import measure, print_race, report

from tfdump.dump.writer import DumpWriter
from tfdump.tensors import TensorInfo

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


def tfdump_route(path: Path) -> None:
    """Make every check."""
    from tfdump import check

    check(path)


def isnan_route(path: Path) -> None:
    """Look for NaN, 5 examples at a time."""
    with h5py.File(path) as file:
        for dataset in file["activations"].values():
            for start in range(0, len(dataset), 5):
                np.isnan(dataset[start : start + 5]).any()


ROUTES = {"tfdump": tfdump_route, "isnan": isnan_route}


def main() -> None:
    """Race."""
    if len(sys.argv) == 3:
        start = time.perf_counter()
        ROUTES[sys.argv[1]](Path(sys.argv[2]))
        report(time.perf_counter() - start)
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "dump.h5"
        make_dump(path, float(sys.argv[1]) if len(sys.argv) > 1 else 2)
        print(f"{os.path.getsize(path) / 1e9:.2f} GB")
        print_race({route: measure(__file__, route, path) for route in ROUTES}, "tfdump")


if __name__ == "__main__":
    main()
