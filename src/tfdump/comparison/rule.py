"""When an element or a tensor passes: the criteria of a comparison, and the rule that follows for each tensor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfdump.comparison.distances import Wide, ulps_apart
from tfdump.comparison.fidelity.scales import Scales
from tfdump.comparison.tolerance import SqnrLimit, Tolerance, Tolerances, coarsest, last_match
from tfdump.dtypes import kind_of
from tfdump.errors import TfdumpError
from tfdump.tensors import Array


@dataclass(frozen=True)
class Rule:
    """How one tensor is judged.

    Each element has an *excess* and passes if that is not above a bound. The excess is the distance minus
    `rtol*|golden|` and `atol`, and the bound is `scale*max|golden|`; with `max_ulp`, the excess is a number of steps of
    `ulp_dtype`, and the bound is `max_ulp`. If `tolerance` is None, elements are not judged, and only `min_cosine` and
    `min_sqnr` count. `scales` are those of the golden and of the new tensor, where they are quantized. `ulp_dtype` is
    None if the values are not floats. `fixed` tells that tolerances have no effect, `by_glob` that a tolerance only has
    an effect if its glob names the tensor. NaN and infinities are not subject to the rule:
    they must be alike.
    """

    tolerance: Tolerance | None
    exact: bool = False
    max_ulp: int | None = None
    min_cosine: float | None = None
    min_sqnr: float | None = None
    scales: tuple[Scales | None, Scales | None] = (None, None)
    nan_equal: bool = True
    ulp_dtype: str | None = None
    fixed: bool = False
    by_glob: bool = False

    @property
    def is_strict(self) -> bool:
        """Whether only equal numbers pass."""
        return self.max_ulp is None and self.tolerance == Tolerance()

    @property
    def can_be_screened(self) -> bool:
        """Whether bounds of the distances are enough: not if bits, steps or all products are needed."""
        return not (self.tolerance is None or self.exact or self.max_ulp is not None or self.min_cosine is not None)

    @property
    def tells_loss(self) -> bool:
        """Whether the ratio of signal to noise is needed, or tells what quantization has cost."""
        return self.min_sqnr is not None or self.scales != (None, None)

    def excess(self, error: Wide, magnitude: Wide, golden: Array, new: Array) -> Wide:
        """Return the excess of finite elements; `error` and `magnitude` are overwritten."""
        if self.max_ulp is not None:
            return ulps_apart(golden, new, str(self.ulp_dtype)).astype(np.float64)
        if self.tolerance is None:
            return error
        if self.tolerance.rtol:
            np.multiply(magnitude, self.tolerance.rtol, out=magnitude)
            np.subtract(error, magnitude, out=error)
        if self.tolerance.atol:
            np.subtract(error, self.tolerance.atol, out=error)
        return error

    def bound(self, largest: Any) -> Any:
        """Return the largest excess with which an element passes, in extended precision."""
        if self.max_ulp is not None:
            return np.longdouble(self.max_ulp)
        if self.tolerance is None:
            return np.longdouble(np.inf)
        return np.longdouble(self.tolerance.scale) * largest

    def scale_for(self, need: Any, largest: Any) -> float | None:
        """Return the smallest scale whose bound is at least `need`; None if there is none, or scale has no effect."""
        if self.tolerance is None or self.exact or self.fixed or self.max_ulp is not None:
            return None
        if need <= 0:
            return 0.0
        if not largest:
            return None
        scale = float(need / largest)
        while np.longdouble(scale) * largest < need and np.isfinite(scale):
            scale = float(np.nextafter(scale, np.inf))
        return scale if np.isfinite(scale) else None


@dataclass(frozen=True)
class Criteria:
    """The criteria for all tensors.

    `exact`, `max_ulp` and tolerances cannot be combined. `min_cosine` and `min_sqnr` can be combined with any of them
    and with each other; without them, they replace the judgment of the elements of floats. `min_sqnr` does so for
    quantized integers too, and only for tensors that it names; minus infinity replaces nothing. Other integers, bools
    and text must be equal, except integers with a tolerance that names them.
    """

    tolerances: Tolerances = field(default_factory=Tolerances)
    exact: bool = False
    max_ulp: int | None = None
    min_cosine: float | None = None
    nan_equal: bool = True
    min_sqnr: Sequence[SqnrLimit] = ()

    @property
    def globs(self) -> list[str]:
        """The globs of all tolerances and limits."""
        return [*self.tolerances.globs, *(limit.glob for limit in self.min_sqnr if limit.glob is not None)]

    def check(self) -> None:
        """Raise TfdumpError for criteria that cannot be combined or are out of range."""
        rules = {"exact": self.exact, "max-ulp": self.max_ulp is not None, "tolerances": self.tolerances.has_overrides}
        requested = [name for name, is_requested in rules.items() if is_requested]
        if len(requested) > 1:
            raise TfdumpError(
                f"{requested[0]} and {requested[1]} cannot be combined: each decides when an element passes "
                "(leave one of them out)"
            )
        if self.max_ulp is not None and self.max_ulp < 0:
            raise TfdumpError(f"max-ulp {self.max_ulp} is below 0")
        if self.min_cosine is not None and not -1 <= self.min_cosine <= 1:
            raise TfdumpError(f"min-cosine {self.min_cosine} is not between -1 and 1")

    def rule_for(
        self,
        names: Sequence[str],
        classes: Sequence[str],
        dtypes: Sequence[str],
        scales: tuple[Scales | None, Scales | None] = (None, None),
    ) -> Rule:
        """Return the rule for a tensor, from its names, its classes, its dtypes and its scales on both sides."""
        is_float = kind_of(dtypes[0]) in "fc"
        is_real = is_float or scales != (None, None)
        limit = last_match(self.min_sqnr, names, classes, without_glob=True) if is_real else None
        cosine = self.min_cosine if is_float else None
        judges = cosine is not None or (limit is not None and limit > -math.inf)
        tolerance: Tolerance | None = self.tolerances.of(names, classes, dtypes)
        if self.exact or (self.max_ulp is not None and not is_float):
            tolerance = Tolerance()
        elif judges and not self.tolerances.has_overrides:
            tolerance = None
        return Rule(
            tolerance,
            exact=self.exact,
            max_ulp=self.max_ulp if is_float else None,
            min_cosine=cosine,
            min_sqnr=limit,
            scales=scales,
            nan_equal=self.nan_equal,
            ulp_dtype=coarsest_dtype(dtypes) if is_float else None,
            fixed=self.exact or self.max_ulp is not None or kind_of(dtypes[0]) in "bS",
            by_glob=not is_float,
        )


def coarsest_dtype(dtypes: Sequence[str]) -> str:
    """Return the least precise of several float dtypes; for complex numbers, that of their parts."""
    row = coarsest(dtypes)
    return next((dtype for dtype in dtypes if dtype.startswith("float8")), row) if row == "float8" else row
