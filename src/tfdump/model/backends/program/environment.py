"""What the environment of the process has: Keras, a backend, and their versions."""

import importlib
import importlib.metadata
import importlib.util
import re
import sys
import warnings
from typing import Any

from tfdump.errors import ModelError

_INSTALL = {"jax": "'jax[cpu]'", "torch": "torch", "tensorflow": "tensorflow"}
"""What `pip install` takes for each backend."""

_LOWEST_KERAS = (3, 8)


def start_keras(backend: str, seed: int) -> dict[str, Any]:
    """Import Keras on its backend and seed it; return the versions.

    Raises ModelError where a package is missing, or Keras is too old.
    """
    missing = [name for name in ("numpy", "h5py", "keras", backend) if importlib.util.find_spec(name) is None]
    if missing:
        names, packages = " and ".join(missing), " ".join(_INSTALL.get(name, name) for name in missing)
        raise ModelError(
            f"--backend {backend} needs {names} in the environment of {sys.executable} (install it there: pip install "
            f"{packages}, or name the Python of an environment that has it: --backend-python PATH)"
        )
    _check_keras()
    warnings.simplefilter("ignore")  # Keras warns programmers
    try:
        import keras
    except Exception as cause:  # a library that does not fit the others may raise anything
        raise ModelError(
            f"Keras on {backend} cannot be imported by {sys.executable}: {type(cause).__name__}: {cause}"
        ) from cause
    running = keras.backend.backend()
    if running != backend:
        raise ModelError(f"Keras runs on {running} in {sys.executable}, but --backend {backend} was asked for")
    keras.utils.set_random_seed(seed)
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)  # so that the layers in a `call` that is a tf.function are recorded
    return {
        "backend": backend,
        "backend_version": str(getattr(sys.modules[backend], "__version__", "")),
        "keras_version": keras.__version__,
    }


def _check_keras() -> None:
    try:
        version = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:  # a build under another name
        return
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < _LOWEST_KERAS:
        lowest = ".".join(map(str, _LOWEST_KERAS))
        raise ModelError(
            f"{sys.executable} has Keras {version}, and tfdump needs Keras {lowest} or newer there (upgrade it: pip "
            "install --upgrade keras)"
        )
