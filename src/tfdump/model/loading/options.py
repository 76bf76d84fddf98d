"""The file of a model and how it is loaded, as the options of the command line say. This module loads nothing."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LoadingOptions:
    """The file of a model, the user's modules to import first, and what the file may do.

    `trust` lets the file run its own code, `signature` names one of several, and `max_bytes` limits the memory that
    the file may ask for (None is the default limit). `like` is a Keras model whose addresses a `.tflite` file gets.
    `backend` and `backend_python` are what a Keras file runs on instead of TensorFlow in this process. `threads` is the
    number of threads that the process may use, None for all processors.
    """

    path: Path
    imports: tuple[Path, ...] = ()
    trust: bool = False
    signature: str | None = None
    max_bytes: int | None = None
    like: Path | None = None
    backend: str | None = None
    backend_python: Path | None = None
    threads: int | None = None
