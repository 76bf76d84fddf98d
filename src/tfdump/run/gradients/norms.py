"""The norms of a gradient, and the zeros among its numbers that passed through float16."""

from typing import Any

import numpy as np

from tfdump.accumulators.statistics import ExactNorm
from tfdump.tensors import Array

MOST_NORMS = 4000
"""Norms that fit into an attribute, one per step."""


class GradientNorms:
    """Measures the gradient of one target, step by step.

    `measured` is what the last complete step told. Zeros are counted where `half` tells that the numbers passed through
    float16.
    """

    def __init__(self, half: bool) -> None:
        self.half = half
        self._exact = ExactNorm()
        self.measured = ExactNorm()
        self._norms: list[float] = []

    def add(self, values: Array) -> None:
        """Add numbers of the current step."""
        if self.half:
            self._exact.zeros += values.size - int(np.count_nonzero(values))
        self._exact.add(values)

    def end_step(self) -> None:
        """End the step: its norm is that of all numbers since the last step."""
        self._norms.append(self._exact.norm)
        self.measured = self._exact
        self._exact = ExactNorm(self.zeros)

    @property
    def zeros(self) -> int:
        """How many numbers that passed through float16 are zero."""
        return self._exact.zeros

    @property
    def last(self) -> float | None:
        """The norm at the last step, None before the first step ends."""
        return self._norms[-1] if self._norms else None

    @property
    def finite(self) -> bool:
        """Whether no step had NaN or infinite values."""
        return bool(np.isfinite(self._norms).all())

    def state(self) -> list[Any]:
        """Return the measures of the current step, as JSON that preserves every bit and does not know the order."""
        return self._exact.state()

    def restore(self, state: list[Any]) -> None:
        """Restore a state that `state` returned."""
        self._exact = ExactNorm.of_state(state)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the dataset: the zeros, and the norm, or the norms of several steps if they fit."""
        attributes: dict[str, Any] = {"float16_zeros": np.int64(self.zeros)} if self.half else {}
        if len(self._norms) <= 1:
            attributes["norm"] = np.float64(self._norms[-1] if self._norms else 0.0)
        elif len(self._norms) <= MOST_NORMS:
            attributes["norm"] = np.array(self._norms, np.float64)
        return attributes


class MeasuredSink:
    """A sink of gradients with `norms`."""

    norms: GradientNorms

    @property
    def norm(self) -> float | None:
        """The norm of the gradient at the last step, None before the first step ends."""
        return self.norms.last

    @property
    def finite(self) -> bool:
        """Whether no step had NaN or infinite values."""
        return self.norms.finite

    @property
    def zeros(self) -> int:
        """How many numbers that passed through float16 are zero."""
        return self.norms.zeros
