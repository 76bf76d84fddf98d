"""Turns the batches of one dense tensor into rows, a constant, or a stack in the file."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

import h5py
import numpy as np

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE, STEP
from tfdump.dump.checksums import crc_of, crc_of_bytes, seal
from tfdump.dump.layout import common_dtype, storable
from tfdump.dump.rows import RowDataset, Storage
from tfdump.files.byte_strings import are_text, bytes_dtype, write_byte_strings
from tfdump.tensors import Array, TensorInfo, Value

Attributes = dict[str, Any]


OpenCollector = Callable[[TensorInfo, Value, str], "Collector"]
"""Creates the collector of a tensor from its record, its first value as stored, and its axis0."""


class Finishing(Protocol):
    """Ends as a dataset or group that has no name yet."""

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """Write what is left; return the unnamed object and its attributes (`axis0`, and `encoding` for a group)."""


class Collector(Finishing, Protocol):
    """Takes the values of one tensor batch by batch, and ends as a dataset or group that has no name yet."""

    def append(self, value: Any) -> None:
        """Add the value of the next batch."""

    def batches(self) -> Iterator[Any]:
        """Yield the appended values batch by batch, in the stored dtype; nothing can be appended afterwards."""


def anonymous_group(file: h5py.File) -> h5py.Group:
    """Create a group without a name; it keeps the order of its links and stores no times."""
    properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    properties.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    properties.set_obj_track_times(False)
    return h5py.Group(h5py.h5g.create(file.id, None, gcpl=properties))


def write_whole(file: h5py.File, value: Array, dtype: np.dtype[Any], storage: Storage) -> h5py.Dataset:
    """Write one array that will not grow as a dataset without a name."""
    data = storable(value, dtype)
    if storage.filters and data.ndim and data.size:
        rows = RowDataset(file, dtype, data.shape[1:], len(data), storage)
        rows.append(data)
        return rows.finish()
    if h5py.check_string_dtype(dtype) is not None and not are_text(data):
        dataset = file.create_dataset(None, shape=data.shape, dtype=bytes_dtype())
        write_byte_strings(dataset, data)
        if storage.checksums:
            seal(dataset, crc_of_bytes(data))
        return dataset
    dataset = file.create_dataset(None, shape=data.shape, dtype=dtype, data=data)
    if storage.checksums:
        seal(dataset, crc_of(data))
    return dataset


class Collecting:
    """What all collectors share: the file, the stored dtype and how to store values."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage) -> None:
        self._file = file
        self._dtype = dtype
        self._storage = storage

    def _rows(
        self,
        tail: tuple[int, ...],
        count: int | None,
        dtype: np.dtype[Any] | None = None,
        steps: int | None = None,
    ) -> RowDataset:
        return RowDataset(self._file, dtype or self._dtype, tail, count, self._storage, steps)

    def _whole(self, value: Array, dtype: np.dtype[Any] | None = None) -> h5py.Dataset:
        return write_whole(self._file, value, dtype or self._dtype, self._storage)


class ByExample(Collecting):
    """A tensor with one row per example: batches are concatenated along axis 0 to `examples` rows.

    With `steps`, all batches come again at every step, and the rows of a step are stored behind a leading step axis.
    Batches whose other axes differ end as a stack of unequal shapes.
    """

    def __init__(
        self, file: h5py.File, dtype: np.dtype[Any], storage: Storage, examples: int, steps: int | None = None
    ) -> None:
        super().__init__(file, dtype, storage)
        self._examples = examples
        self._steps = steps
        self._into: RowDataset | None = None
        self._lengths: list[int] = []
        self._unequal: _UnequalStack | None = None

    def append(self, value: Array) -> None:
        """Add the rows of one batch."""
        if self._unequal is not None:
            self._unequal.append(value)
            return
        if self._into is None:
            self._into = self._rows(value.shape[1:], self._examples, steps=self._steps)
        if value.shape[1:] != self._into.tail:
            unequal = _UnequalStack(self._file, self._dtype, self._storage)
            for batch in self.batches():
                unequal.append(batch)
            self._unequal, self._into = unequal, None  # the space of the rows in the file is free again
            self._unequal.append(value)
            return
        self._lengths.append(len(value))
        self._into.append(storable(value, self._dtype))

    def had_only(self, shape: tuple[int, ...]) -> bool:
        """Tell whether all batches so far had this shape."""
        return self._into is not None and {(length, *self._into.tail) for length in self._lengths} == {shape}

    def batches(self) -> Iterator[Array]:
        """Yield the rows of every batch so far, in the order in which they came, over all steps."""
        if self._unequal is not None:
            yield from self._unequal.batches()
        elif self._into is not None:
            self._into.flush()
            for start, stop in pairwise(np.cumsum([0, *self._lengths])):
                yield self._into.read(int(start), int(stop))

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """End as a dataset with axis0 `example` or `step`, or as a composite with axis0 `batch`."""
        if self._unequal is not None:
            return self._unequal.finish()
        if self._into is None:
            self._into = self._rows((), 0, steps=self._steps)
        return self._into.finish(), {"axis0": EXAMPLE if self._steps is None else STEP}


