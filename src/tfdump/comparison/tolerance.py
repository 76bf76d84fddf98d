"""How far a number may be from the golden number: defaults by dtype, and overrides for tensors that a glob names.

An element passes when `|new - golden| <= atol + rtol*|golden| + scale*max|golden|`; see docs/diff.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfdump.address import Pattern
from tfdump.argument_kinds import real_number
from tfdump.dtypes import kind_of
from tfdump.errors import TfdumpError


@dataclass(frozen=True)
class Tolerance:
    """The three terms of the bound; if all are zero, values must be equal."""

    rtol: float = 0.0
    atol: float = 0.0
    scale: float = 0.0


_ROWS = {
    "float64": Tolerance(rtol=1e-9, scale=1e-11),
    "float32": Tolerance(rtol=1e-4, scale=1e-5),
    "float16": Tolerance(rtol=1e-2, scale=5e-3),
    "bfloat16": Tolerance(rtol=5e-2, scale=3e-2),
    "float8": Tolerance(rtol=5e-1, scale=2.5e-1),
}
"""The defaults, from the most precise dtype to the coarsest."""

_ROW_OF_COMPLEX = {"complex64": "float32", "complex128": "float64"}

TERMS = ("rtol", "atol", "scale")


@dataclass(frozen=True)
class Override:
    """One `[GLOB=]VALUE` of `--rtol`, `--atol` or `--scale`; a `glob` of None means every tensor of floats."""

    glob: str | None
    value: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value >= 0):
            raise TfdumpError(
                f"tolerance {self.value} is not a number of at least 0 (leave a tensor out with --ignore GLOB)"
            )
        if self.glob is not None:
            Pattern(self.glob)


@dataclass(frozen=True)
class SqnrLimit(Override):
    """One `[GLOB=]DB` of `--min-sqnr`: the smallest ratio in dB; minus infinity only asks for the ratio."""

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            raise TfdumpError("min-sqnr nan is not a number of dB (for example 30)")
        if self.glob is not None:
            Pattern(self.glob)


def parse_override(text: str) -> Override:
    """Read `[GLOB=]VALUE`; raises TfdumpError if the value is not a number of at least 0, or the glob is malformed."""
    return Override(*_parsed(text, "VALUE"))


def parse_sqnr_limit(text: str) -> SqnrLimit:
    """Read `[GLOB=]DB`; raises TfdumpError if that is not a number, or the glob is malformed."""
    return SqnrLimit(*_parsed(text, "DB"))


def _parsed(text: str, what: str) -> tuple[str | None, float]:
    glob, equals, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        raise TfdumpError(f"'{text}' is not [GLOB=]{what}: '{value}' is not a number") from None
    return glob if equals else None, number


Limit = float | Mapping[str, float] | None
"""An argument of the Python API: one number for all tensors, or numbers by glob."""


def overrides_of(tolerance: Limit) -> tuple[Override, ...]:
    """Return the overrides of an argument of the Python API."""
    return tuple(Override(glob, value) for glob, value in _by_glob("tolerance", tolerance, 1e-3))


def sqnr_limits_of(min_sqnr: Limit) -> tuple[SqnrLimit, ...]:
    """Return the limits of an argument of the Python API."""
    return tuple(SqnrLimit(glob, value) for glob, value in _by_glob("min_sqnr", min_sqnr, 30))


def _by_glob(name: str, limit: Limit, example: float) -> list[tuple[str | None, float]]:
    if limit is None:
        return []
    if isinstance(limit, Mapping):
        return [(glob, real_number(name, value, example)) for glob, value in limit.items()]
    return [(None, real_number(name, limit, example))]


def last_match(
    overrides: Sequence[Override], names: Sequence[str], classes: Sequence[str], without_glob: bool
) -> float | None:
    """Return the value of the last override that matches a tensor; those without a glob may not count for it."""
    value = None
    for override in overrides:
        if override.glob is None:
            matches = without_glob
        else:
            pattern = Pattern(override.glob)
            matches = any(pattern.matches(name, classes) for name in names)
        if matches:
            value = override.value
    return value


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of every tensor: its default by dtype, or the last override that matches.

    An override without a glob holds only for floats and complex numbers, because whoever loosens these does not mean
    token ids. Integers get a tolerance by a glob (`*=1`), bools and text never.
    """

    rtol: Sequence[Override] = ()
    atol: Sequence[Override] = ()
    scale: Sequence[Override] = ()

    @property
    def has_overrides(self) -> bool:
        """Whether there are overrides."""
        return bool(self.rtol or self.atol or self.scale)

    @property
    def globs(self) -> list[str]:
        """The globs of all overrides."""
        return [o.glob for term in TERMS for o in getattr(self, term) if o.glob is not None]

    def of(self, names: Sequence[str], classes: Sequence[str], dtypes: Sequence[str]) -> Tolerance:
        """Return the tolerance of a tensor, from its names, its classes and the dtypes of both sides."""
        kind = kind_of(dtypes[0])
        if kind in "bS":
            return Tolerance()
        default = default_tolerance(dtypes) if kind in "fc" else Tolerance()
        terms = {}
        for term in TERMS:
            value = last_match(getattr(self, term), names, classes, kind in "fc")
            terms[term] = getattr(default, term) if value is None else value
        return Tolerance(**terms)


def default_tolerance(dtypes: Sequence[str]) -> Tolerance:
    """Return the defaults for dtypes of floats or complex numbers: those of the least precise one."""
    return _ROWS[coarsest(dtypes)]


def coarsest(dtypes: Sequence[str]) -> str:
    """Return the row of the least precise of several dtypes of floats or complex numbers."""
    rows = list(_ROWS)
    return rows[max(rows.index(_row(dtype)) for dtype in dtypes)]


def _row(dtype: str) -> str:
    if dtype.startswith("float8"):
        return "float8"
    name = _ROW_OF_COMPLEX.get(dtype, dtype)
    return name if name in _ROWS else "float64"
