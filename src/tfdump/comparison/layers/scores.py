"""How well layers of two sides agree, as scores that an alignment adds up."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from tfdump.comparison.layers.alignment import Score, Scores
from tfdump.comparison.layers.tree import Layer

_ALIKE, _ALIKE_BUT_RENAMED, _OTHER_SHAPES = 4, 3, 1
"""The score of a pair of equal shapes, of equal shapes if one name is a user's, and of different shapes."""

_STRUCTURE = 2
_TIES: tuple[Callable[[Layer], Hashable], ...] = (
    lambda layer: layer.ahead,
    lambda layer: layer.behind,
    lambda layer: layer.name,
)
_MOST_TIES = _STRUCTURE + len(_TIES) + 1
"""What decides between alignments of equal score: structure counts twice, each of `_TIES` and what is inside once."""

_MOST_ROWS = 256

Codes = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""A number for a property of each layer of both sides, 0 if it is not known."""

Flags = npt.NDArray[np.bool_]
Where = int | slice


class Scoring:
    """The scores of golden layers (rows) with new layers (columns).

    Layers may be paired if they have the same class or, if that is not known, the same name without its number. If a
    user chose one of the names, shapes or structure must agree too. If users chose both names and they differ, the
    structure must agree.
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
        self._inside = codes(lambda layer: layer.deep_content)
        self._structure = codes(lambda layer: layer.structure or None)
        self._ties = [codes(key) for key in _TIES]
        self._places = [_places(second) for _, second in (self._structure, *self._ties)]
        self._rows: dict[tuple[int, ...], tuple[Scores, Scores]] = {}

    def row(self, row: int, columns: slice) -> Scores:
        """Return the scores of a row with some columns."""
        plain, of_one_structure = self._without_ties(row)
        scores = plain[columns].copy()
        ties = [(self._structure, _STRUCTURE), *((codes, 1) for codes in self._ties)]
        for number, ((codes, weight), places) in enumerate(zip(ties, self._places, strict=True)):
            where = places.get(int(codes[0][row]))
            if where is not None:
                where = where[(where >= columns.start) & (where < columns.stop)]
                here = where - columns.start
                if number == 0:
                    scores[here] = of_one_structure[where]
                scores[here] += weight * (scores[here] > 0)
        return scores

    def _without_ties(self, row: int) -> tuple[Scores, Scores]:
        """Return the scores of a row with all columns, without and with equal structure; equal rows share them."""
        key = tuple(int(codes[0][row]) for codes in (self._class, self._stem, self._user, self._content, self._inside))
        if key not in self._rows:
            if len(self._rows) >= _MOST_ROWS:
                self._rows.clear()
            every = slice(None)
            self._rows[key] = (self._score(row, every, np.False_), self._score(row, every, np.True_))
        return self._rows[key]

    def _score(self, rows: Where, columns: Where, structure: Flags | np.bool_) -> Scores:
        """Return the scores of a row with columns, or of rows and columns in pairs, without ties but what is inside."""
        known = (self._class[0][rows] != 0) & (self._class[1][columns] != 0)
        users = self._user[0][rows] + self._user[1][columns]
        shapes = _equal(self._content, rows, columns)
        kind = np.where(known, _equal(self._class, rows, columns), _equal(self._stem, rows, columns))
        allowed = kind & ((users == 0) | (known & (structure | ((users == 1) & shapes))))
        worth = np.where(shapes, np.where(users == 0, _ALIKE, _ALIKE_BUT_RENAMED), _OTHER_SHAPES)
        return np.where(allowed, worth * self._base + _equal(self._inside, rows, columns), 0).astype(np.int64)

    def between(self, start: int) -> Score:
        """Return the scores by numbers that count from `start` on both sides."""
        return lambda row, columns: self.row(row + start, slice(columns.start + start, columns.stop + start))

    def ends(self) -> tuple[int, int]:
        """Return how many layers at the start and at the end are certainly paired in order in the best alignment.

        If all layers agree in order, all are: no other alignment has as many pairs. Otherwise the first layers of both
        sides are, as long as neither could have a better partner, and so are the last ones.
        """
        least = min(self._sizes)
        if self._sizes[0] == self._sizes[1] and self._alike(slice(None), slice(None)).all():
            return least, 0
        start = _leading(self._perfect(slice(least), slice(least)))
        rest = least - start
        rows, columns = (slice(size - rest, size) for size in self._sizes)
        return start, _leading(self._perfect(rows, columns)[::-1])

    def _alike(self, rows: slice, columns: slice) -> Flags:
        """Tell, for pairs of a row and a column, whether they have the highest score there is."""
        scores = self._score(rows, columns, _equal(self._structure, rows, columns))
        return np.asarray(scores // self._base == _ALIKE)

    def _perfect(self, rows: slice, columns: slice) -> Flags:
        """Tell, for pairs of a row and a column, whether neither of the two could have a better partner."""
        perfect = self._alike(rows, columns)
        for first, second in (self._inside, self._structure, *self._ties):
            perfect &= first[rows] == second[columns]
        return perfect


def _equal(codes: Codes, rows: Where, columns: Where) -> Flags:
    first, second = codes[0][rows], codes[1][columns]
    return np.asarray((first == second) & (first != 0))


def _places(codes: npt.NDArray[np.int64]) -> dict[int, npt.NDArray[np.int64]]:
    """Return the positions of each code except 0."""
    order = np.argsort(codes, kind="stable")
    values, starts = np.unique(codes[order], return_index=True)
    return {int(value): where for value, where in zip(values, np.split(order, starts[1:]), strict=True) if value}


def _leading(flags: Flags) -> int:
    """Return how many flags are set before the first that is not."""
    return int(flags.argmin()) if not flags.all() else len(flags)
