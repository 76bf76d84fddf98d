"""What checks say: findings, where the trouble begins, what could not be checked; and the thresholds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tfdump.argument_kinds import real_number, texts, whole_number
from tfdump.errors import TfdumpError, near

CHECKS = {
    "nan": "values that are not a number",
    "inf": "infinite values",
    "dead": "units that are zero for every example, at every position",
    "saturated": "sigmoid, tanh, softmax where they are flat",
    "constant": "the same values for every example",
    "float16-overflow": "values that would be infinite in float16",
    "float16-underflow": "values that would be zero in float16",
    "bfloat16-overflow": "values that would be infinite in bfloat16",
    "bfloat16-underflow": "values that would be zero in bfloat16",
    "vanishing": "gradients that shrink on their way back, or are zero",
    "exploding": "gradients that grow on their way back, or are huge",
    "unconnected": "weights that the loss does not reach",
}
"""Every check with what it finds, in the order in which findings are listed."""

FAIL_ON = ("nan", "inf")
"""What a dump fails on unless something else is asked for."""


@dataclass(frozen=True)
class Thresholds:
    """From where on a check has a finding; raises TfdumpError for what is out of range.

    A sigmoid is saturated up to `saturation_margin` and from 1 less it, a tanh from 1 less it in magnitude, a softmax
    where its largest probability is 1 less it or more.
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
    """One check that found something in one tensor.

    `tensor` is the group and the address; `count` of `of` elements (units, rows, steps, tensors: `message` says) are
    concerned, None where the statistics of a dump cannot tell. Of the first of them, `example` is the number of the
    example in the input, `index` the place in the tensor and `value` what stands there. `units` are the dead ones.
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


@dataclass(frozen=True)
class Origin:
    """Where NaN (`check` is `nan`) or Inf first appears in the order of execution, as one line."""

    check: str
    tensor: str
    example: int | None
    index: tuple[int, ...] | None
    message: str


@dataclass(frozen=True)
class SkippedCheck:
    """A check that a tensor asked for, and that could not be made, with the reason."""

    check: str
    tensor: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """A tensor that was looked at; `reason` says why nothing could be checked, where that is so."""

    tensor: str
    class_name: str
    reason: str | None = None


@dataclass(frozen=True)
class CheckReport:
    """What the checks of one dump found; `failed` is the verdict."""

    dump: str
    tensors: tuple[Checked, ...]
    findings: tuple[Finding, ...]
    origins: tuple[Origin, ...]
    skipped: tuple[SkippedCheck, ...]
    fail_on: tuple[str, ...]
    thresholds: Thresholds

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings of the kinds that fail."""
        return tuple(finding for finding in self.findings if finding.check in self.fail_on)

    @property
    def later(self) -> tuple[Finding, ...]:
        """The findings of NaN and Inf that are not where these first appear, but behind it."""
        first = {(origin.check, origin.tensor) for origin in self.origins}
        checks = {origin.check for origin in self.origins}
        return tuple(f for f in self.findings if f.check in checks and (f.check, f.tensor) not in first)

    @property
    def failed(self) -> bool:
        """Whether a finding of a kind that fails exists."""
        return bool(self.failures)


def parse_checks(text: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names in a list with commas, `all` or `none`; raises TfdumpError for a name that is none."""
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
    """Return the thresholds of these names; raises TfdumpError for a name that is none."""
    known = [field.name for field in fields(Thresholds)]
    for name in values:
        if name not in known:
            raise TfdumpError(f"no threshold '{name}'{near(name, known)} (they are: {', '.join(known)})")
    numbers: dict[str, Any] = {
        name: whole_number(name, value) if name == "dead_examples" else real_number(name, value, 0.5)
        for name, value in values.items()
    }
    return Thresholds(**numbers)
