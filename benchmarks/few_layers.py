"""One early layer, one late layer, ten layers of a deep model over 2,000 examples: tfdump against a truncated model.

    python benchmarks/few_layers.py

ResNet50 at 64x64. The other is a sub-model of just these layers in a `tf.function`, whose outputs go to h5py in
batches of 32 or of 128, whichever took it less time on 2 cores. All in one process, start-up and loading apart;
tracing counts.
"""

import tempfile
import time
from pathlib import Path

from contestants import MAKERS, arrays_of, load, tfdump_activations
from measure import Row, compare, contest_here, run_script

EXAMPLES = 2000

CHOICES = {
    "one early layer": (["conv1_relu"], 32),
    "one late layer": (["avg_pool"], 128),
    "ten layers": ([f"conv{stage}_block{block}_out" for stage in (2, 3, 4, 5) for block in (1, 2, 3)][:10], 128),
}
"""The layers, and the batch size of the other."""


def truncated(folder: Path, layers: list[str], batch: int) -> float:
    """Run a sub-model of some layers and write what it returns."""
    import h5py
    import keras
    import tensorflow as tf

    model = load(folder)
    arrays = arrays_of(folder, model)
    start = time.perf_counter()
    part = keras.Model(model.inputs, [model.get_layer(name).output for name in layers])
    forward = tf.function(lambda inputs: part(inputs, training=False), reduce_retracing=True)
    with h5py.File(folder / "other.h5", "w") as file:
        for first in range(0, EXAMPLES, batch):
            outputs = forward({name: tf.constant(array[first : first + batch]) for name, array in arrays.items()})
            for name, tensor in zip(layers, outputs if len(layers) > 1 else [outputs], strict=True):
                if name not in file:
                    tail = tensor.shape[1:]
                    file.create_dataset(name, (EXAMPLES, *tail), "f4", chunks=(batch, *tail))
                file[name][first : first + batch] = tensor.numpy()
    return time.perf_counter() - start


def race() -> list[Row]:
    """Race with every choice of layers."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        MAKERS["ResNet50"](folder, examples=EXAMPLES, size=64)
        for choice, (layers, batch) in CHOICES.items():
            samples = contest_here(
                {
                    "tfdump": lambda layers=layers: tfdump_activations(folder, folder / "o.h5", layers=layers),
                    "truncated": lambda layers=layers, batch=batch: truncated(folder, layers, batch),
                },
                rounds=2,
            )
            race = f"{choice} of ResNet50"
            rows.append(compare(race, samples["tfdump"], "truncated sub-model, h5py", samples["truncated"], goal=1.1))
    return rows


if __name__ == "__main__":
    run_script({}, race)
