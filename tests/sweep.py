"""Dump every model of keras.applications and compare each tensor with an eager pass; `make sweep`, some minutes.

    python tests/sweep.py [NAME ...]

The models have random weights and a small input. Prints a row a model, and exits with status 1 if one fails.
"""

import gc
import os
import sys
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np

import tfdump
from tfdump.address import encode

SIZES = {"NASNetLarge": 331, "NASNetMobile": 224, "InceptionV3": 128, "Xception": 128, "InceptionResNetV2": 128}
SMALL = 96


def names() -> list[str]:
    """The constructors of keras.applications."""
    return [name for name in dir(keras.applications) if name[0].isupper()]


def worst_difference(name: str) -> tuple[int, float]:
    """Return how many tensors a model gave, and the worst difference from the eager pass, relative to the largest."""
    size = SIZES.get(name, SMALL)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
    x = np.random.default_rng(0).random((3, size, size, 3), dtype="float32")
    got = tfdump.activations(model, x)
    nodes = [node for node in model.operations if not isinstance(node, keras.layers.InputLayer)]
    eager = keras.Model(model.inputs, [node.output for node in nodes])(x, training=False)
    worst = 0.0
    for node, tensor in zip(nodes, eager, strict=True):
        value, expected = got.pop(encode(node.name)), np.asarray(tensor)
        if value.shape != expected.shape or value.dtype != expected.dtype:
            raise AssertionError(f"{node.name} is {value.dtype}{value.shape}, not {expected.dtype}{expected.shape}")
        difference = np.abs(value.astype("float64") - expected.astype("float64")).max()
        worst = max(worst, float(difference / max(np.abs(expected).max(), 1e-30)))
    if inner := [address for address in got if "." not in address]:
        raise AssertionError(f"tensors that are no node of the model: {inner}")
    if worst > 1e-4:
        raise AssertionError(f"differs by {worst:.1e}")
    return len(nodes), worst


def main() -> int:
    """Sweep."""
    warnings.simplefilter("ignore")  # advice to the authors of the models
    failures = 0
    for name in sys.argv[1:] or names():
        keras.utils.clear_session()
        gc.collect()
        start = time.perf_counter()
        try:
            count, worst = worst_difference(name)
        except Exception as error:  # a row in the table, and the exit status
            failures += 1
            print(f"{name:22} FAILED  {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
            continue
        print(f"{name:22} {count:5} tensors  worst {worst:.1e}  {time.perf_counter() - start:5.1f} s", flush=True)
    print(f"{failures} failed")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
