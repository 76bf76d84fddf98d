"""Messages between tfdump and the process that runs a model: JSON, followed by the bytes of arrays.

Nothing in a message is code: JSON and plain bytes, never a pickle.
"""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfdump.dtypes import STRING, dtype_name, numpy_dtype
from tfdump.tensors import Array

_HEAD = struct.Struct("<4sQ")
_MARK = b"tfd1"
_TEXT, _BYTES = "t", "b"
"""How text begins in a message: text, or bytes of which each became one character."""

Write = Callable[[memoryview], object]
"""Writes all bytes of a buffer."""

ReadInto = Callable[[memoryview], bool]
"""Fills a buffer; returns False where the stream ends before."""


class BrokenMessage(Exception):
    """What arrived is not a message."""


@dataclass(frozen=True)
class PipeMessage:
    """Named values that JSON can express, and arrays."""

    fields: dict[str, Any]
    arrays: list[Array] = field(default_factory=list)


def write_message(write: Write, fields: dict[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Write a message; arrays of text go into the JSON, all others follow it as they are in memory."""
    head = json.dumps({"fields": fields, "arrays": [_described(array) for array in arrays]}).encode()
    write(memoryview(_HEAD.pack(_MARK, len(head)) + head))
    for array in arrays:
        if array.size and not array.dtype.hasobject:
            write(memoryview(_plain(np.ascontiguousarray(array))))


def read_message(read_into: ReadInto) -> PipeMessage | None:
    """Read a message; None where the stream ends before its end. Raises BrokenMessage for what is no message."""
    head = bytearray(_HEAD.size)
    if not read_into(memoryview(head)):
        return None
    mark, length = _HEAD.unpack(head)
    if mark != _MARK:
        raise BrokenMessage
    text = bytearray(length)
    if not read_into(memoryview(text)):
        return None
    parts = json.loads(text)
    arrays = []
    for description in parts["arrays"]:
        array = _read_array(description, read_into)
        if array is None:
            return None
        arrays.append(array)
    return PipeMessage(parts["fields"], arrays)


def _described(array: Array) -> dict[str, Any]:
    dtype = dtype_name(array.dtype)
    description: dict[str, Any] = {"dtype": dtype, "shape": list(array.shape)}
    if dtype == STRING:
        description["text"] = [_as_text(item) for item in array.reshape(-1).tolist()]
    return description


def _read_array(description: dict[str, Any], read_into: ReadInto) -> Array | None:
    shape = tuple(description["shape"])
    if description["dtype"] == STRING:
        texts = np.empty(len(description["text"]), object)
        texts[:] = [_from_text(item) for item in description["text"]]
        return texts.reshape(shape)
    array = np.empty(shape, numpy_dtype(description["dtype"]))
    if array.size and not read_into(memoryview(_plain(array))):
        return None
    return array


def _plain(array: Array) -> Any:
    """Return a contiguous array as bytes, of which Python makes a buffer whatever the dtype is."""
    return array.reshape(-1).view(np.uint8)


def _as_text(item: Any) -> str:
    return _BYTES + item.decode("latin-1") if isinstance(item, bytes) else _TEXT + str(item)


def _from_text(item: str) -> str | bytes:
    return item[1:].encode("latin-1") if item.startswith(_BYTES) else item[1:]