class Constant(Collecting):
    """A tensor without an example axis: stored once while all batches agree, and stacked otherwise."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage, batches: int) -> None:
        super().__init__(file, dtype, storage)
        self._batches = batches
        self._first: Array | None = None
        self._agreeing = 0
        self._stack: Stack | None = None

    def append(self, value: Array) -> None:
        """Compare the value of one batch with the first value, bit by bit."""
        if self._stack is not None:
            self._stack.append(value)
        elif self._first is None:
            self._first, self._agreeing = np.array(value), 1
        elif same_bits(self._first, value):
            self._agreeing += 1
        else:
            self._stack = Stack(self._file, self._dtype, self._storage, self._batches)
            for _ in range(self._agreeing):
                self._stack.append(self._first)
            self._stack.append(value)

    def batches(self) -> Iterator[Array]:
        """Yield the value of every batch so far."""
        if self._stack is not None:
            yield from self._stack.batches()
        elif self._first is not None:
            yield from (self._first for _ in range(self._agreeing))

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """End as a dataset with axis0 `none`, or as the stack."""
        if self._stack is not None:
            return self._stack.finish()
        value = np.zeros((0,)) if self._first is None else self._first
        return self._whole(value), {"axis0": NONE}


class Stack(Collecting):
    """A tensor that belongs to its batch or step: `count` values stacked along a leading axis, whose kind is `axis0`.

    If their shapes differ, they become a composite.
    """

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage, count: int, axis0: str = BATCH) -> None:
        super().__init__(file, dtype, storage)
        self._count = count
        self._axis0 = axis0
        self._into: RowDataset | None = None
        self._unequal: _UnequalStack | None = None

    def expect_unequal(self) -> None:
        """Begin as a composite, because the shapes are known to differ; then nothing has to be written twice."""
        self._unequal = _UnequalStack(self._file, self._dtype, self._storage, self._axis0)

    def append(self, value: Array) -> None:
        """Add one value as the next item."""
        if self._unequal is not None:
            self._unequal.append(value)
            return
        if self._into is None:
            self._into = self._rows(value.shape, self._count)
        if value.shape == self._into.tail:
            self._into.append(storable(value, self._dtype)[None])
            return
        unequal = _UnequalStack(self._file, self._dtype, self._storage, self._axis0)
        for item in self.batches():
            unequal.append(item)
        self._unequal, self._into = unequal, None
        self._unequal.append(value)

    def batches(self) -> Iterator[Array]:
        """Yield every value so far."""
        if self._unequal is not None:
            yield from self._unequal.batches()
        elif self._into is not None:
            self._into.flush()
            for item in range(self._into.written):
                yield self._into.read(item, item + 1).reshape(self._into.tail)

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """End as a dataset, or as a composite."""
        if self._unequal is not None:
            return self._unequal.finish()
        if self._into is None:
            self._into = self._rows((), 0)
        return self._into.finish(), {"axis0": self._axis0}


class _UnequalStack(Collecting):
    """Batches or steps of unequal shapes: a group of datasets `0`, `1`, ..."""

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], storage: Storage, axis0: str = BATCH) -> None:
        super().__init__(file, dtype, storage)
        self._axis0 = axis0
        self._group = anonymous_group(file)
        self._count = 0

    def append(self, value: Array) -> None:
        self._group[str(self._count)] = self._whole(np.asarray(value))
        self._count += 1

    def batches(self) -> Iterator[Array]:
        yield from (np.asarray(self._group[str(number)][()]) for number in range(self._count))

    def finish(self) -> tuple[h5py.Group, Attributes]:
        return self._group, {"axis0": self._axis0, "encoding": "stack"}


def same_bits(a: Array, b: Array) -> bool:
    """Tell whether two arrays hold the same bytes, so that NaN equals an identical NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.hasobject:
        return bool(np.all(a == b))
    return np.array_equal(a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8))


class ChangingCollector:
    """Stores the batches of a tensor whose axis0 or dtype may change, and stores the earlier ones again where it does.

    `collector` has all batches so far; None before the first one.
    """

    def __init__(self, open_collector: OpenCollector) -> None:
        self.collector: Collector | None = None
        self._open = open_collector
        self._opened_as = ("", "")

    def append(self, value: Value, info: TensorInfo, axis0: str) -> None:
        """Add the value of the next batch; `info` and `axis0` are what the batches so far tell."""
        before, dtype = self._opened_as
        if self.collector is not None:
            info = replace(info, dtype=common_dtype(dtype, info.dtype) or info.dtype)
        if self.collector is None or (before, dtype) != (axis0, info.dtype):
            self.collector = self._reopened(info, value, axis0)
            self._opened_as = (axis0, info.dtype)
        self.collector.append(value)

    def _reopened(self, info: TensorInfo, value: Value, axis0: str) -> Collector:
        """Return a new collector with the batches of the earlier one; `value` is the next batch."""
        collector, earlier = self._open(info, value, axis0), self.collector
        if isinstance(collector, Stack) and isinstance(earlier, ByExample) and not earlier.had_only(value.shape):
            collector.expect_unequal()
        for batch in earlier.batches() if earlier is not None else ():
            collector.append(batch)
        return collector
