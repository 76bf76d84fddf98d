"""The batches of one tensor in one shard, one after the other, as its sink stored them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.dump.axis0 import BATCH, NONE
from tfdump.dump.parts import Part
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.read_ahead import blocks_ahead
from tfdump.errors import DumpError
from tfdump.tensors import Array, Ragged, Sparse, Value

_FEW_ENTRIES = 1 << 16
"""Entries of a sparse tensor that are read at once."""


def batches_in_shard(
    shards: OpenShards, number: int, path: str, axis0: str, most_bytes: int, thread: ThreadPoolExecutor | None = None
) -> Iterator[Value]:
    """Yield the batches of a tensor whose first axis in this shard is `axis0`.

    About `most_bytes` are in memory, if a batch is smaller. With a `thread`, it reads the numbers that come next
    meanwhile, and numbers change when the next batch is asked for. Raises DumpError for a damaged shard.
    """
    item, sizes = shards.item(number, path), shards.batch_sizes(number)
    if isinstance(item, h5py.Dataset):
        part, rows = Part("", item), len(sizes) if axis0 == BATCH else sum(sizes)
        if axis0 != NONE and part.shape[:1] != (rows,):
            text = f"its shape is {part.shape}, and it has {rows} rows in this shard"
            raise DumpError(f"{shards.paths[number]}: '{path}' is damaged: {text}")
        return _dense(part, axis0, sizes, most_bytes, thread)
    parts = {name: Part(name, shards.item(number, f"{path}/{name}")) for name in item}
    if "row_splits" in parts:
        return _ragged(parts, axis0, sizes)
    if "indices" in parts:
        return _sparse(parts, axis0, sizes, tuple(int(size) for size in item.attrs["dense_shape"]))
    if len(parts) != len(sizes):
        raise DumpError(f"{shards.paths[number]}: '{path}' is damaged: it has {len(parts)} of {len(sizes)} batches")
    return (part.read() for part in parts.values())


def _dense(
    part: Part, axis0: str, sizes: Sequence[int], most_bytes: int, thread: ThreadPoolExecutor | None
) -> Iterator[Array]:
    if axis0 == NONE:
        value = part.read()
        yield from (value for _ in sizes)
        return
    lengths = [1] * len(sizes) if axis0 == BATCH else sizes
    bounds = [0, *accumulate(lengths)]
    reader = None if part.is_text or 0 in part.shape else thread
    at_once = max(1, most_bytes // (1 if reader is None else 2) // max(1, part.nbytes // len(sizes)))
    groups = [bounds[begin : begin + at_once + 1] for begin in range(0, len(sizes), at_once)]
    rows_of_groups = [(group[0], group[-1]) for group in groups]
    if reader is not None:
        blocks = blocks_ahead(part, rows_of_groups, reader)
    else:
        blocks = (part.read((slice(*rows),)) for rows in rows_of_groups)
    for group, block in zip(groups, blocks, strict=True):
        for start, stop in pairwise(group):
            rows = block[start - group[0] : stop - group[0]]
            yield rows[0] if axis0 == BATCH else rows


def _ragged(parts: dict[str, Part], axis0: str, sizes: Sequence[int]) -> Iterator[Ragged]:
    """Yield batches with offsets of their own; in a stack, each batch is one row of the outermost axis."""
    levels = [parts[name].read() for name in sorted(parts) if name.startswith("row_splits")]
    start = 0
    for size in (1 for _ in sizes) if axis0 == BATCH else sizes:
        first, stop = start, start + size
        splits: list[npt.NDArray[np.int64]] = []
        for level in levels:
            offsets = level[first : stop + 1]
            first, stop = int(offsets[0]), int(offsets[-1])
            splits.append(offsets - first)
        values = parts["values"].read((slice(first, stop),))
        yield Ragged(values, tuple(splits[1:] if axis0 == BATCH else splits))
        start += size


def _sparse(parts: dict[str, Part], axis0: str, sizes: Sequence[int], dense_shape: tuple[int, ...]) -> Iterator[Sparse]:
    """Yield the entries of each batch, which follow each other, with rows counted inside of the batch."""
    stacked = axis0 == BATCH
    row = entry = 0
    for size in sizes:
        rows = 1 if stacked else size
        end = _end_of_rows(parts["indices"], entry, row + rows)
        indices = parts["indices"].read((slice(entry, end),))
        values = parts["values"].read((slice(entry, end),))
        if stacked:
            yield Sparse(values, indices[:, 1:], dense_shape[1:])
        else:
            indices[:, 0] -= row
            yield Sparse(values, indices, (size, *dense_shape[1:]))
        row, entry = row + rows, end


def _end_of_rows(indices: Part, entry: int, row: int) -> int:
    """Return the first entry from `entry` on whose row is not below `row`."""
    count = indices.shape[0]
    while entry < count:
        rows = indices.read((slice(entry, entry + _FEW_ENTRIES), slice(0, 1)))[:, 0]
        later = np.flatnonzero(rows >= row)
        if later.size:
            return entry + int(later[0])
        entry += len(rows)
    return count
