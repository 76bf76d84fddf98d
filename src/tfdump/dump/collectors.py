"""What becomes of one tensor's batches in the file: rows, a constant, a stack, a ragged or a sparse composite."""

from itertools import pairwise
from typing import Any, Protocol

import h5py
import numpy as np

from tfdump.dump.layout import storable
from tfdump.dump.rows import Rows, Storage
from tfdump.tensors import Array, Ragged, Sparse, Value

Attributes = dict[str, Any]


class Collector(Protocol):
    """Takes the values of one tensor, a batch at a time, and ends as a dataset or a group without a name."""

    def append(self, value: Any) -> None:
        """Add the value of the next batch."""

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """Write what is left; return the unnamed object and its attributes (`axis0`, and `encoding` of a group)."""


def anonymous_group(file: h5py.File) -> h5py.Group:
    """Create a group without a name that keeps the order of its links and no times."""
    properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    properties.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    properties.set_obj_track_times(False)
    return h5py.Group(h5py.h5g.create(file.id, None, gcpl=properties))


def write_whole(file: h5py.File, value: Array, dtype: np.dtype[Any], storage: Storage) -> h5py.Dataset:
    """Write one array that will not grow as a dataset without a name."""
    data = storable(value, dtype)
    if storage.filters and data.ndim and data.size:
        rows = Rows(file, dtype, data.shape[1:], len(data), storage)
        rows.append(data)
        rows.flush()
        return rows.dataset
    return file.create_dataset(None, shape=data.shape, dtype=dtype, data=data)


class _Collecting:
    """What all collectors know: the file, the stored dtype and how to store."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage) -> None:
        self._file = file
        self._dtype = dtype
        self._storage = storage

    def _rows(self, tail: tuple[int, ...], count: int | None, dtype: np.dtype[Any] | None = None) -> Rows:
        return Rows(self._file, dtype or self._dtype, tail, count, self._storage)

    def _whole(self, value: Array) -> h5py.Dataset:
        return write_whole(self._file, value, self._dtype, self._storage)


class ByExample(_Collecting):
    """A tensor with a row an example: batches are concatenated along axis 0 to `examples` rows.

    Batches whose other axes differ end as a stack of unequal shapes.
    """

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage, examples: int) -> None:
        super().__init__(file, dtype, storage)
        self._examples = examples
        self._into: Rows | None = None
        self._lengths: list[int] = []
        self._unequal: _UnequalStack | None = None

    def append(self, value: Array) -> None:
        """Add the rows of one batch."""
        if self._unequal is not None:
            self._unequal.append(value)
            return
        if self._into is None:
            self._into = self._rows(value.shape[1:], self._examples)
        if value.shape[1:] != self._into.tail:
            self._into.flush()
            self._unequal = _UnequalStack(self._file, self._dtype, self._storage)
            stops = np.cumsum([0, *self._lengths])
            for start, stop in pairwise(stops):
                self._unequal.append(self._into.dataset[start:stop])
            self._unequal.append(value)
            return
        self._lengths.append(len(value))
        self._into.append(storable(value, self._dtype))

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """End as a dataset of axis0 `example`, or as a composite of axis0 `batch`."""
        if self._unequal is not None:
            return self._unequal.finish()
        if self._into is None:
            self._into = self._rows((), 0)
        self._into.flush()
        return self._into.dataset, {"axis0": "example"}


class Constant(_Collecting):
    """A tensor without an example axis: stored once while all batches agree, else stacked."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage, batches: int) -> None:
        super().__init__(file, dtype, storage)
        self._batches = batches
        self._first: Array | None = None
        self._agreeing = 0
        self._stack: Stack | None = None

    def append(self, value: Array) -> None:
        """Compare one batch's value with the first, bit by bit."""
        if self._stack is not None:
            self._stack.append(value)
        elif self._first is None:
            self._first, self._agreeing = np.array(value), 1
        elif _same_bits(self._first, value):
            self._agreeing += 1
        else:
            self._stack = Stack(self._file, self._dtype, self._storage, self._batches)
            for _ in range(self._agreeing):
                self._stack.append(self._first)
            self._stack.append(value)

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """End as a dataset of axis0 `none`, or as the stack's."""
        if self._stack is not None:
            return self._stack.finish()
        value = np.zeros((0,)) if self._first is None else self._first
        return self._whole(value), {"axis0": "none"}


