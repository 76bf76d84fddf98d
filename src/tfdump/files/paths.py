"""What a path leads to, found out without a traceback."""

import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from tfdump.errors import TfdumpError, with_article

KNOWN_ENDINGS = {
    ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file",
    ".npy": "a NumPy array",
    ".npz": "an archive of NumPy arrays",
    ".csv": "a CSV file",
    ".tsv": "a TSV file",
    ".h": "a C header",
    ".json": "a JSON file",
    ".jsonl": "a JSON file",
    ".xml": "an XML file",
    ".yaml": "a YAML file",
    ".yml": "a YAML file",
    ".parquet": "a Parquet file",
    ".feather": "a Feather file",
    ".arrow": "an Arrow file",
    ".safetensors": "a safetensors file",
    ".zarr": "a Zarr store",
    ".nc": "a NetCDF file",
    ".mat": "a MATLAB file",
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".onnx": "an ONNX model",
    ".keras": "a Keras model",
    ".tflite": "a TFLite model",
    ".tfrecord": "a TFRecord file",
    ".xlsx": "an Excel file",
    ".html": "a web page",
    ".htm": "a web page",
    ".pdf": "a PDF file",
    ".png": "a picture",
    ".svg": "a picture",
    ".jpg": "a picture",
    ".jpeg": "a picture",
    ".gif": "a picture",
    ".zip": "a zip archive",
    ".gz": "a gzip file",
}
"""The format that the ending of a file name stands for."""


def refuse_other_ending(path: Path, ours: Sequence[str], error: type[TfdumpError]) -> None:
    """Raise `error` if the name of an output ends as files of another format do; `ours` are the endings that fit."""
    ending = path.suffix.lower()
    if ending in KNOWN_ENDINGS and ending not in ours:
        raise error(
            f"'{path.name}' is the name of {KNOWN_ENDINGS[ending]}, which is not what is written there "
            f"(end it in {', '.join(ours)})"
        )


def as_argument(path: Path | str) -> str:
    """Return a path as an argument in a shell, for advice that can be copied."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def check_path(path: Path, what: str, error: type[TfdumpError]) -> None:
    """Raise `error` unless `path` is a regular file or a folder; `what` is what it should be, for the message."""
    mode = mode_of(path, what, error)
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise error(f"{path} is not a regular file, and {with_article(what)} cannot be read from anything else")


def mode_of(path: Path, what: str, error: type[TfdumpError]) -> int:
    """Return the mode of a path; raises `error` if nothing is there or if it cannot be examined."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"no such {what}: {path}") from None
    except (OSError, ValueError) as cause:
        raise error(f"cannot look at {path}: {getattr(cause, 'strerror', None) or cause}") from None


def exists(path: Path) -> bool:
    """Tell whether something is there that can be examined."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
