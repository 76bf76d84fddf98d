"""Files that a picture reads beside the dump: tokens for attention scores, and the input below a saliency map."""

from pathlib import Path

import numpy as np

from tfdump.dump.reader import Tensor
from tfdump.errors import InputError
from tfdump.files.paths import check_path
from tfdump.inputs.arguments import open_arguments
from tfdump.tensors import Array

_LARGEST = 1 << 24


def tokens_of(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, one token per line; raises InputError where it is not UTF-8 text."""
    check_path(path, "file", InputError)
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is too large for a list of tokens (write one token per line)")
        return tuple(path.read_text("utf-8").splitlines())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeError:
        raise InputError(f"{path} is not UTF-8 text (write one token per line)") from None


def overlay_of(path: Path, tensor: Tensor, example: int) -> Array:
    """Return the input of one example, from an array with one row per example, or from the example itself."""
    arguments = open_arguments((str(path),))
    if len(arguments) != 1:
        raise InputError(f"{path} holds {len(arguments)} arrays (name one: {path}::NAME)")
    reader = arguments[0].reader
    if len(reader.shape) in (len(tensor.shape) - 1, 2) and len(reader.shape) < len(tensor.shape):
        return np.asarray(reader.read(0, reader.shape[0]))
    rows = reader.shape[0] if reader.shape else 0
    if not -rows <= example < rows:
        raise InputError(f"{path} has no example {example}: it has {rows:,} (choose another with --example)")
    row: Array = reader.read(example % rows, example % rows + 1)[0]
    return row
