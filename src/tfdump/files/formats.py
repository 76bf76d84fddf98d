"""What a file is, by the bytes that it begins with, and the names of the files that a saved model consists of."""

from enum import Enum
from pathlib import Path

from tfdump.errors import TfdumpError

KERAS_CONFIG, KERAS_METADATA, KERAS_WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
"""The members of a `.keras` archive, or of the folder that it unpacks to."""

SAVED_MODEL_GRAPH, SAVED_MODEL_TEXT = "saved_model.pb", "saved_model.pbtxt"
"""The graph of a SavedModel directory, as bytes or as text."""

ONNX_SUFFIX = ".onnx"
"""How the names of ONNX models end; protocol buffers have no mark of their own."""

_MARK_BYTES = 8


class Mark(Enum):
    """What the first bytes of a file say of its format."""

    EMPTY = "no bytes at all"
    NPY = "an array of NumPy"
    ZIP = "a zip archive: .keras or .npz, for example"
    HDF5 = "an HDF5 file without a block before it"
    PICKLE = "a pickle of Python, since its protocol 2"
    TFLITE = "a TFLite FlatBuffer, with its identifier at byte 4"
    OTHER = "anything else"


_STARTS = {b"\x93NUMPY": Mark.NPY, b"PK": Mark.ZIP, b"\x89HDF": Mark.HDF5, b"\x80": Mark.PICKLE}


def mark_of(path: Path, error: type[TfdumpError]) -> Mark:
    """Return what a file begins as; raises `error` where it cannot be read."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_MARK_BYTES)
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror}") from cause
    if not start:
        return Mark.EMPTY
    if start[4:8] == b"TFL3":
        return Mark.TFLITE
    return next((mark for beginning, mark in _STARTS.items() if start.startswith(beginning)), Mark.OTHER)
