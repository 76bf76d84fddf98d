"""A tensor of one side whose values are those of the batch that is compared now."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfdump.comparison.plain_arrays import Item, plain_item
from tfdump.dtypes import dtype_name, kind_of
from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.layout import stacked_shape, stored_dtype
from tfdump.dump.parts import Piecewise
from tfdump.dump.quantization import QuantizationParameters, parameters_from
from tfdump.tensors import Array, Ragged, Sparse, Value


class LiveTensor:
    """One tensor of a side, as an Item: the attributes of a dump, with the values that were put into it last.

    `axis0` is what the batches so far tell. `calls` has one value for each call of the model in this batch; the parts
    of the item are what a dump of these calls would hold. `trouble` says why the values cannot be compared any longer.
    """

    connected = True
    norm = None

    def __init__(self, tensor: Item) -> None:
        self.group = tensor.group
        self.address = tensor.address
        self.attributes: dict[str, Any] = tensor.attributes
        self.dtype = tensor.dtype
        self.stored_dtype = tensor.stored_dtype
        self.encoding = tensor.encoding
        self.has_values = tensor.has_values
        self.statistics = tensor.statistics
        self.shape = tensor.shape
        self.axis0 = str(tensor.attributes.get("axis0", EXAMPLE))
        self.calls: Sequence[Value] = ()
        self.trouble = ""
        self._parts: Sequence[Piecewise] = ()
        self._call_shapes: list[tuple[int, ...]] = []

    @property
    def quantization(self) -> QuantizationParameters | None:
        """How integers stand for real numbers, as the attributes tell."""
        return parameters_from(self.attributes)

    def put(self, calls: Sequence[Value]) -> None:
        """Put in the values of one batch, one for each call."""
        self.calls = [upcast(value) for value in calls]
        item = plain_item(self.address, self._as_stored())
        self.shape, self._parts = item.shape, item.parts()
        self._call_shapes += [tuple(value.shape) for value in self.calls]

    def put_parts(self, parts: Sequence[Piecewise], shape: tuple[int, ...]) -> None:
        """Put in the values of one batch as arrays that are read when they are needed."""
        self.calls, self._parts, self.shape = (), parts, shape
        whole = len(parts) > 1 or self.axis0 == NONE
        self._call_shapes += [part.shape for part in parts] if whole else [shape[1:]] * shape[0]

    def whole_shape(self, examples: int) -> tuple[int, ...]:
        """Return the shape of all batches so far together, which have so many examples."""
        if self.axis0 == EXAMPLE:
            return (examples, *self.shape[1:])
        return self.shape if self.axis0 == NONE else stacked_shape(self._call_shapes)

    def _as_stored(self) -> Any:
        if self.axis0 == EXAMPLE:
            return joined(self.calls)
        if self.axis0 != BATCH:
            return self.calls[0]
        dense = [value for value in self.calls if isinstance(value, np.ndarray)]
        if len(dense) < len(self.calls):
            return self.calls[0]
        return np.stack(dense) if len({value.shape for value in dense}) == 1 else dense

    def parts(self) -> Sequence[Piecewise]:
        """Return the arrays that the tensor consists of in this batch."""
        return self._parts


def upcast(value: Value) -> Value:
    """Return a value in the dtype in which a dump stores it."""
    if isinstance(value, Ragged):
        return Ragged(_upcast_array(value.values), value.row_splits)
    if isinstance(value, Sparse):
        return Sparse(_upcast_array(value.values), value.indices, value.dense_shape)
    return _upcast_array(value)


def _upcast_array(values: Array) -> Array:
    name = dtype_name(values.dtype)
    return values if kind_of(name) == "S" else values.astype(stored_dtype(name), copy=False)


def joined(values: Sequence[Value]) -> Value:
    """Return the rows of several values of one kind as one value."""
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, Ragged):
        return _joined_ragged([value for value in values if isinstance(value, Ragged)])
    if isinstance(first, Sparse):
        return _joined_sparse([value for value in values if isinstance(value, Sparse)])
    return np.concatenate([value for value in values if isinstance(value, np.ndarray)])


def _joined_ragged(values: Sequence[Ragged]) -> Ragged:
    splits = []
    for levels in zip(*(value.row_splits for value in values), strict=True):
        lengths = np.concatenate([np.diff(level) for level in levels])
        splits.append(np.concatenate([[0], np.cumsum(lengths)]))
    return Ragged(np.concatenate([value.values for value in values]), tuple(splits))


def _joined_sparse(values: Sequence[Sparse]) -> Sparse:
    starts = np.cumsum([0, *(value.dense_shape[0] for value in values)])
    indices = [value.indices.copy() for value in values]
    for rows, start in zip(indices, starts, strict=False):
        rows[:, 0] += start
    shape = (int(starts[-1]), *values[0].dense_shape[1:])
    return Sparse(np.concatenate([value.values for value in values]), np.concatenate(indices), shape)
