"""Where an element is: its index in the whole array, from its position in the piece that is judged."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.tensors import Array


@dataclass(frozen=True)
class ComparedElement:
    """One element: its part, its index in that part, and both values."""

    part: str
    index: tuple[int, ...]
    golden: Any
    new: Any


class Placer:
    """Finds the index and the values of an element by its position in the piece that is judged."""

    def __init__(self, part: str, key: tuple[slice, ...], golden: Array, new: Array, positions: Any) -> None:
        self._block = (part, key, golden, new)
        self._positions = positions  # in the flat block: the start of the piece, or the position of each element

    def of(self, positions: Array) -> "Placer":
        """Return the placer of some of the elements."""
        return Placer(*self._block, self._positions + positions)

    def __call__(self, position: Any) -> ComparedElement:
        """Return the element at a position in the piece that is judged."""
        part, key, golden, new = self._block
        start = self._positions
        at = int(start[position]) if isinstance(start, np.ndarray) else start + int(position)
        inside = np.unravel_index(at, golden.shape)
        index = tuple(int(axis) + piece.start for axis, piece in zip(inside, key, strict=True))
        return ComparedElement(part, index, golden.reshape(-1)[at], new.reshape(-1)[at])
