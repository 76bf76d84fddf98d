"""Run every benchmark, and write their tables, with the date and the machine, into RESULTS.md and the README.

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

SCRIPTS = (
    "start_up",
    "all_outputs",
    "few_layers",
    "many_rows",
    "statistics_only",
    "memory",
    "large_inputs",
    "compression",
    "scaling",
    "check",
    "diff",
    "gradients",
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
    block = f"Measured on {datetime.datetime.now().date()}: {machine()}.\n\n{table(rows)}"
    (HERE / "RESULTS.md").write_text(f"# Benchmarks\n\n{block}\n")
    README.write_text(between_marks(README.read_text(), block))


if __name__ == "__main__":
    main()
