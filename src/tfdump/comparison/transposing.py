"""One side of a comparison with its axes in the order of the other side: by `--transpose`, or as the values need it."""

from collections.abc import Sequence
from dataclasses import replace

from tfdump.address import Pattern
from tfdump.comparison.pairing import Pair
from tfdump.comparison.values.layouts import LaidOutItem, Layout, turned_back
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
        """Return the pair, with the axes of one side reordered where a pattern matches, or else as its values need."""
        if pair.golden is None or pair.new is None:
            return pair
        item, new = pair.golden if self._turns_golden else pair.new, pair.new
        order: Layout | None = None
        for number, (pattern, axes) in enumerate(self._patterns):
            if item.encoding is None and len(axes) == len(item.shape) and pattern.selects(pair.candidate):
                self._used.add(number)
                order = axes
        if order is not None:
            pair = replace(pair, axes=None)
        elif pair.axes is not None:
            order = turned_back(pair.axes, new.shape) if self._turns_golden else pair.axes
        if order is None:
            return pair
        turned = LaidOutItem(item, order)
        return replace(pair, golden=turned) if self._turns_golden else replace(pair, new=turned)

    def check_used(self) -> None:
        """Raise SelectionError for a pattern that matched no tensor of its rank."""
        for number, (pattern, axes) in enumerate(self._patterns):
            if number not in self._used:
                raise SelectionError(
                    f"--transpose names '{pattern.text}', which no tensor of {len(axes)} axes on both sides matches"
                )
