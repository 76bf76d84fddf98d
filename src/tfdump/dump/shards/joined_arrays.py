"""Arrays whose rows are in several shards, read as one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import h5py
import numpy as np

from tfdump.dump.parts import Key, Part
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.errors import DumpError
from tfdump.files.byte_strings import encoded, holds_bytes
from tfdump.tensors import Array


class Piece(Protocol):
    """Some successive rows of a joined array."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    def read(self, shards: OpenShards, rows: slice, rest: tuple[Any, ...]) -> Array:
        """Return these rows, cut along the other axes by `rest`, in the dtype of the shard."""


@dataclass(frozen=True, slots=True)
class RowsOfShard:
    """The rows from `first` on of an array of a shard; `added` is added to the numbers of each row, where not None.

    `shape` is that of the whole array in the shard.
    """

    shard: int
    path: str
    shape: tuple[int, ...]
    first: int = 0
    added: Any = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.shape[0] - self.first

    def read(self, shards: OpenShards, rows: slice, rest: tuple[Any, ...]) -> Array:
        """Return rows, cut along the other axes."""
        moved = slice(rows.start + self.first, rows.stop + self.first, rows.step)
        if self.added is None:
            return self.part(shards).read((moved, *rest))
        values = self.part(shards).read((moved,)) + np.asarray(self.added, np.int64)
        return np.asarray(values[(slice(None), *rest)])

    def part(self, shards: OpenShards) -> Part:
        """Return the array in the shard; raises DumpError where it is not the planned one."""
        return part_of_shape(shards, self.shard, self.path, self.shape)


@dataclass(frozen=True, slots=True)
class EntriesOfShard:
    """The indices of a sparse tensor of a shard that has one row per example, as those of a stack of batches.

    Each batch has `size` rows, and `batches` are the batches before the shard.
    """

    shard: int
    path: str
    shape: tuple[int, ...]
    size: int
    batches: int

    @property
    def rows(self) -> int:
        """The number of entries."""
        return self.shape[0]

    def read(self, shards: OpenShards, rows: slice, rest: tuple[Any, ...]) -> Array:
        """Return entries, cut along the other axis."""
        indices = part_of_shape(shards, self.shard, self.path, self.shape).read((rows,))
        batch, row = np.divmod(indices[:, :1], self.size)
        values = np.concatenate([batch + self.batches, row, indices[:, 1:]], axis=1)
        return np.asarray(values[(slice(None), *rest)])


@dataclass(frozen=True, slots=True)
class NumbersInMemory:
    """A few numbers that no shard has."""

    numbers: Array

    @property
    def rows(self) -> int:
        """How many numbers there are."""
        return len(self.numbers)

    def read(self, shards: OpenShards, rows: slice, rest: tuple[Any, ...]) -> Array:
        """Return some of them."""
        return np.asarray(self.numbers[(rows, *rest)])


@dataclass(frozen=True, slots=True)
class BatchesOfShard:
    """The batches of an array of a shard that has one row per example: each batch of `size` rows is one row."""

    shard: int
    path: str
    shape: tuple[int, ...]
    size: int

    @property
    def rows(self) -> int:
        """The number of batches."""
        return self.shape[0] // self.size

    def read(self, shards: OpenShards, rows: slice, rest: tuple[Any, ...]) -> Array:
        """Return batches, cut along the other axes."""
        part = part_of_shape(shards, self.shard, self.path, self.shape)
        values = part.read((slice(rows.start * self.size, rows.stop * self.size),))
        return values.reshape(-1, self.size, *self.shape[1:])[(slice(None, None, rows.step), *rest)]


@dataclass(frozen=True, slots=True)
class RepeatedValue:
    """An array of a shard that is the same in so many batches of the shard: one row for each."""

    shard: int
    path: str
    shape: tuple[int, ...]
    rows: int

    def read(self, shards: OpenShards, rows: slice, rest: tuple[Any, ...]) -> Array:
        """Return batches, cut along the other axes."""
        value = part_of_shape(shards, self.shard, self.path, self.shape).read()
        count = len(range(*rows.indices(self.rows)))
        return np.broadcast_to(value, (count, *self.shape))[(slice(None), *rest)]


def part_of_shape(shards: OpenShards, shard: int, path: str, shape: tuple[int, ...]) -> Part:
    """Return an array in a shard; raises DumpError where it has another shape."""
    part = shards.part(shard, path)
    if part.shape != shape:
        raise DumpError(
            f"{shards.paths[shard]}: '{path}' is damaged: its shape is {part.shape}, and {shape} was expected (move "
            "the file away, and the same command makes the shard)"
        )
    return part


