"""Turns values into bytes and back, for the journal, which stores them, and for digests, which compare them."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from tfdump.dtypes import STRING, dtype_name, numpy_dtype
from tfdump.tensors import Array, Ragged, Sparse, Value

Form = dict[str, Any] | None
"""The meaning of the bytes of a value, as JSON; None for no value."""

ALIGNMENT = 16
"""Every array begins at a multiple of this many bytes, so that its numbers can be used in place."""


def pack(value: Value | None) -> tuple[Form, list[memoryview]]:
    """Return the form of a value and its bytes, which share the memory of the value where possible.

    An array that repeats one number (`np.broadcast_to`) is stored as that number.
    """
    if value is None:
        return None, []
    if isinstance(value, Ragged):
        return _pack_all("ragged", [value.values, *value.row_splits])
    if isinstance(value, Sparse):
        form, buffers = _pack_all("sparse", [value.values, value.indices])
        return {**form, "dense_shape": list(value.dense_shape)}, buffers
    array = np.asarray(value)
    form = {"dtype": dtype_name(array.dtype), "shape": list(array.shape)}
    if form["dtype"] == STRING:
        texts = [item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogatepass") for item in array.flat]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return form, [_bytes(ends), memoryview(b"".join(texts))]
    if array.size > 1 and not any(array.strides):
        return {**form, "repeated": True}, [_bytes(array.reshape(-1)[:1])]
    return form, [_bytes(array)]


def unpack(form: Form, buffers: Iterable[Array]) -> Value | None:
    """Return the value of a form; `buffers` (uint8) yields its bytes, and is read no further."""
    if form is None:
        return None
    buffers = iter(buffers)
    if "sparse" in form:
        values, indices = (unpack(part, buffers) for part in form["sparse"])
        return Sparse(values, indices, tuple(form["dense_shape"]))  # type: ignore[arg-type]  # both are arrays
    if "ragged" in form:
        values, *splits = (unpack(part, buffers) for part in form["ragged"])
        return Ragged(values, tuple(splits))  # type: ignore[arg-type]  # all are arrays
    shape = tuple(form["shape"])
    if form["dtype"] == STRING:
        ends, data = next(buffers).view(np.int64), next(buffers).tobytes()
        texts = np.empty(len(ends), object)
        texts[:] = [data[start:end] for start, end in pairwise([0, *ends])]
        return texts.reshape(shape)
    array = next(buffers).view(numpy_dtype(form["dtype"]))
    return np.broadcast_to(array[0], shape) if form.get("repeated") else array.reshape(shape)


def fingerprint(values: Iterable[Value | None]) -> int:
    """Return the CRC-32 of values with their dtypes and shapes."""
    crc = 0
    for value in values:
        form, buffers = pack(value)
        crc = zlib.crc32(repr(form).encode(), crc)
        for buffer in buffers:
            crc = zlib.crc32(buffer, crc)
    return crc


def digest(arrays: Mapping[str, Array]) -> str:
    """Return the SHA-256 of arrays with their names, dtypes and shapes."""
    sha256 = hashlib.sha256()
    for name, array in arrays.items():
        form, buffers = pack(array)
        sha256.update(f"{name}\0{form}\0".encode())
        for buffer in buffers:
            sha256.update(buffer)
    return sha256.hexdigest()


def _pack_all(kind: str, arrays: Iterable[Array]) -> tuple[dict[str, Any], list[memoryview]]:
    packed = [pack(array) for array in arrays]
    return {kind: [form for form, _ in packed]}, [buffer for _, buffers in packed for buffer in buffers]


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
