"""Features of 500,000 examples for other programs: tfdump cat, against h5py and the libraries of the formats.

    python benchmarks/exports.py

The dump is in the page cache; start-up does not count, writing does. Then both tables are read into one array.
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np
from measure import Row, compare, contest, elapsed, run_script, settle

from tfdump.dump.writer import DumpWriter
from tfdump.tensors import TensorInfo

ROWS, UNITS = 500_000, 512
STEP = 20_000
ROOM = 1 << 30


def make_dump(path: Path) -> None:
    """Write features as a dump has them: float32, and bfloat16 as float32."""
    random = np.random.default_rng(0)
    with DumpWriter(path) as writer:
        for name in ("float32", "bfloat16"):
            info = TensorInfo(name, name, "", ("Dense",), 0, name, (-1, UNITS))
            collector = None
            for _ in range(0, ROWS, STEP):
                values = random.standard_normal((STEP, UNITS), dtype="f4")
                if name == "bfloat16":
                    values = (values.view("u4") & 0xFFFF0000).view("f4")
                if collector is None:
                    collector = writer.collector(info, values, axis0="example", examples=ROWS, batches=1)
                collector.append(values)
            if collector is not None:
                writer.link("activations", info, collector, {})
        root = {"format": "tfdump", "format_version": np.int64(1), "kind": "activations", "examples": np.int64(ROWS)}
        writer.describe(root, None, ())


def ours(folder: Path, name: str, layout: str) -> float:
    """Write a tensor as the command does."""
    from tfdump.cli.main import run

    settle(ROOM)
    return elapsed(lambda: run(["cat", str(folder / "dump.h5"), name, "-f", "-o", str(folder / f"ours.{layout}")]))


def theirs(folder: Path, name: str, layout: str) -> float:
    """Read a tensor with h5py, and write it with the library of the format."""
    import ml_dtypes
    import pandas
    from safetensors.numpy import save_file

    def write() -> None:
        with h5py.File(folder / "dump.h5") as file:
            values = file["activations"][name][()]
        if layout == "parquet":
            pandas.DataFrame(values, columns=[str(unit) for unit in range(UNITS)]).to_parquet(folder / "theirs.parquet")
        else:
            save_file(
                {name: values.astype(getattr(ml_dtypes, name, np.float32), copy=False)}, folder / f"theirs.{layout}"
            )

    settle(ROOM)
    return elapsed(write)


def read_ours(folder: Path) -> float:
    """Read the column of lists with pyarrow as one array."""
    from pyarrow import parquet

    def read() -> None:
        column = parquet.read_table(folder / "ours.parquet")["float32"]
        values = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks]).reshape(-1, UNITS)
        assert values.shape == (ROWS, UNITS)

    return elapsed(read)


def read_theirs(folder: Path) -> float:
    """Read the table of columns with pandas as one array."""
    import pandas

    def read() -> None:
        assert pandas.read_parquet(folder / "theirs.parquet").to_numpy().shape == (ROWS, UNITS)

    return elapsed(read)


ROUTES = {"ours": ours, "theirs": theirs, "read_ours": read_ours, "read_theirs": read_theirs}
RACES = (
    ("float32", "safetensors", "h5py and safetensors"),
    ("bfloat16", "safetensors", "h5py, ml_dtypes and safetensors"),
    ("float32", "parquet", "h5py and pandas"),
)


def race() -> list[Row]:
    """Race."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_dump(Path(folder) / "dump.h5")
        for name, layout, against in RACES:
            samples = contest(__file__, ["ours", "theirs"], folder, name, layout)
            mine, other = samples["ours"], samples["theirs"]
            title = f"cat, {ROWS:,} x {UNITS}: {name} as {layout}"
            rows.append(compare(title, mine.seconds, against, other.seconds, goal=1))
            rows.append(compare(f"{title}: memory", mine.megabytes, against, other.megabytes, "MB", goal=0.3))
        samples = contest(__file__, ["read_ours", "read_theirs"], folder)
        mine, other = samples["read_ours"], samples["read_theirs"]
        rows.append(compare("the same table, read by pyarrow", mine.seconds, "pandas", other.seconds))
    return rows


if __name__ == "__main__":
    run_script(ROUTES, race)
