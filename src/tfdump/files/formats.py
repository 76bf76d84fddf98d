"""What a file is, by the bytes that it begins with, and the names of the files that a saved model consists of."""

from enum import Enum
from pathlib import Path

from tfdump.errors import TfdumpError

KERAS_CONFIG, KERAS_METADATA, KERAS_WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
"""The members of a `.keras` archive, or of the folder that it unpacks to."""

SAVED_MODEL_GRAPH, SAVED_MODEL_TEXT = "saved_model.pb", "saved_model.pbtxt"
"""The graph of a SavedModel directory, as bytes or as text."""

_MARK_BYTES = 8


class Mark(Enum):
    """What the first bytes of a file say of its format."""

    EMPTY = "no bytes at all"
    NPY = "an array of NumPy"
    ZIP = "a zip archive: .keras or .npz, for example"
    TFLITE = "a TFLite FlatBuffer, with its identifier at byte 4"
    OTHER = "anything else, HDF5 included"


def mark_of(path: Path, error: type[TfdumpError]) -> Mark:
    """Return what a file begins as; raises `error` where it cannot be read."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_MARK_BYTES)
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror}") from cause
    if not start:
        return Mark.EMPTY
    if start.startswith(b"\x93NUMPY"):
        return Mark.NPY
    if start.startswith(b"PK"):
        return Mark.ZIP
    return Mark.TFLITE if start[4:8] == b"TFL3" else Mark.OTHER