class Stack(_Collecting):
    """A tensor that belongs to its batch: stacked along a leading axis, a composite when the shapes differ."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage, batches: int) -> None:
        super().__init__(file, dtype, storage)
        self._batches = batches
        self._into: Rows | None = None
        self._unequal: _UnequalStack | None = None

    def append(self, value: Array) -> None:
        """Add the value of one batch as the next item."""
        if self._unequal is not None:
            self._unequal.append(value)
            return
        if self._into is None:
            self._into = self._rows(value.shape, self._batches)
        if value.shape == self._into.tail:
            self._into.append(storable(value, self._dtype)[None])
            return
        self._into.flush()
        self._unequal = _UnequalStack(self._file, self._dtype, self._storage)
        for item in range(self._into.written):
            self._unequal.append(self._into.dataset[item])
        self._unequal.append(value)

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """End as a dataset, or as a composite, of axis0 `batch`."""
        if self._unequal is not None:
            return self._unequal.finish()
        if self._into is None:
            self._into = self._rows((), 0)
        self._into.flush()
        return self._into.dataset, {"axis0": "batch"}


class _UnequalStack(_Collecting):
    """Batches of unequal shapes: a group of datasets `0`, `1`, ..."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage) -> None:
        super().__init__(file, dtype, storage)
        self._group = anonymous_group(file)
        self._count = 0

    def append(self, value: Array) -> None:
        self._group[str(self._count)] = self._whole(np.asarray(value))
        self._count += 1

    def finish(self) -> tuple[h5py.Group, Attributes]:
        return self._group, {"axis0": "batch", "encoding": "stack"}


class RaggedRows(_Collecting):
    """A ragged tensor: `values` of all rows and offsets into them, `row_splits` for the outermost ragged axis."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage) -> None:
        super().__init__(file, dtype, storage)
        self._values: Rows | None = None
        self._splits: list[Rows] = []

    def append(self, value: Ragged) -> None:
        """Add the rows of one batch, their offsets moved behind those already there."""
        if self._values is None:
            self._values = self._rows(value.values.shape[1:], None)
            for _ in value.row_splits:
                rows = self._rows((), None, np.dtype(np.int64))
                rows.append(np.zeros(1, np.int64))
                self._splits.append(rows)
            self._ends = [0] * len(self._splits)
        for level, (rows, splits) in enumerate(zip(self._splits, value.row_splits, strict=True)):
            rows.append(splits[1:] + self._ends[level])
            self._ends[level] += int(splits[-1])
        self._values.append(storable(value.values, self._dtype))

    def finish(self) -> tuple[h5py.Group, Attributes]:
        """End as a group of `values`, `row_splits` and, for further ragged axes, `row_splits_1`, ..."""
        group = anonymous_group(self._file)
        if self._values is not None:
            self._values.flush()
            group["values"] = self._values.dataset
            for level, rows in enumerate(self._splits):
                rows.flush()
                group["row_splits" if level == 0 else f"row_splits_{level}"] = rows.dataset
        return group, {"axis0": "example", "encoding": "ragged"}


class SparseRows(_Collecting):
    """A sparse tensor whose axis 0 is the example: `values`, and `indices` with rows counted over all batches."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage) -> None:
        super().__init__(file, dtype, storage)
        self._values: Rows | None = None
        self._indices: Rows | None = None
        self._shape: list[int] = []

    def append(self, value: Sparse) -> None:
        """Add the entries of one batch."""
        rank = len(value.dense_shape)
        if self._values is None or self._indices is None:
            self._values = self._rows((), None)
            self._indices = self._rows((rank,), None, np.dtype(np.int64))
            self._shape = [0, *value.dense_shape[1:]]
        offset = np.array([self._shape[0]] + [0] * (rank - 1), np.int64)
        self._indices.append(value.indices + offset)
        self._values.append(storable(value.values, self._dtype))
        self._shape[0] += value.dense_shape[0]
        self._shape[1:] = [max(a, b) for a, b in zip(self._shape[1:], value.dense_shape[1:], strict=True)]

    def finish(self) -> tuple[h5py.Group, Attributes]:
        """End as a group of `values` and `indices`, with the attribute `dense_shape`."""
        group = anonymous_group(self._file)
        for name, rows in (("values", self._values), ("indices", self._indices)):
            if rows is not None:
                rows.flush()
                group[name] = rows.dataset
        return group, {
            "axis0": "example",
            "encoding": "sparse",
            "dense_shape": np.array(self._shape, np.int64),
        }


class NoValues(_Collecting):
    """Keeps the shape of a tensor and none of its values, for `--stats-only`."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], axis0: str) -> None:
        super().__init__(file, dtype, Storage())
        self._axis0 = axis0
        self._first: Array | None = None
        self._rows_seen = 0
        self._batches = 0
        self._shape: tuple[int, ...] = ()

    def append(self, value: Value) -> None:
        """Count the rows of one batch."""
        if self._axis0 == "none" and isinstance(value, np.ndarray):
            if self._first is not None and not _same_bits(self._first, value):
                self._axis0 = "batch"
            self._first = np.array(value) if self._first is None else self._first
        self._shape = tuple(value.shape)
        self._rows_seen += self._shape[0] if self._shape else 0
        self._batches += 1

    def finish(self) -> tuple[h5py.Dataset, Attributes]:
        """End as a zero-length dataset with the attribute `computed_shape`."""
        shape = self._shape
        if self._axis0 == "example" and shape:
            shape = (self._rows_seen, *shape[1:])
        elif self._axis0 == "batch":
            shape = (self._batches, *shape)
        tail = tuple(max(n, 0) for n in shape[1:])
        dataset = self._file.create_dataset(None, shape=(0, *tail), dtype=self._dtype)
        return dataset, {"axis0": self._axis0, "values": False, "computed_shape": np.array(shape, np.int64)}


def _same_bits(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.hasobject:
        return bool(np.all(a == b))
    return np.array_equal(a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8))
