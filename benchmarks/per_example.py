"""The gradient of each example: tfdump against the batch gradient and against a Python loop over examples.

    python benchmarks/per_example.py

A small CNN, batches of 64, in one process; seconds a batch once everything is traced.
"""

import os
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from measure import Row, compare, contest_here, elapsed, run_script

from tfdump.inputs.arguments import InputArray
from tfdump.inputs.readers import ArrayReader
from tfdump.model.loading.load import in_memory
from tfdump.run.gradients.options import GradientOptions
from tfdump.run.gradients.run import open_gradients
from tfdump.run.options import RunOptions

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


def race() -> list[Row]:
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

    inputs, targets = tf.constant(x), tf.constant(y)

    def one_by_one() -> None:
        for n in range(BATCH):
            gradient(inputs[n : n + 1], targets[n : n + 1])

    options = GradientOptions(
        losses=("SparseCategoricalCrossentropy",), from_logits=True, per_example=True, run=RunOptions(BATCH)
    )
    arguments = [("x", [InputArray(None, ArrayReader(x, "x"))]), ("y", [InputArray(None, ArrayReader(y, "y"))])]
    with open_gradients(in_memory(model), arguments, None, [], options, print) as run:
        batch, probe = run.source.read(0, BATCH), run.passes.probe
        samples = contest_here(
            {
                "tfdump": partial(elapsed, lambda: probe.run(batch)),
                "one gradient of the batch": partial(elapsed, lambda: gradient(inputs, targets)),
                "a Python loop over the examples": partial(elapsed, one_by_one),
            },
            rounds=ROUNDS,
            warm_up=WARM_UP,
        )
    ours, *others = samples.items()
    return [compare(f"gradients of {BATCH} examples each", ours[1], name, theirs) for name, theirs in others]


if __name__ == "__main__":
    run_script({}, race)
