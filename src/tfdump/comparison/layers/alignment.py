"""The best alignment of two sequences: pairs in order on both sides, with the largest sum of scores."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.int64]
Score = Callable[[int, slice], Scores]
"""The scores of one row with a range of columns: int64, and 0 if the two may not be paired."""


def align(rows: int, columns: int, score: Score) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of an alignment with the largest sum of scores, rising on both sides.

    Among equal alignments, early rows and columns are paired first. Time is rows times columns (in NumPy), memory their
    sum: Hirschberg, "A linear space algorithm for computing maximal common subsequences" (1975).
    """
    pairs: list[tuple[int, int]] = []
    _divide(0, rows, 0, columns, score, pairs)
    return pairs


def _divide(top: int, bottom: int, left: int, right: int, score: Score, pairs: list[tuple[int, int]]) -> None:
    if top == bottom or left == right:
        return
    if bottom - top == 1:
        scores = score(top, slice(left, right))
        best = int(scores.argmax())
        if scores[best] > 0:
            pairs.append((top, left + best))
        return
    middle = (top + bottom) // 2
    above = _best_sums(range(top, middle), left, right, score)
    below = _best_sums(range(bottom - 1, middle - 1, -1), left, right, score, backward=True)
    sums = above + below[::-1]
    cut = left + int(
        np.where(sums == sums.max(), above, -1).argmax()
    )  # among equal cuts, the one that pairs early rows
    _divide(top, middle, left, cut, score, pairs)
    _divide(middle, bottom, cut, right, score, pairs)


def _best_sums(rows: range, left: int, right: int, score: Score, backward: bool = False) -> Scores:
    """Return the largest sums of all rows with the first 0, 1, 2, ... columns (with the last ones if backward)."""
    best = np.zeros(right - left + 1, np.int64)
    for row in rows:
        scores = score(row, slice(left, right))
        paired = best[:-1] + (scores[::-1] if backward else scores)
        best[1:] = np.maximum.accumulate(np.maximum(best[1:], paired))
    return best


def rising(values: Sequence[int]) -> list[int]:
    """Return the positions of a longest rising subsequence of distinct numbers."""
    ends: list[int] = []
    tails: list[int] = []
    before: list[int] = []
    for position, value in enumerate(values):
        length = bisect_left(tails, value)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [value]
        ends[length : length + 1] = [position]
    chain: list[int] = []
    position = ends[-1] if ends else -1
    while position >= 0:
        chain.append(position)
        position = before[position]
    return chain[::-1]
