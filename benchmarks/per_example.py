"""The gradient of each example: tfdump against the batch gradient and against a Python loop over examples.

    python benchmarks/per_example.py

A small CNN, batches of 64, in one process; seconds a batch once everything is traced, medians of several rounds.
"""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfdump.gradient_options import GradientOptions
from tfdump.gradient_run import open_gradients
from tfdump.inputs.arguments import Given
from tfdump.inputs.readers import ArrayReader
from tfdump.model.load import in_memory
from tfdump.planning import RunOptions

BATCH, ROUNDS, WARM_UP = 64, 15, 3


def small_cnn() -> keras.Model:
    """Two convolutions and two dense layers, on 28x28 images."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10),
        ]
    )


def seconds(call: Callable[[], Any]) -> float:
    """Return the median time of one call."""
    times = []
    for number in range(WARM_UP + ROUNDS):
        start = time.perf_counter()
        call()
        if number >= WARM_UP:
            times.append(time.perf_counter() - start)
    return median(times)


def main() -> None:
    """Race."""
    keras.utils.set_random_seed(0)
    model = small_cnn()
    random = np.random.default_rng(0)
    x = random.random((BATCH, 28, 28, 1), dtype="float32")
    y = random.integers(0, 10, BATCH)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(reduce_retracing=True)
    def gradient(inputs, targets):
        with tf.GradientTape() as tape:
            value = loss(targets, model(inputs, training=False))
        return tape.gradient(value, model.trainable_variables)

    options = GradientOptions(
        losses=("SparseCategoricalCrossentropy",), from_logits=True, per_example=True, run=RunOptions(BATCH)
    )
    arguments = [("x", [Given(None, ArrayReader(x, "x"))]), ("y", [Given(None, ArrayReader(y, "y"))])]
    inputs, targets = tf.constant(x), tf.constant(y)
    with open_gradients(in_memory(model), arguments, None, [], options, print) as run:
        batch = run.source.read(0, BATCH)
        results = {
            "tfdump, gradients of 64 examples": seconds(lambda: run.probe.run(batch)),
            "one gradient of the batch": seconds(lambda: gradient(inputs, targets)),
            "Python loop over 64 examples": seconds(
                lambda: [gradient(inputs[n : n + 1], targets[n : n + 1]) for n in range(BATCH)]
            ),
        }
    ours = results["tfdump, gradients of 64 examples"]
    for name, found in results.items():
        print(f"{name:36}{found * 1000:9.1f} ms{found / ours:9.2f} of tfdump")
    print(f"tfdump takes {ours / results['one gradient of the batch']:.2f}x of one gradient of the batch")


if __name__ == "__main__":
    main()
