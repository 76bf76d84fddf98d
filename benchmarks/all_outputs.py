"""Every layer's output: tfdump against a sub-model, an eager loop with hooks, and the two physical limits.

    python benchmarks/all_outputs.py

ResNet50 at 224x224, transformers and an LSTM. The limits are the bare forward pass and a raw write of the same
bytes; start-up and loading do not count, tracing does. 256 pictures need 40 GB of disk, and are left out without it.

The bare forward pass is one that computes the same bits as tfdump and as Keras run eagerly. A `tf.function` by itself
lets TensorFlow rewrite what nobody asks for (`x ** 3` as `x * x * x`, in the GELU of BERT half of the time): faster,
with other last bits, which change with what is asked for. It is raced as "rewritten forward pass", without a goal.

Two cores that compute cannot write at the same time for nothing: "both limits, one after the other" is the pass and
then the write, without any overlap.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from contestants import MAKERS, bare_forward, hooked_eager, submodel_predict, tfdump_activations
from measure import Row, compare, contest, contest_here, run_script, write_raw


@dataclass(frozen=True)
class Race:
    """A race: its name, the model and the arguments that make it, the batch size and the other contestants.

    With `apart`, every contestant runs in a separate process, whose memory is measured; else all run in this one.
    """

    name: str
    model: str
    arguments: dict[str, Any]
    batch: int
    others: tuple[str, ...] = ()
    rounds: int = 3
    apart: bool = False


FORWARD, REWRITTEN, RAW = "bare forward pass", "rewritten forward pass", "raw write"
SUBMODEL, HOOKS = "sub-model, predict, h5py", "eager loop with hooks, h5py"

RACES = (
    Race("ResNet50, 32 examples", "ResNet50", {"examples": 32}, 2, (SUBMODEL, HOOKS), rounds=2, apart=True),
    Race("BERT tiny, 2,048 examples", "BERT", {"examples": 2048}, 64, (REWRITTEN, SUBMODEL)),
    Race("BERT small, 256 examples", "BERT", {"examples": 256, "layers": 4, "width": 512}, 16),
    Race("LSTM, 10,000 examples", "LSTM", {"examples": 10_000}, 256, (SUBMODEL,)),
    Race("ResNet50, 256 examples, one round", "ResNet50", {"examples": 256}, 8, rounds=1, apart=True),
)

GOALS = {SUBMODEL: 1 / 3}
"""The largest acceptable ratio to the others, on ResNet50."""

MOST_ROOM = 6_000_000_000
"""The most bytes of memory that tfdump and the raw write may use when they start."""


def tfdump_route(folder: Path, batch: str) -> float:
    """Dump the outputs of the model's own layers; only the first time, memory is not at hand for as much."""
    target = folder / "tfdump.h5"
    seconds = tfdump_activations(folder, target, _room(folder), depth=1)
    (folder / "size").write_text(str(target.stat().st_size))
    target.unlink()
    return seconds


def raw_route(folder: Path, batch: str) -> float:
    """Write as many bytes as the dump has."""
    return write_raw(folder / "raw", _size(folder), _room(folder))


def _size(folder: Path) -> int:
    """Return the bytes of the dump; 0 before there was one."""
    size = folder / "size"
    return int(size.read_text()) if size.exists() else 0


def _room(folder: Path) -> int:
    return min(_size(folder) + (1 << 30), MOST_ROOM)


def other_route(route: Any, times: int) -> Any:
    """Return a contestant that writes another file, and needs so many times its size of memory."""

    def run(folder: Path, batch: str) -> float:
        seconds: float = route(folder, folder / "other.h5", int(batch), times * _size(folder) + (1 << 30))
        (folder / "other.h5").unlink()
        return seconds

    return run


ROUTES = {
    "tfdump": tfdump_route,
    FORWARD: lambda folder, batch: bare_forward(folder, int(batch), rewrites=False),
    RAW: raw_route,
    REWRITTEN: lambda folder, batch: bare_forward(folder, int(batch)),
    SUBMODEL: other_route(submodel_predict, 2),
    HOOKS: other_route(hooked_eager, 1),
}


def race_of(race: Race, folder: Path) -> list[Row]:
    """Make one model, and race on it."""
    MAKERS[race.model](folder, **race.arguments)
    names = ("tfdump", FORWARD, RAW, *race.others)
    megabytes: dict[str, list[float]] = {}
    if race.apart:
        samples = contest(__file__, names, folder, race.batch, rounds=race.rounds)
        seconds = {name: sample.seconds for name, sample in samples.items()}
        megabytes = {name: sample.megabytes for name, sample in samples.items()}
    else:
        routes = {name: partial(ROUTES[name], folder, str(race.batch)) for name in names}
        seconds = contest_here(routes, race.rounds)
    goals = GOALS if race.model == "ResNet50" else {}
    ours = seconds["tfdump"]
    rows = against_limits(race.name, ours, seconds[FORWARD], seconds[RAW])
    rows += [compare(race.name, ours, other, seconds[other], goal=goals.get(other)) for other in race.others]
    if SUBMODEL in megabytes:
        mine, theirs = megabytes["tfdump"], megabytes[SUBMODEL]
        rows.append(compare(f"{race.name}: memory", mine, SUBMODEL, theirs, "MB", 0.2))
    return rows


def race() -> list[Row]:
    """Race on every model."""
    rows = []
    for one in RACES:
        with tempfile.TemporaryDirectory() as folder:
            if one.arguments["examples"] == 256 and shutil.disk_usage(folder).free < 45 << 30:
                print(f"{one.name}: left out, it needs 45 GB of disk", file=sys.stderr)
                continue
            print(f"{one.name}:", file=sys.stderr)
            rows += race_of(one, Path(folder))
    return rows


def against_limits(name: str, ours: list[float], forward: list[float], raw: list[float]) -> list[Row]:
    """Compare with the larger of the two limits, round by round, and with both one after the other."""
    larger = [max(pair) for pair in zip(forward, raw, strict=True)]
    which = FORWARD if sum(forward) > sum(raw) else RAW
    both = [sum(pair) for pair in zip(forward, raw, strict=True)]
    return [
        compare(name, ours, f"the larger limit ({which})", larger, goal=1.15),
        compare(name, ours, "both limits, one after the other", both),
    ]


if __name__ == "__main__":
    run_script(ROUTES, race)
