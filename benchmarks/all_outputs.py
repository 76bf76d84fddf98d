"""Every layer's output: tfdump against a sub-model, an eager loop with hooks, and the two physical limits.

    python benchmarks/all_outputs.py

ResNet50 at 224x224, a transformer and an LSTM. The limits are the bare forward pass and a raw write of the same
bytes; start-up and loading do not count, tracing does. 256 pictures need 40 GB of disk, and are left out without it.

The bare forward pass is one that computes the same bits as tfdump and as Keras run eagerly. A `tf.function` by itself
lets TensorFlow rewrite what nobody asks for (`x ** 3` as `x * x * x`, in the GELU of BERT half of the time): faster,
with other last bits, which change with what is asked for. It is raced as "rewritten forward pass", without a goal.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from contestants import MAKERS, bare_forward, hooked_eager, submodel_predict, tfdump_activations
from measure import Row, Samples, compare, contest, run_script, write_raw

RACES = (
    ("ResNet50, 32 examples", "ResNet50", {"examples": 32}, 2),
    ("BERT tiny, 4,096 examples", "BERT", {"examples": 4096}, 64),
    ("BERT small, 512 examples", "BERT", {"examples": 512, "layers": 4, "width": 512}, 16),
    ("LSTM, 10,000 examples", "LSTM", {"examples": 10_000}, 256),
)
"""A name, the model, what it is made with, and the batch size of the others."""

LARGE = 256
FURTHER = 2
"""Rounds of tfdump and the limits alone, behind one of everything: the others take long."""


def tfdump_route(folder: Path, batch: str) -> float:
    """Dump the outputs of the model's own layers."""
    seconds = tfdump_activations(folder, folder / "tfdump.h5", depth=1)
    (folder / "size").write_text(str((folder / "tfdump.h5").stat().st_size))
    return seconds


def raw_route(folder: Path, batch: str) -> float:
    """Write as many bytes as the dump has."""
    (folder / "tfdump.h5").unlink(missing_ok=True)
    return write_raw(folder / "raw", int((folder / "size").read_text()))


FORWARD = "bare forward pass"
ROUTES = {
    "tfdump": tfdump_route,
    FORWARD: lambda folder, batch: bare_forward(folder, int(batch), rewrites=False),
    "rewritten forward pass": lambda folder, batch: bare_forward(folder, int(batch)),
    "raw write": raw_route,
    "sub-model, predict, h5py": lambda folder, batch: submodel_predict(folder, folder / "other.h5", int(batch)),
    "eager loop with hooks, h5py": lambda folder, batch: hooked_eager(folder, folder / "other.h5", int(batch)),
}
LIMITS = ("tfdump", FORWARD, "raw write")


def race() -> list[Row]:
    """Race on every model."""
    rows = []
    for name, model, made, batch in RACES:
        with tempfile.TemporaryDirectory() as folder:
            MAKERS[model](Path(folder), **made)
            found = contest(__file__, list(ROUTES), folder, batch, rounds=1)
            again = contest(__file__, LIMITS, folder, batch, rounds=FURTHER)
        ours = found["tfdump"]
        rows.append(against_limits(name, {route: found[route] + again[route] for route in LIMITS}))
        rows.append(_faster(name, ours, found, "sub-model, predict, h5py", 1 / 3 if model == "ResNet50" else None))
        rows.append(_faster(name, ours, found, "eager loop with hooks, h5py", None))
        rows.append(_faster(name, ours, found, "rewritten forward pass", None))
        theirs = found["sub-model, predict, h5py"].megabytes
        rows.append(
            compare(
                f"{name}: memory", ours.megabytes, "sub-model, predict, h5py", theirs, "MB", 0.2 if batch == 2 else None
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < 45 << 30:
            print(f"ResNet50 with {LARGE} examples is left out: it needs 45 GB of disk", file=sys.stderr)
            return rows
        MAKERS["ResNet50"](Path(folder), examples=LARGE)
        write_raw(Path(folder) / "raw", LARGE * (150 << 20))  # blocks of a virtual disk are slow to get at first
        rows.append(against_limits(f"ResNet50, {LARGE} examples", contest(__file__, LIMITS, folder, 8, rounds=1)))
    return rows


def against_limits(name: str, found: dict[str, Samples]) -> Row:
    """Compare with the larger of the two limits, round by round."""
    forward, raw = found[FORWARD].seconds, found["raw write"].seconds
    limit = [max(pair) for pair in zip(forward, raw, strict=True)]
    which = FORWARD if sum(forward) > sum(raw) else "raw write"
    return compare(name, found["tfdump"].seconds, f"the larger limit ({which})", limit, goal=1.15)


def _faster(name: str, ours: Samples, found: dict[str, Samples], route: str, goal: float | None) -> Row:
    return compare(name, ours.seconds, route, found[route].seconds, goal=goal)


if __name__ == "__main__":
    run_script(ROUTES, race)
