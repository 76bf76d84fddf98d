"""Compares two arrays block by block, reading each once: whether every element passes, and which one is the worst.

The bound of an element depends on the largest golden magnitude, which is known only at the end. A block is judged with
the largest magnitude so far. It is read again only if the final magnitude may change its verdict. Where blocks are
gone after they were judged, the verdict is the same, and only the number of failing elements may be a lower bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfdump.comparison.distances import (
    Wide,
    bits_are_equal,
    distances,
    largest_magnitude,
    same_where_not_finite,
    ulps_apart,
    zeros_of_unlike_sign,
)
from tfdump.comparison.fidelity.cosine import Cosine
from tfdump.comparison.fidelity.loss import QuantizationLoss
from tfdump.comparison.places import ComparedElement, Placer
from tfdump.comparison.rule import Rule
from tfdump.comparison.screening import Screen
from tfdump.comparison.verdict import Comparison
from tfdump.dump.parts import Piecewise
from tfdump.tensors import Array

PIECE = 1 << 15
"""Elements that are judged at once: 256 kB in float64, so that all passes over them read from cache."""

_CLOSE = 2
"""The factor by which the largest golden magnitude may still grow before blocks of failing elements are read again."""

_MOST_NEAR = 1 << 20
"""The number of failing elements whose excess is stored: 8 MB."""


@dataclass
class _Doubtful:
    """A block with elements above the bound at the time it was read.

    `failed` is their number; none has an excess below `lowest` or above `highest`. Excesses up to `ceiling` are stored
    in `near`, so that the block need not be read again for a bound up to there; `near` is None if there were too many.
    `pair` is None if the block cannot be read again.
    """

    pair: tuple[Piecewise, Piecewise] | None
    key: tuple[slice, ...]
    ceiling: Any
    failed: int = 0
    lowest: Any = np.inf
    highest: Any = -np.inf
    near: list[Any] | None = field(default_factory=list)

    def add(self, failed: int, close: Wide, lowest: Any, highest: Any) -> int:
        """Count failing elements, of which `close` has the known excesses; return how many of these are stored."""
        self.failed += failed
        self.lowest = min(self.lowest, lowest)
        self.highest = max(self.highest, highest)
        near = close[close <= self.ceiling]
        if self.near is not None and near.size:
            self.near.append(near)
        return int(near.size)

    def failing(self, bound: Any) -> int | None:
        """Return how many elements fail by the final bound; None if the block has to be read again."""
        if self.lowest > bound:
            return self.failed
        if self.highest <= bound:
            return 0
        if self.near is None or bound > self.ceiling:
            return None
        return self.failed - sum(int(np.count_nonzero(values <= bound)) for values in self.near)


class Judge:
    """Gathers the verdict on one tensor. Without `rereads`, a block is not read again after it was judged."""

    def __init__(self, rule: Rule, rereads: bool = True) -> None:
        self._rule = rule
        self._rereads = rereads
        self._buffers = (np.empty(PIECE), np.empty(PIECE))
        self._screen = Screen(PIECE, rule.tolerance) if rule.can_be_screened and rule.tolerance is not None else None
        self._count = self._unlike = self._signs = 0
        self._largest: Any = np.longdouble(0)
        self._max_error: Any = np.longdouble(0)
        self._need: Any = np.longdouble(-np.inf)  # the largest excess
        self._doubtful: list[_Doubtful] = []
        self._near = 0
        self._cosine = Cosine() if rule.min_cosine is not None else None
        self._loss = QuantizationLoss(rule.scales) if rule.tells_loss else None
        self._place_of_unlike: ComparedElement | None = None
        self._place_of_sign: ComparedElement | None = None
        self._place_of_error: ComparedElement | None = None
        self._place_of_need: ComparedElement | None = None

    def add(
        self,
        golden: Piecewise,
        new: Piecewise,
        key: tuple[slice, ...],
        old_block: Array,
        new_block: Array,
        part: str | None = None,
    ) -> None:
        """Judge one block of both sides; `part` replaces the name of the golden array as the place of elements."""
        self._count += old_block.size
        if self._loss is not None:
            self._loss.add(golden.shape, key, old_block, new_block)
        if self._rule.min_cosine is None and bits_are_equal(old_block, new_block):
            largest = largest_magnitude(old_block)
            if largest is not None:
                self._largest = max(self._largest, np.longdouble(largest))
                return
        if not self._largest:
            self._largest = np.longdouble(largest_magnitude(old_block) or 0)
        pair = (golden, new) if self._rereads else None
        block = _Doubtful(pair, key, _CLOSE * self._rule.bound(self._largest))
        if self._near > _MOST_NEAR:
            block.near = None
        for positions, old, other in _pieces(old_block, new_block):
            place = Placer(golden.name if part is None else part, key, old_block, new_block, positions)
            self._judge(old, other, place, block)
        if block.failed:
            self._doubtful.append(block)

    def _settled(self, golden: Array, new: Array, block: _Doubtful) -> bool:
        """Tell whether a quick look settles a piece: it has neither the worst element nor a close verdict."""
        screened = self._screen.look(golden, new) if self._screen is not None else None
        if screened is None:
            return False
        self._largest = max(self._largest, np.longdouble(screened.largest))
        if screened.error > self._max_error or screened.need > max(self._need, 0):
            return False
        bound = self._rule.bound(self._largest)
        if screened.need <= bound:
            return True
        count, close = screened.above(float(bound), float(max(bound, block.ceiling)))
        if close.size > PIECE // 8:
            return False
        needs = self._needs(golden[close], new[close])
        failing = needs[needs > self._bound(needs)]
        lowest = failing.min() if failing.size else max(bound, block.ceiling)
        self._near += block.add(count - close.size + failing.size, failing, lowest, screened.need)
        return True

    def _needs(self, golden: Array, new: Array) -> Wide:
        """Return the excess of finite elements."""
        if not golden.size:
            return np.empty(0)
        return self._rule.excess(*distances(golden, new, self._buffers), golden, new)

    def _judge(self, golden: Array, new: Array, place: Placer, block: _Doubtful) -> None:
        if self._settled(golden, new, block):
            return
        if self._rule.exact:
            self._look_at_signs(golden, new, place)
        error, magnitude = distances(golden, new, self._buffers)
        if not (np.isfinite(error.max()) and np.isfinite(magnitude.max())):
            golden, new, place = self._set_aside(golden, new, place)
            if not golden.size:
                return
            error, magnitude = distances(golden, new, self._buffers)
        if self._cosine is not None:
            self._cosine.add(golden, new)
        self._largest = max(self._largest, np.longdouble(magnitude.max()))
        furthest = error.max()
        if furthest > self._max_error:
            self._max_error, self._place_of_error = np.longdouble(furthest), place(error.argmax())
        excess = self._rule.excess(error, magnitude, golden, new)
        need = excess.max()
        if need > self._need:
            self._need, self._place_of_need = np.longdouble(need), place(excess.argmax())
        bound = self._bound(excess)
        if need > bound:
            above = excess[excess > bound]
            self._near += block.add(above.size, above, above.min(), need)

    def _bound(self, excess: Wide) -> Any:
        """Return the bound in the dtype of the excess, rounded down: the comparison is that in extended precision."""
        bound = self._rule.bound(self._largest)
        narrow = excess.dtype.type(bound)
        return np.nextafter(narrow, excess.dtype.type(-np.inf)) if narrow > bound else narrow

    def _set_aside(self, golden: Array, new: Array, place: Placer) -> tuple[Array, Array, Placer]:
        """Judge the elements that are NaN or infinite on one side, and return the others."""
        finite = np.isfinite(golden) & np.isfinite(new)
        alike = same_where_not_finite(golden, new, self._rule.nan_equal)
        unlike = np.flatnonzero(~(finite | alike))
        self._unlike += unlike.size
        if unlike.size and self._place_of_unlike is None:
            self._place_of_unlike = place(unlike[0])
        positions = np.flatnonzero(finite)
        alone = golden[np.isfinite(golden) & ~finite]
        if alone.size:  # they still count for the largest golden magnitude
            self._largest = max(self._largest, np.longdouble(distances(alone, alone, self._buffers)[1].max()))
        return golden[positions], new[positions], place.of(positions)

    def _look_at_signs(self, golden: Array, new: Array, place: Placer) -> None:
        unlike = np.flatnonzero(zeros_of_unlike_sign(golden, new))
        self._signs += unlike.size
        if unlike.size and self._place_of_sign is None:
            self._place_of_sign = place(unlike[0])

    @property
    def fails(self) -> bool:
        """Whether the elements so far fail, by the largest golden magnitude so far."""
        beyond = self._need > self._rule.bound(self._largest)
        return bool(self._unlike or self._signs or beyond or not self._passes_as_a_whole())

    def _passes_as_a_whole(self) -> bool:
        """Tell whether the cosine and the ratio of signal to noise are large enough, where that is asked for."""
        rule = self._rule
        fails = self._cosine is not None and self._cosine.value() < (rule.min_cosine or 0.0)
        noisy = self._loss is not None and rule.min_sqnr is not None and self._loss.sqnr < rule.min_sqnr
        return not (fails or noisy)

    def finish(self) -> Comparison:
        """Read again the blocks whose verdict the largest golden magnitude may change, and return the comparison."""
        bound = self._rule.bound(self._largest)
        failed, at_least = self._unlike + self._signs, False
        for block in self._doubtful:
            known = block.failing(bound)
            if known is None and block.pair is None:
                known, at_least = 1, True  # its highest excess is above the bound
            failed += self._count_above(block) if known is None else known
        whole, loss = self._passes_as_a_whole(), self._loss
        worst = self._place_of_unlike
        if worst is None and (self._need > 0 or not self._max_error):
            worst = self._place_of_need if self._need > 0 else self._place_of_sign
        elif worst is None:
            worst = self._place_of_error
        comparison = Comparison(
            passed=not failed and whole,
            count=self._count,
            failed=failed,
            at_least=at_least,
            unlike=self._unlike,
            max_error=float(self._max_error),
            largest=float(self._largest),
            scale=self._rule.scale_for(self._need, self._largest) if whole and not self._unlike else None,
            cosine=None if self._cosine is None else self._cosine.value(),
            sqnr=None if loss is None else loss.sqnr,
            steps=None if loss is None else loss.steps,
            saturated=None if loss is None else loss.saturated,
        )
        if worst is None:
            return comparison
        golden, new = worst.golden.item(), worst.new.item()
        return replace(comparison, index=worst.index, golden=golden, new=new, part=worst.part, ulp=self._ulp(worst))

    def _count_above(self, block: _Doubtful) -> int:
        """Read one block again and count the elements above the final bound."""
        assert block.pair is not None
        count = 0
        for _, old, other in _pieces(*(np.asarray(side.read(block.key), order="C") for side in block.pair)):
            finite = np.isfinite(old) & np.isfinite(other)
            needs = self._needs(old[finite], other[finite])
            count += int(np.count_nonzero(needs > self._bound(needs)))
        return count

    def _ulp(self, worst: ComparedElement) -> int | None:
        values = np.array([worst.golden]), np.array([worst.new])
        if self._rule.ulp_dtype is None or not all(np.isfinite(value).all() for value in values):
            return None
        return int(ulps_apart(*values, self._rule.ulp_dtype)[0])


def _pieces(golden: Array, new: Array) -> Iterator[tuple[int, Array, Array]]:
    """Cut two contiguous blocks into pieces that stay in cache."""
    old, other = golden.reshape(-1), new.reshape(-1)
    for start in range(0, old.size, PIECE):
        yield start, old[start : start + PIECE], other[start : start + PIECE]
