"""How well layers of two sides agree, as numbers that an alignment adds up."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from tfdump.analysis.alignment import Score, Scores
from tfdump.analysis.layer_tree import Layer

_ALIKE, _ALIKE_BUT_RENAMED, _OTHER_SHAPES = 4, 3, 1
"""What a pair is worth: of equal shapes, of equal shapes where one name is a user's, of other shapes."""

_TIES: tuple[tuple[int, Callable[[Layer], Hashable]], ...] = (
    (2, lambda layer: layer.structure or None),
    (1, lambda layer: tuple(ahead for ahead, _ in layer.graph) or None),
    (1, lambda layer: tuple(behind for _, behind in layer.graph) or None),
    (1, lambda layer: layer.deep_content),
    (1, lambda layer: layer.name),
)
"""What decides between alignments of equal worth, with the weights; None equals nothing."""

_MOST_TIES = sum(weight for weight, _ in _TIES)

Codes = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""A number for a property of each layer of both sides, 0 where it is not known."""

Where = int | slice


class Scoring:
    """The scores of golden layers (rows) with new ones (columns).

    Layers may be paired that have one class, or where it is not known, one name without its number. Where a user
    chose one of the names, shapes or structure must agree too; where both are a user's and differ, the structure.
    """

    def __init__(self, golden: Sequence[Layer], new: Sequence[Layer]) -> None:
        self._sizes = (len(golden), len(new))
        self._base = _MOST_TIES * min(self._sizes) + 1

        def codes(key: Callable[[Layer], Hashable]) -> Codes:
            known: dict[Hashable, int] = {None: 0}
            first, second = (
                np.array([known.setdefault(key(layer), len(known)) for layer in side], np.int64)
                for side in (golden, new)
            )
            return first, second

        self._class = codes(lambda layer: layer.class_name)
        self._stem = codes(lambda layer: layer.stem)
        self._user = codes(lambda layer: layer.is_user_named or None)
        self._content = codes(lambda layer: layer.content)
        self._ties = [(weight, codes(key)) for weight, key in _TIES]

    def score(self, rows: Where, columns: Where) -> Scores:
        """Return the scores of a row with columns, or of as many rows as columns; 0 where they may not be paired."""

        def equal(codes: Codes) -> npt.NDArray[np.bool_]:
            first, second = codes[0][rows], codes[1][columns]
            return np.asarray((first == second) & (first != 0))

        known = (self._class[0][rows] != 0) & (self._class[1][columns] != 0)
        users = self._user[0][rows] + self._user[1][columns]
        shapes, structure = equal(self._content), equal(self._ties[0][1])
        kind = np.where(known, equal(self._class), equal(self._stem))
        allowed = kind & ((users == 0) | (known & (structure | ((users == 1) & shapes))))
        worth = np.where(shapes, np.where(users == 0, _ALIKE, _ALIKE_BUT_RENAMED), _OTHER_SHAPES)
        ties = sum(equal(codes) * weight for weight, codes in self._ties)
        return np.asarray(np.where(allowed, worth * self._base + ties, 0), np.int64)

    def between(self, start: int) -> Score:
        """Return the scores by numbers that count from `start` on both sides."""
        return lambda row, columns: self.score(row + start, slice(columns.start + start, columns.stop + start))

    def ends(self) -> tuple[int, int]:
        """Return how many layers at the start and at the end are paired in order in the best alignment, for certain.

        All are where all are alike: no other alignment has as many pairs. Else the first of both sides are, where
        neither could have a better partner; so are the last.
        """
        least = min(self._sizes)
        if self._sizes[0] == self._sizes[1] and (self.score(slice(None), slice(None)) // self._base == _ALIKE).all():
            return least, 0
        start = _leading(self._perfect(slice(least), slice(least)))
        rest = least - start
        last = [slice(size - rest, size) for size in self._sizes]
        return start, _leading(self._perfect(last[0], last[1])[::-1])

    def _perfect(self, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
        """Tell of pairs of a row and a column whether no other partner could be better for either of the two."""
        perfect = np.asarray(self.score(rows, columns) // self._base == _ALIKE)
        for _, (first, second) in self._ties:
            perfect &= first[rows] == second[columns]
        return perfect


def _leading(flags: npt.NDArray[np.bool_]) -> int:
    """Return how many flags are set before the first that is not."""
    return int(flags.argmin()) if not flags.all() else len(flags)
