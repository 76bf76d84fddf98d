"""The items of a comparison: tensors of a dump, and plain arrays from elsewhere with the same methods."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from tfdump.dtypes import dtype_name, kind_of
from tfdump.dump.layout import stacked_shape
from tfdump.dump.parts import BLOCK_BYTES, Piecewise, pieces
from tfdump.dump.quantization import QuantizationParameters
from tfdump.errors import InputError
from tfdump.tensors import Array, Ragged, Sparse


class Item(Protocol):
    """One tensor of a side, as `tfdump.dump.tensor.Tensor` is; `group` is empty for a plain array."""

    group: str
    address: str
    attributes: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""

    @property
    def dtype(self) -> str:
        """The dtype as the model computed it."""

    @property
    def stored_dtype(self) -> str:
        """The dtype of the values in the file."""

    @property
    def encoding(self) -> str | None:
        """None for an array, or the kind of a composite."""

    @property
    def has_values(self) -> bool:
        """False if only statistics were stored."""

    @property
    def connected(self) -> bool:
        """False for a gradient that does not exist."""

    @property
    def norm(self) -> float | list[float] | None:
        """The L2 norm of a gradient, if it was stored."""

    @property
    def statistics(self) -> dict[str, int | float] | None:
        """The statistics that were stored."""

    @property
    def quantization(self) -> QuantizationParameters | None:
        """How integers stand for real numbers, None if they do not."""

    def parts(self) -> Sequence[Piecewise]:
        """Return the arrays that the tensor consists of."""


class ArrayPart:
    """An array in memory, or rows of a file that `reader` reads by `read(start, stop)`, as a Piecewise."""

    piece_bytes = BLOCK_BYTES

    def __init__(self, name: str, reader: Any) -> None:
        self.name = name
        self.shape: tuple[int, ...] = tuple(reader.shape)
        self.is_text = reader.dtype.kind in "OSU"
        self.dtype: np.dtype[Any] = np.dtype(object) if self.is_text else reader.dtype
        self._reader = reader
        self._rows: tuple[slice, Array] | None = None

    def keys(self, most_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, ...]]:
        """Yield the pieces that together are the array."""
        return pieces(self.shape, self.dtype.itemsize, None, most_bytes)

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece: text as str objects, and as bytes where it is not valid UTF-8."""
        if not self.shape:
            values = self._reader.read(0, 1).reshape(())
        else:
            first, *rest = key or (slice(0, self.shape[0]),)
            values = self._rows_of(first)[(slice(None), *rest)]
        return _as_text(values) if self.is_text else np.asarray(values)

    def _rows_of(self, rows: slice) -> Array:
        """Return whole rows, and store them for the next piece, which may be from the same rows."""
        if self._rows is None or self._rows[0] != rows:
            self._rows = None
            self._rows = (rows, self._reader.read(rows.start, rows.stop))
        return self._rows[1]

    def read_into(self, key: tuple[slice, ...], buffer: Array) -> None:
        """Fill an array with the values of one piece."""
        buffer[...] = self.read(key)


class PlainItem:
    """A plain array as a tensor without a group and attributes."""

    group = ""
    has_values = connected = True
    norm = statistics = quantization = None

    def __init__(
        self,
        address: str,
        parts: Sequence[Piecewise],
        encoding: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.address = address
        self.attributes: dict[str, Any] = {}
        self.encoding = encoding
        self._parts = parts
        values = next((part for part in parts if part.name in ("", "values", "0")), None)
        self.dtype = dtype_name(values.dtype) if values is not None else "float32"
        self.shape = shape if shape is not None else values.shape if values is not None else ()

    @property
    def stored_dtype(self) -> str:
        """The dtype of the values in the file."""
        return self.dtype

    def parts(self) -> Sequence[Piecewise]:
        """Return the arrays that it consists of; raises InputError if they are neither numbers nor text."""
        if kind_of(self.dtype) == "V":
            raise InputError(f"'{self.address}' holds {self.dtype}, which is neither numbers nor text")
        return self._parts


class MemoryReader:
    """An array in memory with the methods of a reader."""

    def __init__(self, array: Any) -> None:
        self._array = np.asarray(array)
        if kind_of(dtype_name(self._array.dtype)) == "f" and self._array.dtype.kind != "f":  # bfloat16
            self._array = self._array.astype(np.float32)
        self.shape = self._array.shape
        self.dtype = self._array.dtype

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` to `stop`."""
        rows: Array = self._array[start:stop] if self.shape else self._array
        return rows


def plain_item(name: str, value: Any) -> PlainItem:
    """Return a value of one tensor, as `tfdump.activations` returns it, as an item."""
    if isinstance(value, Ragged):
        splits = {f"row_splits_{level}" if level else "row_splits": s for level, s in enumerate(value.row_splits)}
        arrays, encoding = {"values": value.values, **splits}, "ragged"
    elif isinstance(value, Sparse):
        arrays, encoding = {"values": value.values, "indices": value.indices}, "sparse"
    elif isinstance(value, list) and value and all(isinstance(item, np.ndarray) for item in value):
        arrays, encoding = {str(number): item for number, item in enumerate(value)}, "stack"
    else:
        return PlainItem(name, [ArrayPart("", MemoryReader(value))])
    parts = [ArrayPart(part, MemoryReader(array)) for part, array in arrays.items()]
    shape = value.shape if isinstance(value, (Ragged, Sparse)) else stacked_shape([part.shape for part in parts])
    return PlainItem(name, parts, encoding, tuple(shape))


def _as_text(values: Array) -> Array:
    """Return text as str objects; what is not valid UTF-8 stays bytes."""
    texts = np.empty(values.shape, object)
    flat = texts.reshape(-1)
    for position, item in enumerate(values.reshape(-1)):
        flat[position] = _decoded(item) if isinstance(item, bytes) else str(item)
    return texts


def _decoded(item: bytes) -> str | bytes:
    try:
        return item.decode()
    except UnicodeDecodeError:
        return item


def parse_transpose(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `[GLOB=]AXES`, such as `conv*=0,2,3,1`; raises InputError if the axes are not a permutation."""
    glob, _, axes = text.rpartition("=")
    try:
        order = tuple(int(axis) for axis in axes.split(","))
    except ValueError:
        order = ()
    if sorted(order) != list(range(len(order))) or not order:
        raise InputError(f"'{text}' is not [GLOB=]AXES: '{axes}' is not an order of axes (for example 0,2,3,1)")
    return glob or "*", order
