"""Byte strings that HDF5 strings cannot hold, because they are not UTF-8 or contain NUL: stored as lists of bytes."""

from typing import Any

import h5py
import numpy as np

from tfdump.tensors import Array

BYTES = "bytes"
"""The value of `stored_as` for text that is stored this way."""


def bytes_dtype() -> np.dtype[Any]:
    """Return the dtype of datasets of byte strings: HDF5's variable-length type of uint8."""
    dtype: np.dtype[Any] = h5py.vlen_dtype(np.uint8)
    return dtype


def holds_bytes(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dataset of this dtype holds byte strings."""
    return bool(h5py.check_string_dtype(dtype) is None and h5py.check_vlen_dtype(dtype) == np.uint8)


def encoded(item: Any) -> bytes:
    """Return the bytes of one text in UTF-8; a lone surrogate becomes three bytes, which are not valid UTF-8."""
    return item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogatepass")


def decoded_text(item: Any) -> str:
    """Return text unchanged, and bytes as text in which NUL and invalid UTF-8 are escaped: `\\x00`, `\\xff`."""
    return item.decode("utf-8", "backslashreplace").replace("\0", "\\x00") if isinstance(item, bytes) else str(item)


def are_text(values: Array) -> bool:
    """Tell whether all byte strings of an object array are UTF-8 without NUL, so that HDF5 strings can hold them."""
    try:
        return all(b"\0" not in item and item.decode() is not None for item in values.reshape(-1))
    except UnicodeDecodeError:
        return False


def write_byte_strings(dataset: h5py.Dataset, values: Array, start: int = 0) -> None:
    """Write an object array of byte strings into a dataset, along its first axis from `start` on."""
    lists = np.empty(values.shape, bytes_dtype())
    flat = lists.reshape(-1)
    for position, item in enumerate(values.reshape(-1)):
        flat[position] = np.frombuffer(item, np.uint8)
    space = dataset.id.get_space()
    if values.ndim:
        space.select_hyperslab((start, *(0 for _ in values.shape[1:])), values.shape)
    # not `dataset[key] = lists`: NumPy would turn lists of one byte each into numbers
    dataset.id.write(h5py.h5s.create_simple(values.shape), space, lists, h5py.h5t.py_create(dataset.dtype))


def read_byte_strings(dataset: h5py.Dataset, key: Any) -> Array:
    """Return a piece of a dataset of byte strings as an object array of bytes."""
    lists = dataset[key]
    if lists.dtype != object:  # one item
        return np.array(lists.tobytes(), object)
    items = np.empty(lists.shape, object)
    flat = items.reshape(-1)
    for position, item in enumerate(lists.reshape(-1)):
        flat[position] = item.tobytes()
    return items
