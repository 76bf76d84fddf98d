"""`--transpose GLOB=AXES`: one side of a comparison with its axes in the order of the other side."""

from collections.abc import Sequence

from tfdump.address import Pattern
from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item, TransposedItem
from tfdump.errors import SelectionError


class Transposing:
    """Reorders the axes of the plain side, or of the new side where both or neither are plain.

    `patterns` are globs with orders of axes. Of the patterns that match a tensor and have its rank, the last one
    counts.
    """

    def __init__(self, patterns: Sequence[tuple[str, tuple[int, ...]]], turns_golden: bool) -> None:
        self._patterns = [(Pattern(glob), axes) for glob, axes in patterns]
        self._used: set[int] = set()
        self._turns_golden = turns_golden

    def turn(self, pair: Pair) -> Pair:
        """Return the pair, with the axes of one side reordered where a pattern matches."""
        if pair.golden is None or pair.new is None:
            return pair
        item = pair.golden if self._turns_golden else pair.new
        turned: Item = item
        for number, (pattern, axes) in enumerate(self._patterns):
            if item.encoding is None and len(axes) == len(item.shape) and pattern.selects(pair.candidate):
                self._used.add(number)
                turned = TransposedItem(item, axes)
        return Pair(turned, pair.new, pair.by) if self._turns_golden else Pair(pair.golden, turned, pair.by)

    def check_used(self) -> None:
        """Raise SelectionError for a pattern that matched no tensor of its rank."""
        for number, (pattern, axes) in enumerate(self._patterns):
            if number not in self._used:
                raise SelectionError(
                    f"--transpose names '{pattern.text}', which no tensor of {len(axes)} axes on both sides matches"
                )
