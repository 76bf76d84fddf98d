"""Arrays in MATLAB files: of version 7.3, which are HDF5 files, and of the versions before it, which SciPy reads.

An array has the axes that MATLAB shows: rows are examples. Version 7.3 stores them in reverse order.
"""

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfdump.errors import InputError, reason_of
from tfdump.files.hdf5 import check_declared, damage, open_hdf5
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.archives.bands import Bands
from tfdump.inputs.input_array import OpenReader
from tfdump.inputs.readers import ArrayReader, Reader
from tfdump.tensors import Array

_NUMBERS = {
    "double": "float64",
    "single": "float32",
    "logical": "bool",
    **{name: name for name in (f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))},
}
"""The classes of MATLAB that are numbers, and their dtypes. A file may store a `double` in fewer bytes."""

_TEXT = "char"
_DOUBLE_BYTES = 8


def open_mat(path: Path) -> dict[str, OpenReader]:
    """Return what opens the arrays of a .mat file, by name; raises InputError for a damaged file."""
    return _open_hdf5(path) if h5py.is_hdf5(path) else _open_old(path)


class TransposedReader:
    """An array of numbers of a file of version 7.3, with its axes as in MATLAB: a row is a slice of the last axis."""

    def __init__(self, dataset: h5py.Dataset, label: str, kind: str) -> None:
        self.label = label
        self._dataset = dataset
        check_declared(dataset, InputError)
        self.shape: tuple[int, ...] = () if dataset.shape is None else tuple(reversed(dataset.shape))
        self._complex = dataset.dtype.names == ("real", "imag")
        if self._complex:
            self.dtype = np.result_type(dataset.dtype["real"], np.complex64)
        else:
            self.dtype = np.dtype(bool) if kind == "logical" else dataset.dtype
        rows = dataset.chunks[-1] if dataset.chunks else 0
        size = rows * dataset.dtype.itemsize * math.prod(self.shape[1:])
        self._bands = Bands(self._slice, self.shape[0] if self.shape else 0, rows, size)

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`; raises InputError for a damaged file."""
        return self._bands.read(start, stop)

    def _slice(self, start: int, stop: int) -> Array:
        size = (stop - start) * self.dtype.itemsize * math.prod(self.shape[1:])
        check_bytes(size, allowed_bytes(), f"{self.label}: one batch of rows takes", InputError)
        with damage(InputError, self.label):
            rows = self._dataset[..., start:stop]
        if self._complex:
            rows = rows["real"] + 1j * rows["imag"]
        return np.ascontiguousarray(rows.T).astype(self.dtype, copy=False)


def _open_hdf5(path: Path) -> dict[str, OpenReader]:
    file = open_hdf5(path, InputError)
    names = [name for name in file if not name.startswith("#")]  # MATLAB's own: #refs#, #subsystem#
    if not names:
        raise InputError(f"{path} holds no arrays")

    def opened(name: str) -> Reader:
        with damage(InputError, f"{path}::{name}"):
            item = file[name]
            kind = _decoded(item.attrs.get("MATLAB_class", b""))
            if not isinstance(item, h5py.Dataset) or kind not in _NUMBERS or "MATLAB_sparse" in item.attrs:
                raise _no_numbers(path, name, "sparse" if "MATLAB_sparse" in item.attrs else kind)
            if item.attrs.get("MATLAB_empty", 0):
                raise InputError(f"{path}::{name} is empty")
            return TransposedReader(item, f"{path}::{name}", kind)

    def opener(name: str) -> OpenReader:
        return lambda: opened(name)

    return {name: opener(name) for name in names}


def _open_old(path: Path) -> dict[str, OpenReader]:
    """Return what opens the arrays of a file before version 7.3, in which no array has more than 2 GB."""
    try:
        from scipy import io
    except ImportError:
        raise InputError(".mat files before version 7.3 need an extra: pip install 'tfdump[mat]'") from None
    try:
        listed = {name: (shape, kind) for name, shape, kind in io.whosmat(path)}
    except Exception as cause:  # a damaged file raises errors of many classes
        raise InputError(f"{path} is no .mat file, or is damaged: {reason_of(cause)}") from cause
    if not listed:
        raise InputError(f"{path} holds no arrays")

    def opened(name: str) -> Reader:
        shape, kind = listed[name]
        if kind not in _NUMBERS and kind != _TEXT:
            raise _no_numbers(path, name, kind)
        label = f"{path}::{name}"
        check_bytes(_DOUBLE_BYTES * math.prod(shape), allowed_bytes(), f"{label} takes", InputError)
        try:
            array: Any = io.loadmat(path, variable_names=[name])[name]
        except Exception as cause:  # as above
            raise InputError(f"cannot read {label}: {reason_of(cause)}") from cause
        if kind != _TEXT:
            dtype = np.dtype(_NUMBERS[kind])
            array = array.astype(np.result_type(dtype, np.complex64) if array.dtype.kind == "c" else dtype, copy=False)
        return ArrayReader(array, label)

    def opener(name: str) -> OpenReader:
        return lambda: opened(name)

    return {name: opener(name) for name in listed}


def _no_numbers(path: Path, name: str, kind: str) -> InputError:
    hint = "save full(x)" if kind == "sparse" else "save an array of numbers"
    return InputError(f"{path}::{name} is of MATLAB's class '{kind or 'struct'}', which is no array ({hint})")


def _decoded(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
