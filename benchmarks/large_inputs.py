"""Inputs larger than memory, and HDF5 inputs in awkward compressed chunks.

    python benchmarks/large_inputs.py

A `.npy` larger than the memory of the machine (a file with holes, which read as zeros and take no disk) through a
small model: its peak memory against that of a hundredth of it. An HDF5 file compressed in chunks of many examples,
read in batches: against the same loop over h5py slices, and against reading every chunk once.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from contestants import MAKERS, load, tfdump_activations
from measure import Row, compare, contest, contest_here, elapsed, run_script

COLUMNS = 4096


def command_route(folder: Path, file: str) -> float:
    """Run `tfdump activations` on the last layer."""
    from tfdump.cli.main import run

    target = ["-o", str(folder / "dump.h5"), "-f", "-q", "-l", "out"]
    start = time.perf_counter()
    status = run(["activations", str(folder / "wide.keras"), str(folder / file), *target])
    if status:
        sys.exit(status)
    return time.perf_counter() - start


ROUTES = {"command": command_route}


def holes(path: Path, rows: int) -> None:
    """Make a `.npy` of zeros that takes no disk."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, COLUMNS)})
        file.truncate(file.tell() + 4 * rows * COLUMNS)


def larger_than_memory(folder: Path) -> list[Row]:
    """Compare the memory that two lengths of an input take."""
    import keras

    x = keras.Input((COLUMNS,), name="x")
    keras.Model(x, keras.layers.Dense(8, name="out")(x)).save(folder / "wide.keras")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rows = int(1.05 * memory) // (4 * COLUMNS)
    holes(folder / "large.npy", rows)
    holes(folder / "small.npy", rows // 100)
    large = contest(__file__, ["command"], folder, "large.npy", rounds=1)["command"]
    small = contest(__file__, ["command"], folder, "small.npy", rounds=1)["command"]
    name = f".npy of {4 * rows * COLUMNS / 1e9:.0f} GB: memory"
    return [compare(name, large.megabytes, "a hundredth of it", small.megabytes, "MB", 1.05)]


def awkward_chunks(folder: Path) -> list[Row]:
    """Race on a file whose chunks hold many examples."""
    import h5py
    import tensorflow as tf

    MAKERS["CNN"](folder, examples=6000, depth=1, width=4)
    pictures = np.load(folder / "x.npy")
    pictures[:, ::2] = 0  # so that there is something to compress
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", data=pictures, chunks=(1500, 32, 32, 1), compression="gzip")
    (folder / "x.npy").unlink()
    forward = tf.function(load(folder), reduce_retracing=True)

    def sliced(batch: int = 64) -> None:
        with h5py.File(folder / "x.h5") as file:
            for first in range(0, 6000, batch):
                forward(tf.constant(file["x"][first : first + batch]))

    def once() -> None:
        with h5py.File(folder / "x.h5") as file:
            for first in range(0, 6000, 1500):
                forward(tf.constant(file["x"][first : first + 1500]))

    def ours() -> float:
        names = [f"{folder / 'x.h5'}::/x"]
        return tfdump_activations(folder, folder / "o.h5", inputs=names, layers=["pool"], batch_size=64)

    samples = contest_here({"tfdump": ours, "slices": lambda: elapsed(sliced), "once": lambda: elapsed(once)})
    name = "HDF5 in chunks of 1,500 examples"
    return [
        compare(name, samples["tfdump"], "a loop over slices of 64", samples["slices"]),
        compare(name, samples["tfdump"], "every chunk read once", samples["once"], goal=1.3),
    ]


def race() -> list[Row]:
    """Race."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        return larger_than_memory(Path(first)) + awkward_chunks(Path(second))


if __name__ == "__main__":
    run_script(ROUTES, race)