@dataclass(frozen=True)
class JoinedArray:
    """An array in pieces along its first axis, one in a single shard (`whole`), or one in `memory`.

    `dtype` is that of HDF5. `grows` tells that one run does not know the number of rows in advance. `item` is the index
    of the batch that a `whole` array is in the array of its shard, or the rows of it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: tuple[Piece, ...] = ()
    whole: RowsOfShard | None = None
    item: Any = ()
    grows: bool = False
    memory: Array | None = None


class JoinedPart(Part):
    """One array of a tensor that is in shards, read as an array of a dump is.

    `declared` is a dataset of the same chunks and filters, without values; None where they do not matter.
    """

    def __init__(self, name: str, array: JoinedArray, shards: OpenShards, declared: h5py.Dataset | None = None) -> None:
        self.name = name
        self.shape = array.shape
        self.chunks = None if declared is None else declared.chunks
        self.is_bytes = holds_bytes(array.dtype)
        self.is_text = array.dtype.hasobject
        self.dtype = np.dtype(object) if self.is_text else array.dtype
        self.dataset = declared
        self._array = array
        self._shards = shards
        self._starts = np.cumsum([0, *(piece.rows for piece in array.pieces)])

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece, or of any key that h5py takes."""
        if self._array.memory is not None:
            return np.asarray(self._array.memory[key])
        if self._array.whole is not None:
            return self._of_whole(key)
        if isinstance(key, np.ndarray) and key.dtype == bool and key.ndim > 1:
            return self.read()[key]
        first, rest = _first_of(key, len(self.shape))
        if isinstance(first, slice):
            return self._joined(*first.indices(len(self)), rest)
        numbers = np.asarray(first)
        if numbers.dtype == bool:
            numbers = np.flatnonzero(numbers)
        if numbers.ndim == 0:
            number = int(numbers)
            if not -len(self) <= number < len(self):
                raise IndexError(f"Index ({number}) out of range for (0-{len(self) - 1})")
            return np.asarray(self._joined(number % len(self), number % len(self) + 1, 1, rest)[0], self.dtype)
        rows = [self.read((int(number), *rest)) for number in numbers]
        return np.stack(rows) if rows else self._joined(0, 0, 1, rest)

    def read_into(self, key: Key, buffer: Array) -> None:
        """Fill a contiguous array of the dtype with one piece, which has the shape of the array."""
        if not self._array.pieces:
            buffer[...] = self.read(key)
            return
        first = key[0]
        for piece, start, rows in self._overlapping(*first.indices(len(self))):
            target = buffer[start : start + rows.stop - rows.start]
            plain = isinstance(piece, RowsOfShard) and piece.added is None
            part = piece.part(self._shards) if isinstance(piece, RowsOfShard) and plain else None
            if part is not None and part.dtype == self.dtype and isinstance(piece, RowsOfShard):
                moved = slice(rows.start + piece.first, rows.stop + piece.first)
                part.read_into((moved, *key[1:]), target)
            else:
                target[...] = piece.read(self._shards, rows, key[1:])

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0] if self.shape else 0

    def _of_whole(self, key: Any) -> Array:
        whole = self._array.whole
        assert whole is not None
        part = whole.part(self._shards)
        if self._array.item == ():
            return self._converted(part.read(key))
        return self._converted(np.asarray(part.read(self._array.item)[key]))

    def _joined(self, start: int, stop: int, step: int, rest: tuple[Any, ...]) -> Array:
        """Return rows of all pieces that have some of them."""
        if step < 1:
            raise ValueError("Step must be >= 1")  # as h5py has it
        blocks = []
        for piece, before, rows in self._overlapping(start, stop, 1):
            skipped = -before % step
            if rows.start + skipped < rows.stop:
                blocks.append(piece.read(self._shards, slice(rows.start + skipped, rows.stop, step), rest))
        if not blocks:
            shape = np.broadcast_to(np.zeros((), np.int8), (0, *self.shape[1:]))[(slice(None), *rest)].shape
            return np.zeros(shape, self.dtype)
        return self._converted(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))

    def _overlapping(self, start: int, stop: int, step: int) -> Iterator[tuple[Piece, int, slice]]:
        """Yield each piece with some of these rows, the number of rows before, and its own rows."""
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        for number in range(max(0, first), len(self._array.pieces)):
            begin, end = int(self._starts[number]), int(self._starts[number + 1])
            if begin >= stop:
                return
            rows = slice(max(start, begin) - begin, min(stop, end) - begin, step)
            if rows.start < rows.stop:
                yield self._array.pieces[number], max(start, begin) - start, rows

    def _converted(self, values: Array) -> Array:
        """Return values of one shard as all shards together have them: a wider number, or bytes for text."""
        if not self.is_text:
            return values.astype(self.dtype, copy=False)
        if not self.is_bytes:
            return values
        items = np.empty(values.shape, object)
        for position, item in enumerate(values.reshape(-1)):
            items.reshape(-1)[position] = encoded(item)
        return items


def _first_of(key: Any, rank: int) -> tuple[Any, tuple[Any, ...]]:
    """Return the index of the first axis, and those of the others, one per axis that is named."""
    if isinstance(key, list) or (isinstance(key, np.ndarray) and key.ndim):
        return key, ()
    entries: Sequence[Any] = key if isinstance(key, tuple) else (key,)
    if any(entry is Ellipsis for entry in entries):
        place = next(number for number, entry in enumerate(entries) if entry is Ellipsis)
        missing = (slice(None),) * (rank - len(entries) + 1)
        entries = (*entries[:place], *missing, *entries[place + 1 :])
    if len(entries) > rank:
        raise ValueError(f"{len(entries)} indexing arguments for {rank} dimensions")
    return (entries[0], tuple(entries[1:])) if entries else (slice(None), ())
