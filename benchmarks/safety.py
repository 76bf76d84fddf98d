"""What `--checksums` and `--resume` cost: all activations of ResNet50 without them, with each, and gone on with.

    python benchmarks/safety.py [EXAMPLES]

Each contestant runs in a process of its own, several times; start-up and loading do not count. Prints medians, and
ratios to the plain dump. `--resume` writes everything twice, so it needs twice the room, and a disk that keeps up.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from activations import make_files
from measure import measure, print_race, report


def dump(folder: Path, name: str, checksums: bool = False, resume: bool = False, keep: bool = False) -> float:
    """Dump everything, as the command line does; with `keep`, leave the journal as if the run had just been killed."""
    from contextlib import nullcontext

    from tfdump.activation_run import ActivationOptions, open_activations
    from tfdump.dump.journal import Journal
    from tfdump.inputs.arguments import open_argument, parse_argument
    from tfdump.model.load import load_model

    loaded = load_model(folder / "model.keras")
    given = open_argument(parse_argument(str(folder / "x.npy")))
    start = time.perf_counter()
    with (
        open_activations(loaded, given, ActivationOptions(checksums=checksums), print) as run,
        Journal(folder / f"{name}.partial", {}) if resume else nullcontext() as journal,
        run.open_writer(folder / f"{name}.h5", force=True) as writer,
    ):
        run.write(writer, "", journal=journal)
        if journal is not None and not keep:
            journal.remove()
    return time.perf_counter() - start


ROUTES = {
    "plain": lambda folder: dump(folder, "d"),
    "--checksums": lambda folder: dump(folder, "d", checksums=True),
    "--resume": lambda folder: dump(folder, "d", resume=True),
    "--resume, journal left": lambda folder: dump(folder, "left", resume=True, keep=True),
    "gone on with, all is there": lambda folder: dump(folder, "left", resume=True, keep=True),
}


def main() -> None:
    """Race."""
    if len(sys.argv) == 3:
        report(ROUTES[sys.argv[1]](Path(sys.argv[2])))
        return
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, examples)
        rounds = {"--resume, journal left": 1}
        results = {route: measure(__file__, route, folder, rounds=rounds.get(route, 3)) for route in ROUTES}
        size = (folder / "d.h5").stat().st_size
    print(f"ResNet50 at 224x224, every layer's output, {examples} examples, {size / 1e9:.2f} GB")
    print_race(results, "plain")


if __name__ == "__main__":
    main()
