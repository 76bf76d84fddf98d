"""What `--checksums` and `--resume` cost: all activations of ResNet50 without them, and with each.

    python benchmarks/safety.py

All in one process, several times; start-up and loading do not count. `--resume` writes everything twice, so it needs
twice the room, and a disk that keeps up.
"""

import os
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from contestants import make_resnet
from measure import Row, compare, contest_here, run_script

EXAMPLES = 4


def dump(folder: Path, name: str, checksums: bool = False, resume: bool = False) -> float:
    """Dump everything, as the command line does."""
    from contextlib import nullcontext

    from tfdump.dump.journal import Journal
    from tfdump.inputs.arguments import open_argument, parse_argument
    from tfdump.model.loading.load import load_model
    from tfdump.run.activations.options import ActivationOptions
    from tfdump.run.activations.run import open_activations

    loaded = load_model(folder / "model.keras")
    argument = open_argument(parse_argument(str(folder / "x.npy")))
    start = time.perf_counter()
    with (
        open_activations(loaded, argument, ActivationOptions(checksums=checksums), print) as run,
        Journal(folder / f"{name}.partial", {}) if resume else nullcontext() as journal,
        run.open_writer(folder / f"{name}.h5", force=True) as writer,
    ):
        run.write(writer, "", journal=journal)
        if journal is not None:
            journal.remove()
    return time.perf_counter() - start


ROUTES = {
    "plain": lambda folder: dump(folder, "d"),
    "--checksums": lambda folder: dump(folder, "d", checksums=True),
    "--resume": lambda folder: dump(folder, "d", resume=True),
}


def race() -> list[Row]:
    """Race."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_resnet(Path(folder), EXAMPLES)
        routes = {name: partial(route, Path(folder)) for name, route in ROUTES.items()}
        samples = contest_here(routes, rounds=2, warm_up=1)
    for option in ("--checksums", "--resume"):
        name = f"{option}, ResNet50, {EXAMPLES} examples"
        rows.append(compare(name, samples[option], "without it", samples["plain"]))
    return rows


if __name__ == "__main__":
    run_script({}, race)
