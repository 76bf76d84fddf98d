"""The records of the checks: findings, origins, checks that were not possible, and the thresholds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tfdump.argument_kinds import real_number, texts, whole_number
from tfdump.checks.origin_records import Origin
from tfdump.errors import TfdumpError, near

CHECKS = {
    "nan": "values that are not a number",
    "inf": "infinite values",
    "dead": "units that are zero for every example, at every position; filters that are all zero",
    "saturated": "sigmoid, tanh, softmax where they are flat",
    "constant": "the same values for every example; kernels of one number",
    "float16-overflow": "values that would be infinite in float16",
    "float16-underflow": "values that would be zero in float16",
    "bfloat16-overflow": "values that would be infinite in bfloat16",
    "bfloat16-underflow": "values that would be zero in bfloat16",
    "vanishing": "gradients that shrink on their way back, or are zero",
    "exploding": "gradients that grow on their way back, or are huge; kernels far larger than the others",
    "unconnected": "weights that the loss does not reach",
}
"""Every check with what it finds, in the order in which findings are listed."""

FAIL_ON = ("nan", "inf")
"""The checks that make a dump fail by default."""


@dataclass(frozen=True)
class Thresholds:
    """When a check reports a finding. Raises TfdumpError for a number out of range.

    Attributes
    ----------
    dead_examples : int
        Smallest number of examples for which a unit that is always zero counts as dead.
    saturation_margin : float
        How close to its limits an activation is saturated: a sigmoid up to the margin and from `1 - margin`, a tanh
        from `1 - margin` in magnitude, a softmax where the largest probability is at least `1 - margin`.
    saturation_share : float
        Smallest share of saturated elements that is a finding.
    constant_tolerance : float
        Largest difference between examples that still count as equal, relative to the largest magnitude of the first
        example.
    underflow_share : float
        Smallest share of the nonzero values that become zero in half precision that is a finding.
    vanish_ratio : float
        A gradient vanishes if its norm is below this share of the largest norm nearer to the loss.
    vanish_norm : float
        A gradient vanishes if its norm is below this number.
    explode_ratio : float
        A gradient explodes if its norm is above this multiple of the norm nearest to the loss; a kernel, if the root of
        its mean square is above this multiple of the median of all kernels.
    explode_norm : float
        A gradient or a kernel explodes if its norm is above this number.
    """

    dead_examples: int = 10
    saturation_margin: float = 0.01
    saturation_share: float = 0.5
    constant_tolerance: float = 1e-6
    underflow_share: float = 0.01
    vanish_ratio: float = 1e-3
    vanish_norm: float = 1e-10
    explode_ratio: float = 1e3
    explode_norm: float = 1e4

    def __post_init__(self) -> None:
        shares = ("saturation_margin", "saturation_share", "underflow_share", "vanish_ratio")
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0 or (field.name in shares and value > 1):
                bound = "between 0 and 1" if field.name in shares else "from 0 up"
                raise TfdumpError(f"--{field.name.replace('_', '-')} {value} is not a number {bound}")


@dataclass(frozen=True)
class Finding:
    """What one check found in one tensor.

    Attributes
    ----------
    check : str
        Name of the check, a key of `CHECKS`.
    tensor : str
        Group and address.
    count, of : int or None
        `count` of `of` elements are concerned: units, rows, steps or tensors, as `message` says. `count` is None if
        only statistics are known and they do not tell.
    example : int or None
        Number of the first such example in the input.
    index : tuple of int or None
        Index of the first such element in the tensor.
    value : float or None
        Value of that element.
    message : str
        The finding in one line.
    units : tuple of int
        The dead units, for the check `dead`.
    example_id : str or None
        Name of that example, such as that of its file, if the dump has names.
    """

    check: str
    tensor: str
    count: int | None
    of: int | None
    example: int | None
    index: tuple[int, ...] | None
    value: float | None
    message: str
    units: tuple[int, ...] = ()
    example_id: str | None = None


@dataclass(frozen=True)
class SkippedCheck:
    """A check that applies to a tensor and was not possible, with the reason."""

    check: str
    tensor: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """A tensor that was checked; `reason` says why nothing could be checked, and is None otherwise."""

    tensor: str
    class_name: str
    reason: str | None = None


@dataclass(frozen=True)
class CheckReport:
    """What the checks of one dump found, as `tfdump.check` returns it.

    Attributes
    ----------
    dump : str
        Name of the dump.
    tensors : tuple of Checked
        Every tensor that was checked.
    findings : tuple of Finding
        All findings, check by check.
    origins : tuple of Origin
        Where NaN and Inf begin, in the order of execution: first those of NaN, then those of Inf.
    skipped : tuple of SkippedCheck
        Checks that were not possible.
    fail_on : tuple of str
        Names of the checks that make the report fail.
    thresholds : Thresholds
        The thresholds that were used.

    Examples
    --------
    >>> report = tfdump.check("dump.h5")
    >>> report.failed
    True
    >>> report.origins[0].message
    "NaN starts in 'log' (Log), example 17: its input 'shifted' is -0.0034 there"
    """

    dump: str
    tensors: tuple[Checked, ...]
    findings: tuple[Finding, ...]
    origins: tuple[Origin, ...]
    skipped: tuple[SkippedCheck, ...]
    fail_on: tuple[str, ...]
    thresholds: Thresholds

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings of the checks in `fail_on`."""
        return tuple(finding for finding in self.findings if finding.check in self.fail_on)

    @property
    def later(self) -> tuple[Finding, ...]:
        """The findings of NaN and Inf in tensors other than those where these begin."""
        first = {(origin.check, origin.tensor) for origin in self.origins}
        checks = {origin.check for origin in self.origins}
        return tuple(f for f in self.findings if f.check in checks and (f.check, f.tensor) not in first)

    @property
    def failed(self) -> bool:
        """Whether there is a finding of a check in `fail_on`."""
        return bool(self.failures)


def parse_checks(text: str | Iterable[str]) -> tuple[str, ...]:
    """Return the checks in a list of names, which may be text with commas, `all` or `none`.

    Raises TfdumpError for a name that is not a check.
    """
    listed = texts("fail_on", text, "nan,inf")
    names = [name.strip() for name in text.split(",")] if isinstance(text, str) else list(listed)
    if names == ["all"]:
        return tuple(CHECKS)
    if names == ["none"]:
        return ()
    for name in names:
        if name not in CHECKS:
            raise TfdumpError(f"no check '{name}'{near(name, CHECKS)} (they are: {', '.join(CHECKS)}; or all, none)")
    return tuple(name for name in CHECKS if name in names)


def thresholds_of(values: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds with these values by name; raises TfdumpError for a name that is not a threshold."""
    known = [field.name for field in fields(Thresholds)]
    for name in values:
        if name not in known:
            raise TfdumpError(f"no threshold '{name}'{near(name, known)} (they are: {', '.join(known)})")
    numbers: dict[str, Any] = {
        name: whole_number(name, value) if name == "dead_examples" else real_number(name, value, 0.5)
        for name, value in values.items()
    }
    return Thresholds(**numbers)
