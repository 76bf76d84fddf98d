"""Every value of a tensor with its index, block by block."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.dump.slicing import Slicing
from tfdump.dump.tensor import Tensor
from tfdump.dump.view import RaggedOffsets, View, check_sparse, views_of
from tfdump.exports.text import value_texts

_ROWS = 1 << 14

Indices = list[npt.NDArray[np.int64]]


@dataclass(frozen=True)
class IndexedValues:
    """Some values of a tensor as text, and the index of each: numbers joined by commas, as `--slice` takes them."""

    indices: list[str]
    values: list[str]


def indexed_values(tensor: Tensor, slicing: Slicing | None = None) -> Iterator[IndexedValues]:
    """Yield the values of a tensor in C order.

    The index is that in the whole tensor: row and position for ragged tensors, the coordinates for sparse ones, the
    item and the index in it for stacks. Raises what `views_of` raises.
    """
    views = views_of(tensor, slicing)
    if "" in views:
        view = views[""]
        for first, values in _blocks(view):
            yield IndexedValues(_joined(view.indices(first, len(values))), values)
    elif tensor.encoding == "ragged":
        yield from _ragged(tensor, views["values"])
    elif tensor.encoding == "sparse":
        yield from _sparse(tensor, views["values"], views["indices"])
    else:
        for item, view in enumerate(views.values()):
            for first, values in _blocks(view):
                yield IndexedValues(_joined([np.full(len(values), item), *view.indices(first, len(values))]), values)


def _ragged(tensor: Tensor, view: View) -> Iterator[IndexedValues]:
    rows = RaggedOffsets(tensor)
    tail = view.shape[1:]
    for first, values in _blocks(view):
        inner, flat = _inner(first, len(values), tail)
        start = int(flat[0])
        leading = rows.indices(start, int(flat[-1]) + 1 - start)
        yield IndexedValues(_joined([index[flat - start] for index in leading] + inner), values)


def _sparse(tensor: Tensor, view: View, located: View) -> Iterator[IndexedValues]:
    check_sparse(tensor, view, located)
    tail, axes = view.shape[1:], located.shape[1]
    coordinates = (number for block in located.blocks() for number in block.reshape(-1, axes))
    done, current = -1, np.zeros(axes, np.int64)
    for first, values in _blocks(view):
        inner, flat = _inner(first, len(values), tail)
        entries = np.empty((int(flat[-1]) + 1 - int(flat[0]), axes), np.int64)
        for n in range(len(entries)):
            while done < int(flat[0]) + n:
                current, done = next(coordinates), done + 1
            entries[n] = current
        yield IndexedValues(_joined([*entries[flat - flat[0]].T, *inner]), values)


def _inner(first: int, count: int, tail: tuple[int, ...]) -> tuple[Indices, npt.NDArray[np.int64]]:
    """Return the indices of values in C order along the trailing axes, and their index along the leading axis."""
    places = np.arange(first, first + count)
    if not tail:
        return [], places
    flat, rest = np.divmod(places, math.prod(tail))
    return [np.asarray(index) for index in np.unravel_index(rest, tail)], flat


def _blocks(view: View) -> Iterator[tuple[int, list[str]]]:
    """Yield some values as text, and the position of the first of them in C order."""
    first = 0
    for block in view.blocks():
        for start in range(0, len(block), _ROWS):
            values = value_texts(block[start : start + _ROWS])
            yield first, values
            first += len(values)


def _joined(indices: Indices) -> list[str]:
    """Return the indices of every value, joined by commas; for a scalar, an empty string."""
    columns = [[str(number) for number in index.tolist()] for index in indices]
    return [",".join(row) for row in zip(*columns, strict=True)] if columns else [""]
