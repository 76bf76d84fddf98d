"""Stores the shape of a tensor instead of its values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE, STEP
from tfdump.dump.collectors import Attributes, Collecting, same_bits
from tfdump.dump.layout import stacked_shape
from tfdump.dump.rows import Storage
from tfdump.tensors import Array, Value


@dataclass(frozen=True)
class Shape:
    """The shape of a value that was not stored."""

    shape: tuple[int, ...]


class NoValues(Collecting):
    """Records the shape of a tensor and none of its values, for `--stats-only`.

    With `steps`, the shape is that of all steps together.
    """

    def __init__(self, file: h5py.File, dtype: np.dtype[Any], axis0: str, steps: int | None = None) -> None:
        super().__init__(file, dtype, Storage())
        self._axis0 = STEP if axis0 == NONE and steps is not None else axis0
        self._steps = steps
        self._first: Array | None = None
        self._row_count = 0
        self._shapes: list[tuple[int, ...]] = []

    def append(self, value: Value | Shape) -> None:
        """Count the rows of one batch."""
        if self._axis0 == NONE and isinstance(value, np.ndarray):
            if self._first is not None and not same_bits(self._first, value):
                self._axis0 = BATCH
            self._first = np.array(value) if self._first is None else self._first
        shape = tuple(value.shape)
        if self._axis0 == EXAMPLE and self._shapes and shape[1:] != self._shapes[0][1:]:
            self._axis0 = BATCH
        self._row_count += shape[0] if shape else 0
        self._shapes.append(shape)

    def batches(self) -> Iterator[Value | Shape]:
        """Yield every batch so far: the value of a constant, or the shape of another tensor."""
        constant = self._first if self._axis0 == NONE else None
        yield from (Shape(shape) if constant is None else constant for shape in self._shapes)

    def finish(self) -> tuple[h5py.Dataset, Attributes]:
        """End as a zero-length dataset with the attribute `computed_shape`."""
        axis0, shape = self._axis0, self._shapes[0] if self._shapes else ()
        if axis0 == EXAMPLE and self._steps is not None:
            axis0, shape = STEP, (self._steps, self._row_count // (self._steps or 1), *shape[1:])
        elif axis0 == EXAMPLE and shape:
            shape = (self._row_count, *shape[1:])
        elif axis0 in (BATCH, STEP):
            shape = stacked_shape(self._shapes)
        tail = tuple(max(size, 0) for size in shape[1:])
        dataset = self._file.create_dataset(None, shape=(0, *tail), dtype=self._dtype)
        return dataset, {"axis0": axis0, "values": False, "computed_shape": np.array(shape, np.int64)}
