"""Turns a position in one of the arrays of a tensor into a place in the tensor itself."""

import numpy as np

from tfdump.checks.evidence import ElementPlace, Tally
from tfdump.checks.magnitudes import Count
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.parts import Part
from tfdump.dump.tensor import Tensor


class Places:
    """Finds places in a tensor whose values are those of `part`; `first_example` is the number of its first example."""

    def __init__(self, tensor: Tensor, part: Part, first_example: int) -> None:
        self._tensor = tensor
        self._part = part
        self._first_example = first_example

    def tally(self, count: Count) -> Tally:
        """Return a count with the place of its first element."""
        if count.first is None:
            return Tally(count.count)
        return Tally(count.count, self.place(count.first, count.value))

    def place(self, position: int, value: float | None) -> ElementPlace:
        """Return the place of the element at a position in C order."""
        part_index = tuple(int(n) for n in np.unravel_index(position, self._part.shape)) if self._part.shape else ()
        index = self._index(part_index)
        by_example = self._tensor.attributes.get("axis0") == EXAMPLE and index
        return ElementPlace(index[0] + self._first_example if by_example else None, index, value)

    def _index(self, part_index: tuple[int, ...]) -> tuple[int, ...]:
        encoding = self._tensor.encoding
        if encoding == "stack":
            return (int(self._part.name), *part_index)
        parts = {part.name: part for part in self._tensor.parts()} if encoding else {}
        if encoding == "sparse":
            located = parts["indices"].read(part_index[0])
            return (*(int(n) for n in located), *part_index[1:])
        if encoding == "ragged":
            row, inner = part_index[0], list(part_index[1:])
            for name in sorted((name for name in parts if name.startswith("row_splits")), reverse=True):
                splits = parts[name].read()
                outer = int(np.searchsorted(splits, row, side="right")) - 1
                inner.insert(0, row - int(splits[outer]))
                row = outer
            return (row, *inner)
        return part_index
