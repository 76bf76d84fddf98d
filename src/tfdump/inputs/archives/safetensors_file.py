"""Arrays in .safetensors files: a header in JSON, and behind it the bytes of all arrays in C order.

The format is that of https://github.com/huggingface/safetensors. Its library maps files into memory; here rows are read
by offset, as those of `.npy` files are.
"""

import json
import math
from pathlib import Path
from typing import Any

from tfdump.dtypes import numpy_dtype
from tfdump.errors import InputError, reason_of
from tfdump.inputs.input_array import OpenReader
from tfdump.inputs.readers import NpyReader, Reader

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64",
}  # fmt: skip
_LENGTH_BYTES = 8
_MOST_HEADER = 100_000_000
"""Bytes that the format allows for a header."""

_METADATA = "__metadata__"


def open_safetensors(path: Path) -> dict[str, OpenReader]:
    """Return what opens the arrays of a .safetensors file, by name; raises InputError for a damaged file."""
    size, header = _header(path)
    arrays = {str(name): entry for name, entry in header.items() if name != _METADATA}
    if not arrays:
        raise InputError(f"{path} holds no arrays")

    def opener(name: str, entry: Any) -> OpenReader:
        return lambda: _reader(path, name, entry, size)

    return {name: opener(name, entry) for name, entry in arrays.items()}


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Return where the bytes of the arrays begin, and the header."""
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            if size > _MOST_HEADER:
                raise ValueError(f"it declares a header of {size} bytes")
            text = stream.read(size)
        if len(text) < size:
            raise ValueError(f"its header has {len(text)} of {size} bytes")
        header = json.loads(text)
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
    except OSError as cause:
        raise InputError(f"cannot read {path}: {cause.strerror}") from None
    except (ValueError, RecursionError) as cause:
        raise InputError(f"{path} is no .safetensors file, or is damaged: {reason_of(cause)}") from None
    return _LENGTH_BYTES + size, header


def _reader(path: Path, name: str, entry: Any, first: int) -> Reader:
    """Return the reader of one array; `first` is where the bytes of the arrays begin. Raises InputError."""
    label = f"{path}::{name}"
    try:
        kind, shape, (start, stop) = str(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
        if not all(type(size) is int and size >= 0 for size in (*shape, start, stop)):
            raise ValueError("a size is no whole number")
    except (TypeError, KeyError, ValueError) as cause:
        raise InputError(f"{label} is damaged: {reason_of(cause)}") from None
    if kind not in _DTYPES:
        raise InputError(f"{label} holds {kind}, which NumPy has not (convert it to F32)")
    dtype = numpy_dtype(_DTYPES[kind])
    if stop - start != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{label} is damaged: {stop - start} bytes are no {kind} of shape {shape}")
    try:
        stream = path.open("rb")
    except OSError as cause:
        raise InputError(f"cannot read {path}: {cause.strerror}") from None
    stream.seek(first + start)
    return NpyReader(stream, label, handle=stream.fileno(), header=(shape, False, dtype))
