"""A small model over 1,000,000 rows, where the overhead of each batch matters.

    python benchmarks/many_rows.py

The limit is a bare `tf.function` loop that returns every layer's output, at the best of several batch sizes, plus a
raw write of the same bytes. All in one process, start-up and loading apart.
"""

import tempfile
from pathlib import Path

from contestants import MAKERS, forward_of_all, tfdump_activations
from measure import Row, compare, contest_here, run_script, write_raw

ROWS = 1_000_000
ROOM = 3 << 29
"""Bytes of memory at hand, more than the dump takes."""


def race() -> list[Row]:
    """Race."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        MAKERS["tabular"](folder, examples=ROWS)
        target = folder / "o.h5"
        tfdump_activations(folder, target)
        size = target.stat().st_size
        sizes = (1024, 4096, 16384)
        samples = contest_here(
            {
                "tfdump": lambda: tfdump_activations(folder, target, ROOM),
                "raw": lambda: write_raw(folder / "raw", size, ROOM),
                **{str(batch): lambda batch=batch: forward_of_all(folder, batch) for batch in sizes},
            },
        )
    best = [min(times) for times in zip(*(samples[str(batch)] for batch in sizes), strict=True)]
    limit = [loop + raw for loop, raw in zip(best, samples["raw"], strict=True)]
    return [compare("tabular model, 1,000,000 rows", samples["tfdump"], "bare loop + raw write", limit, goal=1.2)]


if __name__ == "__main__":
    run_script({}, race)
