"""Measures which tensors of two sides are like each other: bounds first, values where the bounds leave it open."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tfdump.comparison.values.layouts import is_identity
from tfdump.comparison.values.likeness import (
    LOOSEST,
    NEAR,
    UNLIKE,
    Likeness,
    exact_distance,
    is_exact,
    is_near,
    likeness_of,
)
from tfdump.comparison.values.matching import Edge
from tfdump.comparison.values.samples import SampleReader, SampleValues, TensorSample

_FEWEST, _MOST = 8, 20_000
"""How many tensors are measured to find the nearest one: fewer if there are thousands of one form."""

_ROUNDING = 1e-9
"""More than the order of summation changes, as a share of the norm."""

Distances = npt.NDArray[np.float64]


class Measurer:
    """Reads samples of both sides, and measures how like they are."""

    def __init__(self) -> None:
        self._reader = SampleReader()
        self._bounds: dict[int, npt.NDArray[np.float64]] = {}
        self._norms: dict[int, float] = {}
        self._telling: set[int] = set()

    def likeness(self, golden: TensorSample, new: TensorSample) -> Likeness:
        """Return how like two tensors are, in the first layout in which they are equal, or else the best one."""
        if golden.form != new.form or not golden.is_beside(new):
            return UNLIKE
        return likeness_of(self._values(golden), self._values(new), (golden, new))

    def named_likeness(self, golden: TensorSample, new: TensorSample) -> Likeness:
        """Return how like two tensors are that names pair, which mostly are the same bits."""
        may_be_equal = golden.form == new.form and golden.shape == new.shape
        if may_be_equal and np.array_equal(golden.read(), new.read()):
            return Likeness(0.0, 0.0, tuple(range(len(new.shape))))
        return self.likeness(golden, new)

    def equal(self, goldens: Sequence[TensorSample], news: Sequence[TensorSample]) -> Iterator[Edge]:
        """Yield an edge for every two tensors of equal values that are enough to recognize a tensor."""
        by_form = _by_form(news)
        for form, olds in _by_form(goldens).items():
            others = by_form.get(form, [])
            if not others:
                continue
            least = self._least_distances(olds, others)
            for row, column in np.argwhere(least <= LOOSEST):
                old, other = olds[row], others[column]
                if least[row, column] > exact_distance(old.item, other.item) or id(old.item) not in self._telling:
                    continue
                likeness = self.likeness(old, other)
                if is_exact(likeness, old.item, other.item) and likeness.layout is not None:
                    yield Edge(old.place, other.place, likeness, not is_identity(likeness.layout, other.shape))

    def nearest(
        self, sample: TensorSample, others: Sequence[TensorSample], is_golden: bool
    ) -> tuple[TensorSample, Likeness] | None:
        """Return which of the tensors of the other side is nearest to a tensor; None if no one is near.

        `is_golden` tells that the tensor is of the golden side.
        """
        others = [other for other in others if other.form == sample.form and other.is_beside(sample)]
        if sample.kind not in "fc" or not others:
            return None
        least = (
            self._least_distances([sample], others)[0] if is_golden else self._least_distances(others, [sample])[:, 0]
        )
        best: tuple[TensorSample, Likeness] | None = None
        for position in np.argsort(least, kind="stable")[: max(_FEWEST, _MOST // len(others))]:
            if least[position] >= (NEAR if best is None else best[1].distance):
                break
            other = others[position]
            likeness = self.likeness(sample, other) if is_golden else self.likeness(other, sample)
            if is_near(likeness) and (best is None or likeness.distance < best[1].distance):
                best = other, likeness
        return best if best is not None and id(sample.item) in self._telling else None

    def _values(self, sample: TensorSample) -> SampleValues:
        values = self._reader.read(sample)
        key = id(sample.item)
        if key not in self._bounds:
            self._bounds[key], self._norms[key] = values.bounds, values.norm
            if values.tells:
                self._telling.add(key)
        return values

    def _least_distances(self, goldens: Sequence[TensorSample], news: Sequence[TensorSample]) -> Distances:
        """Return the distances that samples of one form have at least, whatever the layout."""
        for sample in (*goldens, *news):
            if id(sample.item) not in self._bounds:
                self._values(sample)
        others = np.stack([self._bounds[id(new.item)] for new in news])
        least = np.empty((len(goldens), len(news)))
        for row, golden in enumerate(goldens):
            norm = self._norms[id(golden.item)]
            errors = np.sqrt(((self._bounds[id(golden.item)] - others) ** 2).sum(2)).max(1)
            errors = np.maximum(errors - norm * _ROUNDING, 0)
            least[row] = errors / norm if norm else np.where(errors > 0, np.inf, 0.0)
        return least


def _by_form(samples: Sequence[TensorSample]) -> dict[tuple[str, bool, int, int], list[TensorSample]]:
    by_form: dict[tuple[str, bool, int, int], list[TensorSample]] = {}
    for sample in samples:
        by_form.setdefault(sample.form, []).append(sample)
    return by_form
