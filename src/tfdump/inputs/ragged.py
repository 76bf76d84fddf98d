"""Variable-length sequences: rows of different lengths, padded to one length."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError, reason_of
from tfdump.files.hdf5 import check_declared
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.readers import Reader
from tfdump.tensors import Array


class RaggedReader:
    """Rows of different lengths, read as an array with rows that are padded at their ends.

    `lengths` has the length of every row. The padded length is that of the longest row, unless `pad_to` sets it.
    """

    def __init__(self, label: str, lengths: npt.NDArray[np.int64], tail: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.label = label
        self.lengths = lengths
        self.dtype = dtype
        self._fill: Any = "" if dtype.kind in "OSU" else 0
        self._padded_dtype = dtype
        self._tail = tail
        self.longest = int(lengths.max(initial=0))
        self.shape: tuple[int, ...] = (len(lengths), self.longest, *tail)

    def pad_to(self, length: int) -> None:
        """Pad every row to `length`; raises InputError where a row is longer."""
        if length < self.longest:
            row = int(self.lengths.argmax())
            raise InputError(
                f"{self.label}: row {row} has {self.longest} elements and does not fit into {length} "
                "(cut the rows, or give a larger --pad-to)"
            )
        self.shape = (len(self.lengths), length, *self._tail)

    def pad_with(self, value: float, dtype: np.dtype[Any]) -> None:
        """Pad with `value` in the dtype `dtype`, text with ""; raises InputError where the value does not fit."""
        if dtype.kind == "O":
            return
        with np.errstate(all="ignore"):
            try:
                fill = np.asarray(value).astype(dtype)
            except (ValueError, OverflowError):
                fill = np.zeros((), dtype)
        exact = dtype.kind in "iub"
        if exact and not (math.isfinite(value) and float(fill) == value):
            raise InputError(
                f"{self.label}: the pad value {value:g} does not fit into {dtype} (choose another --pad-value)"
            )
        self._fill = fill
        self._padded_dtype = np.promote_types(self.dtype, dtype) if self.dtype.kind in "fiub" else self.dtype

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`, padded.

        Raises InputError where they take more memory than is allowed, as the length may be one that a model declares.
        """
        shape = (stop - start, *self.shape[1:])
        size = math.prod(shape) * self._padded_dtype.itemsize
        check_bytes(size, allowed_bytes(), f"{self.label}: one batch of rows, padded to {shape}, takes", InputError)
        padded = np.full(shape, self._fill, self._padded_dtype)
        for position, row in enumerate(self.rows(start, stop)):
            padded[position, : len(row)] = row
        return padded

    def rows(self, start: int, stop: int) -> list[Array]:
        """Return the rows from `start` up to `stop`, each of its own length."""
        raise NotImplementedError


class SplitsReader(RaggedReader):
    """A ragged array, as in TensorFlow: the `values` of all rows, and `row_splits`, the offsets of the rows."""

    def __init__(self, values: Reader, row_splits: Reader, label: str) -> None:
        splits = row_splits.read(0, row_splits.shape[0] if row_splits.shape else 1)
        if len(row_splits.shape) != 1 or splits.ndim != 1 or splits.size == 0 or splits.dtype.kind not in "iu":
            raise InputError(
                f"{row_splits.label} must be one axis of integers, not {splits.dtype} of shape {splits.shape}"
            )
        self._splits = splits.astype(np.int64)
        total = values.shape[0] if values.shape else 0
        falling = np.flatnonzero(np.diff(self._splits) < 0)
        if falling.size:
            raise InputError(
                f"{row_splits.label} must not fall, and falls after row {falling[0]} "
                f"(from {self._splits[falling[0]]} to {self._splits[falling[0] + 1]})"
            )
        if self._splits[0] != 0 or self._splits[-1] != total:
            raise InputError(
                f"{row_splits.label} must rise from 0 to {total}, the number of values "
                f"(it runs from {self._splits[0]} to {self._splits[-1]})"
            )
        super().__init__(label, np.diff(self._splits), values.shape[1:], values.dtype)
        self._values = values

    def rows(self, start: int, stop: int) -> list[Array]:
        """Return the rows from `start` up to `stop`, each of its own length."""
        offset = self._splits[start]
        values = self._values.read(int(offset), int(self._splits[stop]))
        return [values[self._splits[row] - offset : self._splits[row + 1] - offset] for row in range(start, stop)]


class VlenReader(RaggedReader):
    """A dataset of HDF5's variable-length type, one sequence per row."""

    _PASS = 4096

    def __init__(self, dataset: h5py.Dataset, label: str) -> None:
        if dataset.shape is None:
            raise InputError(f"{label} is empty (a null dataspace)")
        if len(dataset.shape) != 1:
            raise InputError(f"{label} must have one axis of sequences, not the shape {dataset.shape}")
        check_declared(dataset, InputError)
        self._dataset = dataset
        count = dataset.shape[0]
        lengths = np.zeros(count, np.int64)
        for start in range(0, count, self._PASS):
            rows = dataset[start : start + self._PASS]
            lengths[start : start + len(rows)] = [len(row) for row in rows]
        super().__init__(label, lengths, (), h5py.check_vlen_dtype(dataset.dtype))

    def rows(self, start: int, stop: int) -> list[Array]:
        """Return the rows from `start` up to `stop`, each of its own length."""
        try:
            return list(self._dataset[start:stop])
        except (OSError, RuntimeError, ValueError) as cause:
            raise InputError(f"cannot read {self.label}: {reason_of(cause)}") from None


VALUES, ROW_SPLITS = ".values", ".row_splits"


def join_ragged(openers: Mapping[str, Callable[[], Reader]], where: Path | str) -> dict[str, Callable[[], Reader]]:
    """Return what opens the arrays of a file, with each pair `NAME.values`, `NAME.row_splits` as one ragged `NAME`.

    Raises InputError for `NAME.row_splits` without `NAME.values`, or beside a plain `NAME`.
    """
    joined = dict(openers)
    for splits in [name for name in openers if name.endswith(ROW_SPLITS)]:
        name = splits.removesuffix(ROW_SPLITS)
        if name + VALUES not in openers:
            raise InputError(f"{where} has '{splits}' without '{name + VALUES}' (a ragged array needs both)")
        if name in openers:
            raise InputError(f"{where} has both '{name}' and a ragged '{name}' ('{splits}') (leave one out)")
        joined[name] = _pair(openers[name + VALUES], openers[splits], f"{where}::{name}")
        del joined[splits], joined[name + VALUES]
    return joined


def _pair(values: Callable[[], Reader], splits: Callable[[], Reader], label: str) -> Callable[[], Reader]:
    return lambda: SplitsReader(values(), splits(), label)
