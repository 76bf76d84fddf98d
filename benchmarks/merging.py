"""Merging and reading shards: the tabular model over 1,000,000 rows (1.0 GB) in 16 and in 244 shards.

    python benchmarks/merging.py

`tfdump merge` against `cat` of the shards, and against a copy of their bytes with a CRC-32 of them. Reading one tensor
of the folder against reading it from one file. All files are in the page cache. Start-up apart.
"""

import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from contestants import make_tabular
from measure import Row, compare, contest, run_script, settle

ROWS = 1_000_000
ROOM = 3 << 29
"""Bytes of memory at hand, more than what is written."""

FEW, MANY = 16, 244
LAYER = "dense3"


def make_shards(folder: Path) -> None:
    """Write one dump, and shards of it: with and without checksums, few and many."""
    make_tabular(folder, examples=ROWS)
    run = [sys.executable, "-m", "tfdump", "activations", folder / "model.keras", folder / "x.npy", "-q"]
    run += ["--batch-size", "4096"]
    for name, options in (("plain", []), ("sums", ["--checksums"])):
        subprocess.run([*run, *options, "--shards", folder / name, "--shard-examples", str(ROWS // FEW)], check=True)
    subprocess.run([*run, "--shards", folder / "many", "--shard-examples", "4096"], check=True)


def _merged(shards: Path) -> float:
    from tfdump.dump.shards.merge import merge_shards

    target = shards.with_suffix(".merged.h5")
    target.unlink(missing_ok=True)
    settle(ROOM)
    start = time.perf_counter()
    merge_shards(shards, target)
    return time.perf_counter() - start


def merge(folder: Path) -> float:
    """Merge without checksums."""
    return _merged(folder / "plain")


def merge_sums(folder: Path) -> float:
    """Merge with checksums."""
    return _merged(folder / "sums")


def merge_many(folder: Path) -> float:
    """Merge many shards."""
    return _merged(folder / "many")


def cat(folder: Path) -> float:
    """Concatenate the bytes of the shards with `cat`."""
    target = folder / "cat.bin"
    target.unlink(missing_ok=True)
    shards = sorted((folder / "plain").glob("shard-*"))
    settle(ROOM)
    start = time.perf_counter()
    with target.open("wb") as file:
        subprocess.run(["cat", *shards], stdout=file, check=True)
    return time.perf_counter() - start


def raw_sums(folder: Path) -> float:
    """Copy the bytes of the shards, with a CRC-32 of them."""
    target = folder / "raw.bin"
    target.unlink(missing_ok=True)
    shards = sorted((folder / "sums").glob("shard-*"))
    settle(ROOM)
    start, crc = time.perf_counter(), 0
    with target.open("wb", buffering=0) as file:
        for shard in shards:
            with shard.open("rb", buffering=0) as source:
                while block := source.read(1 << 22):
                    crc = zlib.crc32(block, crc)
                    file.write(block)
    return time.perf_counter() - start


def _read(path: Path) -> float:
    from tfdump.dump.reader import open_dump

    start = time.perf_counter()
    with open_dump(path) as dump:
        for _, _values in dump[LAYER].parts()[0].blocks():
            pass
    return time.perf_counter() - start


def read_shards(folder: Path) -> float:
    """Open many shards, and read one tensor."""
    return _read(folder / "many")


def read_one(folder: Path) -> float:
    """Open one file, and read the same tensor."""
    return _read(folder / "many.merged.h5")


ROUTES = {
    "merge": merge, "cat": cat, "merge_sums": merge_sums, "raw_sums": raw_sums, "merge_many": merge_many,
    "read_shards": read_shards, "read_one": read_one,
}  # fmt: skip


def race() -> list[Row]:
    """Race."""
    with tempfile.TemporaryDirectory() as name:
        make_shards(Path(name))
        samples = contest(__file__, tuple(ROUTES), name)
    seconds = {route: item.seconds for route, item in samples.items()}
    title = f"tfdump merge, {FEW} shards, 1.0 GB"
    return [
        compare(title, seconds["merge"], "cat of the shards", seconds["cat"], goal=1.5),
        compare(f"{title}, checksums", seconds["merge_sums"], "raw copy + CRC-32", seconds["raw_sums"], goal=1.5),
        compare(f"tfdump merge, {MANY} shards, 1.0 GB", seconds["merge_many"], f"{FEW} shards", seconds["merge"]),
        compare(
            f"tfdump merge, {MANY} shards: memory",
            samples["merge_many"].megabytes,
            f"{FEW} shards",
            samples["merge"].megabytes,
            "MB",
            goal=1.05,
        ),
        compare(f"one tensor of {MANY} shards, 0.26 GB", seconds["read_shards"], "one file", seconds["read_one"]),
    ]


if __name__ == "__main__":
    run_script(ROUTES, race)
