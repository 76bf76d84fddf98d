"""Run every benchmark; write all rows to RESULTS.md and a few of them to the README, with the date and the machine.

    python benchmarks/run.py [SCRIPT...]

With names of scripts, only these run and nothing is written.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from measure import Row, table

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- benchmarks: written by make bench -->", "<!-- end of benchmarks -->"

SHOWN = (
    ("ResNet50, 32 examples", "the larger limit (bare forward pass)"),
    ("ResNet50, 32 examples", "sub-model, predict, h5py"),
    ("ResNet50, 32 examples: memory", "sub-model, predict, h5py"),
    ("tabular model, 1,000,000 rows", "bare loop + raw write"),
    ("diff of 2 x 1 GB, off", "h5py, np.abs(a - b).max()"),
)
"""The rows that the README shows: the race, and what tfdump runs against."""

SCRIPTS = (
    "start_up",
    "all_outputs",
    "few_layers",
    "data_flow",
    "operations",
    "many_rows",
    "tables",
    "exports",
    "merging",
    "statistics_only",
    "until_nan",
    "memory",
    "large_inputs",
    "image_folder",
    "compression",
    "scaling",
    "workers",
    "check",
    "ranges",
    "diff",
    "pairing",
    "side_by_side",
    "onnx_peer",
    "gradients",
    "summed_gradients",
    "safety",
    "per_example",
    "callback",
)


def run(script: str) -> list[Row]:
    """Run one script, which prints its table; return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "rows.json"
        start = time.perf_counter()
        subprocess.run([sys.executable, HERE / f"{script}.py", "--json", results], check=True)
        print(f"{script} took {time.perf_counter() - start:.0f} s", file=sys.stderr)
        return [Row(**json.loads(line)) for line in results.read_text().splitlines()]


def machine() -> str:
    """Return what ran the benchmarks, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "h5py", "numpy"))
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({platform.machine()}), {memory:.0f} GiB, Python {platform.python_version()}, {versions}"


def shown_rows(rows: list[Row]) -> list[Row]:
    """Return the rows that the README shows, in its order; which limit is the larger one differs by machine."""
    return [row for race, against in SHOWN for row in rows if row.race == race and _same(row.against, against)]


def _same(against: str, wanted: str) -> bool:
    return against.partition(" (")[0] == wanted.partition(" (")[0]


def between_marks(text: str, block: str) -> str:
    """Return a text whose part between the marks is the block."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def main() -> None:
    """Run them."""
    scripts = sys.argv[1:]
    rows = [row for script in SCRIPTS if not scripts or script in scripts for row in run(script)]
    if scripts:
        return
    measured = f"Measured on {datetime.datetime.now().date()}: {machine()}."
    (HERE / "RESULTS.md").write_text(f"# Benchmarks\n\n{measured}\n\n{table(rows)}\n")
    README.write_text(between_marks(README.read_text(), f"{measured}\n\n{table(shown_rows(rows))}"))


if __name__ == "__main__":
    main()
