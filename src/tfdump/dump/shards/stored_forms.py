"""What a tensor is in the file of one run: its arrays, and where in the shards their rows are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import h5py
import numpy as np

from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.composites import sparse_attributes
from tfdump.dump.kinds.tensor_kind import common_shape
from tfdump.dump.layout import stacked_shape
from tfdump.dump.shards.joined_arrays import (
    BatchesOfShard,
    EntriesOfShard,
    JoinedArray,
    NumbersInMemory,
    Piece,
    RepeatedValue,
    RowsOfShard,
)
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.tensor_state import CombinedState
from tfdump.errors import DumpError
from tfdump.files.byte_strings import bytes_dtype, holds_bytes
from tfdump.files.hdf5 import attributes_of

_TOLD = ("computed_shape", "dense_shape", "axis0", "reduce", "float16_zeros", "aliases")
"""The attributes of a tensor in a shard that its form and its attributes in the whole run follow from."""


@dataclass(frozen=True)
class StoredForm:
    """The arrays of a tensor by their names in it ("" for the tensor itself), and the attributes that follow from them.

    A tensor without values is one array of zero length.
    """

    arrays: Mapping[str, JoinedArray]
    attributes: Mapping[str, Any]

    @property
    def is_group(self) -> bool:
        """Whether the tensor is a group of arrays."""
        return "" not in self.arrays


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in one shard: its first axis there, its arrays with their shapes and dtypes, and some attributes.

    `batches` are the examples of each batch of the shard.
    """

    shard: int
    path: str
    axis0: str
    batches: Sequence[int]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype[Any]]
    attributes: Mapping[str, Any]

    def rows(self, name: str = "", first: int = 0, added: Any = None) -> RowsOfShard:
        """Return the rows of one of the arrays."""
        path = f"{self.path}/{name}" if name else self.path
        return RowsOfShard(self.shard, path, self.shapes[name], first, added)


def stored_tensor(shards: OpenShards, number: int, path: str, axis0: str) -> StoredTensor:
    """Look at one tensor in a shard; raises DumpError where it is not there."""
    item = shards.item(number, path)
    members = {"": item} if isinstance(item, h5py.Dataset) else {name: item[name] for name in item}
    attributes = attributes_of(item, DumpError)
    return StoredTensor(
        number,
        path,
        axis0,
        shards.batch_sizes(number),
        {name: tuple(member.shape) for name, member in members.items()},
        {name: member.dtype for name, member in members.items()},
        {name: attributes[name] for name in _TOLD if name in attributes},
    )


def stored_form(stored: Sequence[StoredTensor], state: CombinedState) -> StoredForm:
    """Return what one tensor is in the file of one run, from what it is in every shard."""
    first = stored[0]
    if "computed_shape" in first.attributes:
        return _without_values(stored, state.axis0)
    if "row_splits" in first.shapes:
        return _ragged(stored, BATCH if state.axis0 == BATCH else EXAMPLE)
    if "indices" in first.shapes:
        return _sparse(stored, state.axis0)
    dtype = _common([dtype for item in stored for dtype in item.dtypes.values()])
    if state.axis0 == BATCH:
        return _stack(stored, dtype)
    if state.axis0 == NONE:
        return StoredForm({"": JoinedArray(first.shapes[""], dtype, whole=first.rows())}, {"axis0": NONE})
    return StoredForm({"": _joined([item.rows() for item in stored], first.shapes[""][1:], dtype)}, {"axis0": EXAMPLE})


