"""model.fit with tfdump.DumpCallback against plain fit: a step between two dumps, and a dump.

    python benchmarks/callback.py

Gradients of all weights on 16 examples. The steps of the two alternate in blocks in one process, so that both see the
same machine. A dump at every step shows what a dump costs, and a callback that traces anew for each what tracing once
saves.
"""

import os
import tempfile
import time
import warnings
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from measure import Row, compare, run_script

import tfdump

BATCH, STEPS, ROUNDS = 32, 26, 3
PLAIN = "plain fit"


class Clock(keras.callbacks.Callback):
    """Takes the time from one step to the next; the first ones of a training compile and do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float] = []
        self._last = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Note when the step before was over, whatever callbacks did after it."""
        now = time.perf_counter()
        if batch > 5:
            self.steps.append(now - self._last)
        self._last = now


def make_model(small: bool) -> keras.Model:
    """Return a network of 3 layers, whose steps take about a millisecond, or a convolutional one of 20."""
    keras.utils.set_random_seed(0)
    stack: list[Any] = [keras.Input((32, 32, 3))]
    for _ in range(1 if small else 6):
        stack += [layers.Conv2D(4 if small else 16, 3, strides=4 if small else 1, padding="same")]
        stack += [] if small else [layers.BatchNormalization(), layers.Activation("relu")]
    model = keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class Retraced(tfdump.DumpCallback):
    """Traces anew for every dump, for comparison."""

    def reach(self, moment: Any) -> None:
        """Forget the traced model first."""
        self._probed = None
        super().reach(moment)


def race_of(small: bool) -> list[Row]:
    """Measure one model."""
    rng = np.random.default_rng(0)
    x = rng.random((BATCH * STEPS, 32, 32, 3), dtype="float32")
    y = rng.integers(0, 10, len(x))
    model = make_model(small)
    arguments = {"x": x[:16], "y": y[:16], "wrt": "weights"}
    with tempfile.TemporaryDirectory() as folder:
        routes = {
            PLAIN: [],
            "between dumps, on='epoch'": [tfdump.DumpCallback(f"{folder}/e", **arguments, overwrite=True)],
            "between dumps, on='batch'": [tfdump.DumpCallback(f"{folder}/b", **arguments, on="batch", every=10**9)],
            "a dump at every step": [
                tfdump.DumpCallback(f"{folder}/s", **arguments, on="batch", overwrite=True, keep=2)
            ],
            "traced anew for each dump": [
                Retraced(f"{folder}/r", **arguments, on="batch", every=10, overwrite=True, keep=2)
            ],
        }
        seconds: dict[str, list[float]] = {name: [] for name in routes}
        for number in range(ROUNDS):
            names = list(routes)
            for name in names[number % len(names) :] + names[: number % len(names)]:  # none is always the first
                callbacks = routes[name]
                clock = Clock()
                model.fit(x, y, batch_size=BATCH, verbose=0, shuffle=False, callbacks=[*callbacks, clock])
                steps = [step for step in clock.steps if "anew" not in name or step > 2 * median(clock.steps)]
                seconds[name].append(median(steps))
    plain = seconds.pop(PLAIN)
    race = f"a step of fit, {len(model.layers)} layers"
    return [compare(f"{race}: DumpCallback, {name}", times, PLAIN, plain) for name, times in seconds.items()]


def race() -> list[Row]:
    """Race a small and a larger model."""
    warnings.simplefilter("ignore", tfdump.TfdumpWarning)
    return race_of(small=True) + race_of(small=False)


if __name__ == "__main__":
    run_script({}, race)
