"""What pairing by value costs `diff`: dumps of 1 GB with the same names, and with other names.

    python benchmarks/pairing.py

Each contestant runs in a process of its own and reads both files from the page cache. Where the names agree, pairing by
value is raced against `--pair names`. Where no name agrees and 4 axes of every tensor have the channels first, it is
raced against a map of the names with `--transpose`, which has to know both.
"""

import tempfile
from pathlib import Path

import numpy as np
from measure import Row, compare, contest, elapsed, run_script

from tfdump.comparison.diff import diff
from tfdump.dump.writer import DumpWriter
from tfdump.tensors import TensorInfo

GIGABYTES = 1
TENSORS = 60
SHAPES = [(56, 56, 16), (28, 28, 48), (14, 14, 96), (28, 28, 16), (14, 14, 192)]
"""The shapes of the rows of the tensors, in turn."""


def make_dump(path: Path, rows: int, name: str, channels_first: bool) -> None:
    """Write tensors of float32 as a dump has them."""
    random = np.random.default_rng(0)
    with DumpWriter(path) as writer:
        for number in range(TENSORS):
            shape = SHAPES[number % len(SHAPES)]
            values = random.standard_normal((rows, *shape), dtype="f4")
            if channels_first:
                values = np.ascontiguousarray(np.moveaxis(values, 3, 1)) * np.float32(1 + 1e-7)
            info = TensorInfo(f"{name}{number}", f"{name}{number}", "", ("Conv2D",), number, "float32", (-1, *shape))
            collector = writer.collector(info, values, axis0="example", examples=rows, batches=1)
            collector.append(values)
            writer.link("activations", info, collector, {})
        root = {"format": "tfdump", "format_version": np.int64(1), "kind": "activations", "examples": np.int64(rows)}
        writer.describe(root, None, ())


def by_value(folder: Path, new: str) -> float:
    """Compare as the command does, and pair by value."""
    return elapsed(lambda: diff(folder / "golden.h5", folder / new))


def by_names(folder: Path, new: str) -> float:
    """Compare by the names; of the renamed dump, by a map and an order of the axes."""
    if new == "same.h5":
        return elapsed(lambda: diff(folder / "golden.h5", folder / new, pair="names"))
    names = {f"layer{number}": f"node{number}" for number in range(TENSORS)}
    return elapsed(lambda: diff(folder / "golden.h5", folder / new, pair="names", renamed=names, transpose="*=0,2,3,1"))


ROUTES = {"values": by_value, "names": by_names}


def race() -> list[Row]:
    """Race."""
    rows = []
    elements = sum(int(np.prod(SHAPES[number % len(SHAPES)])) for number in range(TENSORS))
    count = max(1, int(GIGABYTES * 1e9 / (4 * elements)))
    with tempfile.TemporaryDirectory() as folder:
        make_dump(Path(folder) / "golden.h5", count, "layer", False)
        for new, name, against in (
            ("same.h5", "same names", "--pair names"),
            ("renamed.h5", "other names, channels first", "--map and --transpose"),
        ):
            make_dump(Path(folder) / new, count, "layer" if new == "same.h5" else "node", new != "same.h5")
            samples = contest(__file__, list(ROUTES), folder, new, rounds=5)
            ours, theirs = samples["values"], samples["names"]
            title = f"diff of 2 x {GIGABYTES} GB by values, {name}"
            rows.append(compare(title, ours.seconds, against, theirs.seconds, goal=1.2))
            rows.append(compare(f"{title}: memory", ours.megabytes, against, theirs.megabytes, "MB"))
            (Path(folder) / new).unlink()
    return rows


if __name__ == "__main__":
    run_script(ROUTES, race)
