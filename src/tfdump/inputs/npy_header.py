"""The header of a `.npy` file: shape, order and dtype."""

import lzma
import tokenize
import zipfile
import zlib
from typing import IO, Any

import numpy as np

from tfdump.errors import InputError, reason_of

STREAM_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""The errors of reading a damaged file or archive."""

ArrayHeader = tuple[tuple[int, ...], bool, np.dtype[Any]]
"""The shape of an array, whether it is in Fortran order, and its dtype."""


def read_header(stream: IO[bytes], label: str) -> ArrayHeader:
    """Return shape, order and dtype of a `.npy`; version 3 differs from 2 only in the encoding of field names."""
    readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    readers[3] = readers[2]
    try:
        major, _ = np.lib.format.read_magic(stream)
        if major not in readers:
            raise ValueError(f"unknown version {major}")
        shape, fortran, dtype = readers[major](stream)
        if any(size < 0 for size in shape):
            raise ValueError(f"negative shape {shape}")
    except (ValueError, SyntaxError, tokenize.TokenError, *STREAM_ERRORS) as cause:
        reason = reason_of(cause) if str(cause) else "no header"
        raise InputError(f"{label} is not a .npy array ({reason})") from None
    return tuple(shape), bool(fortran), np.dtype(dtype)
