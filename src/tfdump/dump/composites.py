"""Turns the batches of a ragged or sparse tensor into a group of datasets that together are the tensor."""

from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE, STEP
from tfdump.dump.collectors import Attributes, Collecting, anonymous_group
from tfdump.dump.layout import storable
from tfdump.dump.rows import RowDataset, Storage
from tfdump.tensors import Ragged, Sparse


class RaggedRows(Collecting):
    """A ragged tensor: the `values` of all rows and offsets into them, `row_splits` for the outermost ragged axis."""

    axis0 = EXAMPLE

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage) -> None:
        super().__init__(file, dtype, storage)
        self._values: RowDataset | None = None
        self._splits: list[RowDataset] = []
        self._lengths: list[int] = []

    def append(self, value: Ragged) -> None:
        """Add the rows of one batch, with offsets that continue those already there."""
        self._lengths.append(value.shape[0])
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

    def batches(self) -> Iterator[Ragged]:
        """Yield the rows of every batch so far, with offsets of their own."""
        if self._values is None:
            return
        for rows in (self._values, *self._splits):
            rows.flush()
        start = 0
        for length in self._lengths:
            first, stop, splits = start, start + length, []
            for rows in self._splits:
                offsets = rows.read(first, stop + 1)
                first, stop = int(offsets[0]), int(offsets[-1])
                splits.append(offsets - first)
            yield Ragged(self._values.read(first, stop), tuple(splits))
            start += length

    def finish(self) -> tuple[h5py.Group, Attributes]:
        """End as a group of `values`, `row_splits` and, for further ragged axes, `row_splits_1`, ..."""
        group = anonymous_group(self._file)
        if self._values is not None:
            group["values"] = self._values.finish()
            for level, rows in enumerate(self._splits):
                group["row_splits" if level == 0 else f"row_splits_{level}"] = rows.finish()
        return group, {"axis0": self.axis0, "encoding": "ragged"}


class RaggedStack(RaggedRows):
    """Ragged batches without a row per example: every batch is a row of one additional, outermost, ragged axis."""

    axis0 = BATCH

    def append(self, value: Ragged) -> None:
        """Add one batch as the next row."""
        whole = np.array([0, value.shape[0]], np.int64)
        super().append(Ragged(value.values, (whole, *value.row_splits)))

    def batches(self) -> Iterator[Ragged]:
        """Yield every batch so far."""
        for value in super().batches():
            yield Ragged(value.values, value.row_splits[1:])


class SparseRows(Collecting):
    """A sparse tensor with one row per example: `values`, and `indices` with rows counted over all batches."""

    axis0 = EXAMPLE

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage) -> None:
        super().__init__(file, dtype, storage)
        self._values: RowDataset | None = None
        self._indices: RowDataset | None = None
        self._shape: list[int] = []
        self._entries: list[int] = []
        self._shapes: list[tuple[int, ...]] = []

    def append(self, value: Sparse) -> None:
        """Add the entries of one batch."""
        located = value.indices.shape[1]
        if self._values is None or self._indices is None:
            self._values = self._rows(value.values.shape[1:], None)
            self._indices = self._rows((located,), None, np.dtype(np.int64))
            self._shape = [0, *value.dense_shape[1:]]
        offset = np.array([self._shape[0]] + [0] * (located - 1), np.int64)
        self._indices.append(value.indices + offset)
        self._values.append(storable(value.values, self._dtype))
        self._shape[0] += value.dense_shape[0]
        self._shape[1:] = [max(a, b) for a, b in zip(self._shape[1:], value.dense_shape[1:], strict=True)]
        self._entries.append(len(value.indices))
        self._shapes.append(value.dense_shape)

    def batches(self) -> Iterator[Sparse]:
        """Yield the entries of every batch so far, with rows counted within it."""
        if self._values is None or self._indices is None:
            return
        self._values.flush()
        self._indices.flush()
        start = row = 0
        for entries, shape in zip(self._entries, self._shapes, strict=True):
            stop = start + entries
            indices = self._indices.read(start, stop)
            indices[:, 0] -= row
            yield Sparse(self._values.read(start, stop), indices, shape)
            start, row = stop, row + shape[0]

    def finish(self) -> tuple[h5py.Group, Attributes]:
        """End as a group of `values` and `indices`, with the attribute `dense_shape`."""
        group = anonymous_group(self._file)
        for name, rows in (("values", self._values), ("indices", self._indices)):
            if rows is not None:
                group[name] = rows.finish()
        return group, sparse_attributes(self.axis0, self._shape)


class SparseSteps(SparseRows):
    """A sparse tensor with one value per step, stacked along a leading step axis, which `indices` include."""

    axis0 = STEP

    def append(self, value: Sparse) -> None:
        """Add the value of the next step."""
        located = np.insert(value.indices, 0, 0, axis=1)
        super().append(Sparse(value.values, located, (1, *value.dense_shape)))


class SparseStack(SparseSteps):
    """Sparse batches without a row per example, stacked along a leading batch axis; the largest shape counts."""

    axis0 = BATCH

    def batches(self) -> Iterator[Sparse]:
        """Yield every batch so far."""
        for value in super().batches():
            yield Sparse(value.values, value.indices[:, 1:], value.dense_shape[1:])


class SparseValue(Collecting):
    """A sparse tensor without an example axis: one value, such as the gradient of an embedding."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage) -> None:
        super().__init__(file, dtype, storage)
        self._group = anonymous_group(file)
        self._shape: tuple[int, ...] = ()

    def append(self, value: Sparse) -> None:
        """Take the value; raises ValueError for a second one."""
        if len(self._group):
            raise ValueError("a sparse tensor without an example axis has one value")
        self._group["values"] = self._whole(value.values)
        self._group["indices"] = self._whole(value.indices, np.dtype(np.int64))
        self._shape = value.dense_shape

    def batches(self) -> Iterator[Sparse]:
        """Yield the value."""
        if len(self._group):
            yield Sparse(self._group["values"][()], self._group["indices"][()], self._shape)

    def finish(self) -> tuple[h5py.Group, Attributes]:
        """End as a group of `values` and `indices`, with the attribute `dense_shape`."""
        return self._group, sparse_attributes(NONE, self._shape)


def composite_of(value: Ragged | Sparse, axis0: str) -> type[RaggedRows] | type[SparseRows]:
    """Return the class that collects batches like `value`: one row per example, or stacked if `axis0` is `batch`."""
    if isinstance(value, Ragged):
        return RaggedStack if axis0 == BATCH else RaggedRows
    return SparseStack if axis0 == BATCH else SparseRows


def sparse_attributes(axis0: str, dense_shape: Sequence[int]) -> Attributes:
    """Return the attributes of a group that is a sparse tensor."""
    return {"axis0": axis0, "encoding": "sparse", "dense_shape": np.array(dense_shape, np.int64)}
