"""Percentiles of a dump, and everything that `tfdump ranges` tells, against np.percentile of what h5py reads.

    python benchmarks/ranges.py

The file is in the page cache; start-up does not count. NumPy holds a whole tensor; tfdump may hold 16 MiB of it.
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np
from measure import Row, compare, contest, elapsed, run_script

from tfdump.dump.writer import DumpWriter
from tfdump.quantization.records import PERCENTS
from tfdump.tensors import TensorInfo

MEGABYTES = 400
TENSORS = 2
MEMORY = 16 << 20


def make_dump(path: Path, megabytes: float) -> None:
    """Write activations of (examples, 56, 56, 64), half of them rectified."""
    block = np.random.default_rng(0).standard_normal((16, 56, 56, 64), dtype=np.float32)
    batches = max(1, round(megabytes * 1e6 / block.nbytes / TENSORS))
    with DumpWriter(path) as writer:
        for number in range(TENSORS):
            values = np.maximum(block, 0) if number % 2 else block
            info = TensorInfo(f"t{number}", f"t{number}", "", ("Conv2D",), number, "float32", (-1, 56, 56, 64))
            collector = writer.collector(info, values, axis0="example", examples=16 * batches, batches=batches)
            for batch in range(batches):
                collector.append(values * np.float32(1 + batch / 8))
            writer.link("activations", info, collector, {})
        writer.describe({"format": "tfdump", "format_version": 1, "kind": "activations"}, None, ())


def range_route(folder: Path) -> float:
    """Tell the percentiles."""
    from tfdump import ranges

    return elapsed(lambda: ranges(folder / "dump.h5", show="range", memory=MEMORY))


def all_route(folder: Path) -> float:
    """Tell everything."""
    from tfdump import ranges

    return elapsed(lambda: ranges(folder / "dump.h5", memory=MEMORY))


def numpy_route(folder: Path) -> float:
    """Read each tensor, and let NumPy compute the same percentiles, the minimum and the maximum."""

    def compute() -> None:
        with h5py.File(folder / "dump.h5") as file:
            for dataset in file["activations"].values():
                values = dataset[()]
                np.percentile(values, PERCENTS)
                values.min(), values.max()

    return elapsed(compute)


ROUTES = {"range": range_route, "all": all_route, "numpy": numpy_route}


def race() -> list[Row]:
    """Race."""
    with tempfile.TemporaryDirectory() as folder:
        make_dump(Path(folder) / "dump.h5", MEGABYTES)
        samples = contest(__file__, list(ROUTES), folder)
    theirs = samples["numpy"]
    name = f"of {MEGABYTES} MB"
    return [
        compare(f"ranges --show range {name}", samples["range"].seconds, "h5py, np.percentile", theirs.seconds),
        compare(
            f"ranges --show range {name}: memory",
            samples["range"].megabytes,
            "h5py, np.percentile",
            theirs.megabytes,
            "MB",
        ),
        compare(f"ranges {name}", samples["all"].seconds, "h5py, np.percentile", theirs.seconds),
        compare(f"ranges {name}: memory", samples["all"].megabytes, "h5py, np.percentile", theirs.megabytes, "MB"),
    ]


if __name__ == "__main__":
    run_script(ROUTES, race)