def _common(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the dtype that holds the values of all shards."""
    if any(holds_bytes(dtype) for dtype in dtypes):
        return bytes_dtype()
    return dtypes[0] if dtypes[0].hasobject else reduce(np.promote_types, dtypes)


def _joined(pieces: Sequence[Piece], tail: tuple[int, ...], dtype: np.dtype[Any]) -> JoinedArray:
    return JoinedArray((sum(piece.rows for piece in pieces), *tail), dtype, tuple(pieces))


def _stack(stored: Sequence[StoredTensor], dtype: np.dtype[Any]) -> StoredForm:
    """Return the batches of all shards as the rows of one array or, if their shapes differ, as arrays of a group."""
    shapes = {shape for item in stored for shape in _shapes_of_batches(item)}
    if len(shapes) == 1:
        (shape,) = shapes
        return StoredForm({"": _joined([_as_batches(item) for item in stored], shape, dtype)}, {"axis0": BATCH})
    arrays = [array for item in stored for array in _single_batches(item, dtype)]
    named = {str(number): array for number, array in enumerate(arrays)}
    return StoredForm(named, {"axis0": BATCH, "encoding": "stack"})


def _shapes_of_batches(item: StoredTensor) -> list[tuple[int, ...]]:
    """Return the shapes of the batches in a shard, equal ones once."""
    if "" not in item.shapes:
        return list(dict.fromkeys(item.shapes.values()))
    shape = item.shapes[""]
    if item.axis0 == EXAMPLE:
        return [(size, *shape[1:]) for size in dict.fromkeys(item.batches)]
    return [shape if item.axis0 == NONE else shape[1:]]


def _as_batches(item: StoredTensor) -> Piece:
    """Return the batches of a shard as rows, where all have one shape."""
    if "" not in item.shapes:  # a group of arrays, which would not be one if there were several
        raise DumpError(f"'{item.path}' is damaged: its batches have one shape, and are stored apart")
    shape = item.shapes[""]
    if item.axis0 == EXAMPLE:
        return BatchesOfShard(item.shard, item.path, shape, item.batches[0])
    return RepeatedValue(item.shard, item.path, shape, len(item.batches)) if item.axis0 == NONE else item.rows()


def _single_batches(item: StoredTensor, dtype: np.dtype[Any]) -> list[JoinedArray]:
    """Return the batches of a shard as arrays of their own."""
    if "" not in item.shapes:
        return [JoinedArray(item.shapes[name], dtype, whole=item.rows(name)) for name in item.shapes]
    whole, shape = item.rows(), item.shapes[""]
    if item.axis0 == NONE:
        return [JoinedArray(shape, dtype, whole=whole) for _ in item.batches]
    if item.axis0 == BATCH:
        return [JoinedArray(shape[1:], dtype, whole=whole, item=(number,)) for number in range(shape[0])]
    ends = np.cumsum(item.batches).tolist()
    return [
        JoinedArray((size, *shape[1:]), dtype, whole=whole, item=(slice(end - size, end),))
        for size, end in zip(item.batches, ends, strict=True)
    ]


def _ragged(stored: Sequence[StoredTensor], axis0: str) -> StoredForm:
    """Return the rows of all shards end to end; the offsets of a shard begin where those before it end."""
    tail = stored[0].shapes["values"][1:]
    arrays = {"values": _joined([item.rows("values") for item in stored], tail, _of(stored))}
    levels = [_levels(item, axis0) for item in stored]
    for level in range(len(levels[0])):
        pieces: list[Piece] = []
        end = 0
        for number, (item, of_item) in enumerate(zip(stored, levels, strict=True)):
            _, make = of_item[level]
            pieces.append(make(0 if number == 0 else 1, end))
            end += of_item[level + 1][0] - 1 if level + 1 < len(of_item) else item.shapes["values"][0]
        arrays["row_splits" if level == 0 else f"row_splits_{level}"] = _joined(pieces, (), np.dtype(np.int64))
    return StoredForm(_growing(arrays), {"axis0": axis0, "encoding": "ragged"})


def _levels(item: StoredTensor, axis0: str) -> list[tuple[int, Callable[[int, int], Piece]]]:
    """Return the number of offsets of each ragged axis in a shard, and what makes the rows of the joined offsets.

    In a stack, the batches of a shard that has one row per example become the outermost axis.
    """

    def of_part(name: str) -> tuple[int, Callable[[int, int], Piece]]:
        return item.shapes[name][0], lambda first, added: item.rows(name, first, added or None)

    levels = [of_part(name) for name in sorted(item.shapes) if name.startswith("row_splits")]
    if axis0 == BATCH and item.axis0 != BATCH:
        ends = np.cumsum([0, *item.batches])
        levels.insert(0, (len(ends), lambda first, added: NumbersInMemory(ends[first:] + added)))
    return levels


def _sparse(stored: Sequence[StoredTensor], axis0: str) -> StoredForm:
    """Return the entries of all shards; the rows of a shard are counted from the end of those before it."""
    pieces: list[Piece] = []
    rows = 0
    others: tuple[int, ...] = ()
    for item in stored:
        sizes = tuple(int(size) for size in item.attributes["dense_shape"])
        located = item.shapes["indices"][1]
        if axis0 == BATCH and item.axis0 != BATCH:
            sizes = (len(item.batches), max(item.batches), *sizes[1:])
            path, shape = f"{item.path}/indices", item.shapes["indices"]
            pieces.append(EntriesOfShard(item.shard, path, shape, item.batches[0], rows))
            located += 1
        else:
            pieces.append(item.rows("indices", 0, (rows, *(0 for _ in range(located - 1))) if rows else None))
        others = tuple(max(pair) for pair in zip(others or sizes[1:], sizes[1:], strict=True))
        rows += sizes[0]
    values = _joined([item.rows("values") for item in stored], stored[0].shapes["values"][1:], _of(stored))
    arrays = {"values": values, "indices": _joined(pieces, (located,), np.dtype(np.int64))}
    return StoredForm(_growing(arrays), sparse_attributes(axis0, (rows, *others)))


def _of(stored: Sequence[StoredTensor]) -> np.dtype[Any]:
    return _common([item.dtypes["values"] for item in stored])


def _growing(arrays: Mapping[str, JoinedArray]) -> dict[str, JoinedArray]:
    return {name: JoinedArray(item.shape, item.dtype, item.pieces, grows=True) for name, item in arrays.items()}


def _without_values(stored: Sequence[StoredTensor], axis0: str) -> StoredForm:
    """Return the shape that the values of all shards would have, and no rows."""
    tails_of_rows = {tuple(item.attributes["computed_shape"])[1:] for item in stored if axis0 == EXAMPLE}
    if len(tails_of_rows) > 1 or any(item.attributes["axis0"] == BATCH for item in stored):
        axis0 = BATCH  # the rows of sparse batches differ in shape
    shapes = [_computed(item, axis0) for item in stored]
    if axis0 == EXAMPLE:
        shape: tuple[int, ...] = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    elif axis0 == NONE:
        shape = shapes[0]
    else:
        count = sum(len(item.batches) for item in stored)
        tails: tuple[int, ...] | None = shapes[0][1:]
        for other in shapes[1:]:
            tails = common_shape(tails, other[1:])
        shape = (count,) if tails is None else (count, *tails)
    tail = tuple(max(size, 0) for size in shape[1:])
    array = JoinedArray((0, *tail), _common([item.dtypes[""] for item in stored]))
    attributes = {"axis0": axis0, "values": False, "computed_shape": np.array(shape, np.int64)}
    return StoredForm({"": array}, attributes)


def _computed(item: StoredTensor, axis0: str) -> tuple[int, ...]:
    """Return the shape of a tensor without values in one shard, as the first axis of the whole run has it."""
    shape = tuple(int(size) for size in item.attributes["computed_shape"])
    if axis0 != BATCH or item.attributes["axis0"] == BATCH:
        return shape
    if item.axis0 == NONE:
        return (len(item.batches), *shape)
    return stacked_shape([(size, *shape[1:]) for size in item.batches])
