"""Dump every model of keras.applications and every backbone of keras-hub, and compare each tensor with an eager pass.

    python tests/sweep.py [NAME ...]        # or `make sweep`; a quarter of an hour

Each model gets random weights, is saved to a file, dumped by `tfdump activations FILE`, loaded again by Keras, and
watched by a recorder that shares nothing with tfdump's (eager_recorder.py). It is dumped once more with the scores of
its attention, its preactivations and its recurrent states, which may change no other number; scores have to sum to 1,
and an attention layer without any has to be named. What each tensor tells of its inputs is walked over: tensors that
follow from no input may not change with other inputs, and each layer of a functional model is called once more with the
dumped values of what it read. Prints a row a model and the totals, and
exits with status 1 if one fails. A layer that is not in a dump must be named there; the table counts and names them.
"""

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np

import tfdump
from support import eager_recorder, hub_models, zoo
from support.flow_walk import Graph, Walk, walked

SIZES = {"NASNetLarge": 331, "NASNetMobile": 224, "InceptionV3": 128, "Xception": 128, "InceptionResNetV2": 128}
SMALL, EXAMPLES = 96, 3
FEWER_EXAMPLES = {"SAM3PromptableConceptBackbone": 1}  # whose attention mask has no axis for the heads
COLUMNS = (
    f"{'model':30} {'tensors':>7} {'worst':>7} {'more':>5} {'scores':>6} {'called':>6} {'fixed':>5} "
    f"{'not captured':>12} {'seconds':>7}"
)
CAPTURES = ("--attention", "--preactivation", "--rnn-steps")
SCORES = ":attention_scores"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    `missing` are the reasons of what was not captured, by address; `unsaved` tells what Keras lost by saving. `more`
    counts what the capture options gave, and `scores` those of attention among it. `called` counts the layers that gave
    their dumped outputs when they were called with what they read, and `fixed` the tensors that follow from no input.
    """

    name: str
    tensors: int
    worst: float
    missing: Mapping[str, str]
    seconds: float
    unsaved: str = ""
    more: int = 0
    scores: int = 0
    called: int = 0
    fixed: int = 0


@dataclass
class Totals:
    """What the whole sweep came to."""

    passed: int = 0
    tensors: int = 0
    missing: int = 0
    more: int = 0
    scores: int = 0
    called: int = 0
    failed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def names() -> list[str]:
    """The constructors of keras.applications and the backbones of keras-hub."""
    return [*(name for name in dir(keras.applications) if name[0].isupper()), *hub_models.names()]


def built(name: str) -> Any:
    """Return a model; in those of keras-hub, weights that are all zeros or all ones are moved away from them."""
    keras.utils.set_random_seed(0)
    if name not in hub_models.MODELS:
        size = SIZES.get(name, SMALL)
        return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
    model = hub_models.MODELS[name]()
    rng = np.random.default_rng(1)
    statistics = [weight for weight in model.non_trainable_weights if weight.name.startswith("moving_")]
    for weight in [*model.trainable_weights, *statistics]:
        value = np.asarray(weight)
        if value.dtype.kind == "f" and value.size and np.ptp(value) == 0:
            weight.assign(value + 0.05 * rng.uniform(-1, 1, value.shape).astype(value.dtype))
    return model


def inputs_of(name: str, model: Any, seed: int = 0) -> dict[str, Any]:
    """Return an input; pictures for keras.applications, whose untrained depths blow up anything larger."""
    x = hub_models.sample_inputs(model, FEWER_EXAMPLES.get(name, EXAMPLES), seed)
    if name in hub_models.MODELS:
        return x
    return {key: np.random.default_rng(seed).random(value.shape, dtype="float32") for key, value in x.items()}


def in_memory(model: Any, x: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the same of a model that Keras cannot load again."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always", tfdump.TfdumpWarning)
        values = tfdump.activations(model, x)
    missing = {}
    for note in (str(warning.message) for warning in noted):
        if note.startswith("not captured: "):
            addresses, _, reason = note.removeprefix("not captured: ").rstrip(")").partition(" (")
            missing |= dict.fromkeys(addresses.split(", "), reason)
    return values, missing


def captured(plain: zoo.Dumped, full: zoo.Dumped) -> tuple[int, int]:
    """Return how many tensors the capture options gave, and how many of them are attention scores.

    Raises AssertionError where another number changed, or scores do not sum to 1.
    """
    changed = [
        address
        for before, after in ((plain.values, full.values), (plain.outputs, full.outputs))
        for address, value in before.items()
        if not eager_recorder.identical(value, after[address])
    ]
    assert not changed, f"the capture options change {changed}"
    scores = [address for address in full.values if SCORES in address]
    for address in scores:
        sums = np.asarray(full.values[address], "float64").sum(-1)
        assert np.allclose(sums, 1, atol=2e-3), f"{address} sums to {sums.min():.3f} .. {sums.max():.3f}"
    return len(full.values) - len(plain.values), len(scores)


def swept(name: str, folder: Path) -> Row:
    """Dump one model and compare; raises whatever goes wrong."""
    start = time.perf_counter()
    zoo.fresh()
    path = folder / "model.keras"
    model = built(name)
    x, other = inputs_of(name, model), inputs_of(name, model, seed=1)
    outputs = model(hub_models.argument(model, x), training=False)
    model.save(path)
    unsaved, more, scores = "", 0, 0
    graphs: list[Graph] = []
    try:
        keras.models.load_model(path, compile=False)
    except Exception as error:  # what Keras cannot load again is dumped as it is
        unsaved = f"in memory, because Keras cannot load what it saved: {str(error).strip().splitlines()[0]}"
        values, missing = in_memory(model, x)
    else:
        del model
        options = ("--import", "keras_hub", "--batch-size", EXAMPLES)
        dump = zoo.dumped(path, x, *options)
        more, scores = captured(dump, zoo.dumped(path, x, *options, *CAPTURES))
        for arrays in (x, other):
            zoo.dumped(path, arrays, *options, "--save-inputs")
            graphs.append(Graph.of(folder / f"{path.name}.h5"))
        values, missing = dump.values, dump.missing
        zoo.fresh()
        model = keras.models.load_model(path, compile=False)
    calls, again = eager_recorder.record(model, hub_models.argument(model, x), training=False)
    try:
        for expected, dump in zip(keras.tree.flatten(outputs), keras.tree.flatten(again), strict=True):
            eager_recorder.difference(np.asarray(dump), expected, "its output")
    except AssertionError as error:  # what is compared below is the model as it was loaded
        unsaved = f"the model that Keras loads is not the one that it saved: {error}"
    compared = eager_recorder.compare(values, calls, list(missing))
    walk = walked(*graphs, model) if graphs else Walk(0, (), 0)
    seconds, fixed = time.perf_counter() - start, len(walk.constants)
    return Row(name, compared.tensors, compared.worst, missing, seconds, unsaved, more, scores, walk.called, fixed)


def show(row: Row) -> None:
    """Print a row, and below it what was not captured, a line a reason."""
    figures = f"{row.tensors:7} {row.worst:7.1e} {row.more:5} {row.scores:6} {row.called:6} {row.fixed:5}"
    figures += f" {len(row.missing):12} {row.seconds:7.1f}"
    print(f"{row.name:30} {figures}", flush=True)
    if row.unsaved:
        print(f"    {row.unsaved}", flush=True)
    for reason in dict.fromkeys(row.missing.values()):
        addresses = [address for address, why in row.missing.items() if why == reason]
        print(f"    {reason}: {', '.join(addresses)}", flush=True)


def main_sweep(names_asked: list[str]) -> int:
    """Sweep; return the exit status."""
    warnings.simplefilter("ignore")  # advice to the authors of the models
    totals = Totals()
    print(COLUMNS, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in names_asked or names():
            if name.endswith("Backbone") and name not in hub_models.MODELS:
                totals.unknown.append(name)
                print(f"{name:30} no tiny configuration in hub_models.py", flush=True)
                continue
            try:
                row = swept(name, Path(folder))
            except Exception as error:  # a row in the table, and the exit status
                totals.failed.append(name)
                lines = str(error).strip().splitlines() or [""]
                print(f"{name:30} FAILED  {type(error).__name__}: {lines[0]}", flush=True)
                continue
            totals.passed += 1
            totals.tensors += row.tensors
            totals.missing += len(row.missing)
            totals.more += row.more
            totals.scores += row.scores
            totals.called += row.called
            show(row)
    print(f"{totals.passed} passed with {totals.tensors} tensors, {totals.missing} not captured and named")
    print(f"{totals.more} tensors more by the capture options, {totals.scores} of them attention scores")
    print(f"{totals.called} layers called once more with what they read")
    print(f"{len(totals.failed)} failed{': ' * bool(totals.failed)}{', '.join(totals.failed)}")
    print(f"{len(totals.unknown)} without a configuration{': ' * bool(totals.unknown)}{', '.join(totals.unknown)}")
    return int(bool(totals.failed))


if __name__ == "__main__":
    sys.exit(main_sweep(sys.argv[1:]))
