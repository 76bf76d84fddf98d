"""The cosine of two tensors as vectors, whose values arrive piece by piece."""

from typing import Any

import numpy as np

from tfdump.tensors import Array


class Cosine:
    """Gathers the inner products of both sides, of golden with itself, and of new with itself."""

    def __init__(self) -> None:
        self._products = np.zeros(3, np.longdouble)

    def add(self, golden: Array, new: Array) -> None:
        """Add finite numbers of both sides, of one flat shape."""
        wide = np.complex128 if golden.dtype.kind == "c" else np.float64
        old, other = golden.astype(wide), new.astype(wide)
        old_unit, unit = _unit(old), _unit(other)
        old, other = old / float(old_unit), other / float(unit)
        products = [np.vdot(old, other).real, np.vdot(old, old).real, np.vdot(other, other).real]
        self._products += np.array(products, np.longdouble) * np.array([old_unit * unit, old_unit**2, unit**2])

    def value(self) -> float:
        """Return the cosine: 1 for two vectors of zeros, and 0 if only one of them has no length."""
        both, old, other = self._products
        if not (old and other):
            return 1.0 if old == other else 0.0
        return float(min(np.longdouble(1), both / (np.sqrt(old) * np.sqrt(other))))


def _unit(values: Array) -> Any:
    """Return what to divide by so that no square overflows or vanishes: 1, except for extreme values."""
    top = np.longdouble(np.abs(values).max())
    return np.longdouble(1) if top == 0 or 1e-140 < top < 1e140 else top
