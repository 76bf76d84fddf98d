"""Files that go with a picture: the tokens along attention scores, and the input below a saliency map."""

from pathlib import Path

import numpy as np

from tfdump.dump.reader import Tensor
from tfdump.errors import InputError
from tfdump.files.paths import check_path
from tfdump.inputs.arguments import open_arguments
from tfdump.tensors import Array

_LARGEST = 1 << 24


def tokens_of(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, a token each; raises InputError where it is not UTF-8, or no text file."""
    check_path(path, "file", InputError)
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is too large for a list of tokens (write a token a line)")
        return tuple(path.read_text("utf-8").splitlines())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeError:
        raise InputError(f"{path} is not UTF-8 text (write a token a line)") from None


def overlay_of(path: Path, tensor: Tensor, example: int) -> Array:
    """Return the input of one example: of an array with a row an example, or one that is the example itself."""
    given = open_arguments((str(path),))
    if len(given) != 1:
        raise InputError(f"{path} holds {len(given)} arrays (name one: {path}::NAME)")
    reader = given[0].reader
    if len(reader.shape) in (len(tensor.shape) - 1, 2) and len(reader.shape) < len(tensor.shape):
        return np.asarray(reader.read(0, reader.shape[0]))
    rows = reader.shape[0] if reader.shape else 0
    if not -rows <= example < rows:
        raise InputError(f"{path} has {rows:,} examples, and example {example} is wanted")
    row: Array = reader.read(example % rows, example % rows + 1)[0]
    return row
