"""Features of a Parquet table of 1,000,000 rows of 32 numbers: one layer of a small model, with the names of the rows.

    python benchmarks/tables.py

Against pandas, a sub-model, `predict` and h5py. Start-up and loading of the model apart; reading the table included.
"""

import tempfile
import time
from pathlib import Path

from contestants import load, make_tabular, tfdump_activations
from measure import Row, compare, contest, run_script, settle

ROWS = 1_000_000
LAYER = "dense3"
ROOM = 1 << 29
"""Bytes of memory at hand, more than what is written."""


def make_table(folder: Path) -> None:
    """Save the model, and its inputs as the columns of a table."""
    import numpy as np
    import pandas

    make_tabular(folder, examples=ROWS)
    rows = np.load(folder / "x.npy")
    pandas.DataFrame(rows, columns=[f"column{n}" for n in range(rows.shape[1])]).to_parquet(folder / "x.parquet")


def ours(folder: Path) -> float:
    """Dump the layer with tfdump."""
    table = [str(folder / "x.parquet")]
    return tfdump_activations(folder, folder / "ours.h5", ROOM, inputs=table, layers=(LAYER,))


def pandas_predict(folder: Path) -> float:
    """Read the table with pandas, predict with a sub-model, and write the layer with h5py."""
    import h5py
    import keras
    import pandas

    model = load(folder)
    settle(ROOM)
    start = time.perf_counter()
    part = keras.Model(model.inputs, model.get_layer(LAYER).output)
    values = part.predict(pandas.read_parquet(folder / "x.parquet").to_numpy(), batch_size=4096, verbose=0)
    with h5py.File(folder / "theirs.h5", "w") as file:
        file[LAYER] = values
    return time.perf_counter() - start


def race() -> list[Row]:
    """Race."""
    routes = {"ours": ours, "pandas": pandas_predict}
    with tempfile.TemporaryDirectory() as name:
        make_table(Path(name))
        samples = contest(__file__, tuple(routes), name)
    mine, theirs = samples["ours"], samples["pandas"]
    title, against = f"Parquet, 1,000,000 rows, -l {LAYER}", "pandas, predict, h5py"
    return [
        compare(title, mine.seconds, against, theirs.seconds, goal=1),
        compare(f"{title}: memory", mine.megabytes, against, theirs.megabytes, "MB", goal=1),
    ]


if __name__ == "__main__":
    run_script({"ours": ours, "pandas": pandas_predict}, race)
