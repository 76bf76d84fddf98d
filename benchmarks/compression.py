"""Compression: wall time and size without, with gzip and with zstd, of a CNN and a transformer.

    python benchmarks/compression.py

The other computes every layer's output and gives it to h5py with the same compression. All in one process, start-up
and loading apart. Sizes are compared with those without compression.
"""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from contestants import MAKERS, arrays_of, load, tfdump_activations, tops
from measure import Row, compare, contest_here, run_script

RACES = (("CNN", {"examples": 512}, 64), ("BERT", {"examples": 64}, 16))


def filters(compression: str) -> dict[str, Any]:
    """Return h5py's arguments."""
    if compression == "zstd":
        import hdf5plugin

        return dict(hdf5plugin.Zstd(clevel=3))
    return {"compression": "gzip", "compression_opts": 1} if compression == "gzip" else {}


def with_h5py(folder: Path, batch: int, compression: str) -> float:
    """Compute in a `tf.function` and write batch by batch."""
    import h5py
    import keras
    import tensorflow as tf

    model = load(folder)
    arrays = arrays_of(folder, model)
    layers = tops(model)
    part = keras.Model(model.inputs, [layer.output for layer in layers])
    count = len(next(iter(arrays.values())))
    start = time.perf_counter()
    forward = tf.function(lambda inputs: part(inputs, training=False), reduce_retracing=True)
    with h5py.File(folder / "other.h5", "w") as file:
        for first in range(0, count, batch):
            outputs = forward({name: tf.constant(array[first : first + batch]) for name, array in arrays.items()})
            for layer, tensor in zip(layers, outputs, strict=True):
                value = tensor.numpy()
                if layer.name not in file:
                    shape = (count, *value.shape[1:])
                    chunks = (min(16, count), *value.shape[1:])
                    file.create_dataset(layer.name, shape, value.dtype, chunks=chunks, **filters(compression))
                file[layer.name][first : first + len(value)] = value
    return time.perf_counter() - start


def race_of(model: str, folder: Path, batch: int) -> list[Row]:
    """Race with one model."""
    rows, sizes = [], {}
    for compression in ("none", "gzip", "zstd"):
        target = folder / f"{compression}.h5"
        samples = contest_here(
            {
                "tfdump": partial(tfdump_activations, folder, target, depth=1, compression=compression),
                "h5py": partial(with_h5py, folder, batch, compression),
            },
            rounds=2,
        )
        sizes[compression] = target.stat().st_size / 1e6
        rows.append(
            compare(f"{model}, --compression {compression}", samples["tfdump"], "h5py, the same", samples["h5py"])
        )
    for compression in ("gzip", "zstd"):
        name = f"{model}, --compression {compression}: size"
        rows.append(compare(name, [sizes[compression]], "none", [sizes["none"]], "MB"))
    return rows


def race() -> list[Row]:
    """Race."""
    rows = []
    for model, arguments, batch in RACES:
        with tempfile.TemporaryDirectory() as folder:
            MAKERS[model](Path(folder), **arguments)
            rows += race_of(model, Path(folder), batch)
    return rows


if __name__ == "__main__":
    run_script({}, race)
