"""The records of a comparison: the verdict on each tensor, and on both sides as a whole."""

from dataclasses import dataclass
from typing import Any

from tfdump.comparison.rule import Rule
from tfdump.dtypes import kind_of

SAME, DIFFERS, MISSING, EXTRA, IGNORED, SKIPPED = "same", "differs", "missing", "extra", "ignored", "skipped"
VALUES, STATISTICS, NORMS = "values", "statistics", "norms"


@dataclass(frozen=True)
class Comparison:
    """What is known of two arrays of one shape.

    `failed` of `count` elements are outside of the bound, among them `unlike` whose NaN or infinity the other side
    does not share, and which no tolerance mends. `index` is that of the worst element in the part `part` of a
    composite, with both values; None where all are equal. `max_error` is the largest distance between finite
    numbers, `largest` the largest finite golden magnitude, `scale` the smallest one that would have passed, with
    the other tolerances as they are (None where none would), `ulp` the steps between the two worst values, `cosine`
    that of the two arrays as vectors, where it was asked for.
    """

    passed: bool
    count: int
    failed: int = 0
    unlike: int = 0
    index: tuple[int, ...] | None = None
    golden: Any = None
    new: Any = None
    max_error: float = 0.0
    largest: float = 0.0
    scale: float | None = None
    ulp: int | None = None
    cosine: float | None = None
    part: str = ""


@dataclass(frozen=True)
class TensorDiff:
    """The verdict on one tensor.

    `status` is `same`, `differs`, `missing` (in the new side), `extra` (only there), `ignored` or `skipped` (nothing to
    compare by); `fails` tells whether it makes the sides differ. `name` and `new_name` are addresses with their
    groups, None where the side has no such tensor; so are the shapes and dtypes. `reason` says in one line what is
    wrong, `compared_by` what was compared (`values`, `statistics`, `norms`), and `comparison` has the numbers.
    `paired_by` tells how the two tensors were found: `map`, `address`, `structure`, `order` or `position`; it is empty
    for one alone.
    """

    name: str | None
    new_name: str | None
    class_name: str
    status: str
    fails: bool
    reason: str
    shape: tuple[int, ...] | None = None
    new_shape: tuple[int, ...] | None = None
    dtype: str | None = None
    new_dtype: str | None = None
    compared_by: str = ""
    comparison: Comparison | None = None
    paired_by: str = ""

    @property
    def shown_name(self) -> str:
        """The golden name, or the new one where there is no golden tensor; that of an activation without its group."""
        return (self.name or self.new_name or "").removeprefix("activations/")


@dataclass(frozen=True)
class DiffReport:
    """The verdict on two sides: every tensor in the order of execution, and what one should know besides."""

    golden: str
    new: str
    tensors: tuple[TensorDiff, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs that counts."""
        return not any(tensor.fails for tensor in self.tensors)

    @property
    def first(self) -> TensorDiff | None:
        """The first diverging tensor in the order of execution; one that a side lacks only where no values differ."""
        failing = [tensor for tensor in self.tensors if tensor.fails]
        return next((tensor for tensor in failing if tensor.status == DIFFERS), failing[0] if failing else None)

    def count(self, *statuses: str) -> int:
        """Return how many tensors have one of these statuses."""
        return sum(tensor.status in statuses for tensor in self.tensors)

    @property
    def summary(self) -> str:
        """The verdict in one line, with the first diverging layer."""
        head, *clauses = self.clauses
        return f"{head} {'; '.join(clauses)}" if clauses else head

    @property
    def clauses(self) -> tuple[str, ...]:
        """The verdict, and where there are differences, one by one what is to be said of them."""
        compared = self.count(SAME, DIFFERS)
        first = self.first
        if first is None:
            return (f"{self.golden} and {self.new} agree in {_tensors(compared)}{self._besides()}",)
        where = f"{first.shown_name} ({first.class_name})" if first.class_name else first.shown_name
        count = self.count(DIFFERS)
        differing = f"{count} of {_tensors(compared)} differ{'s' if count == 1 else ''}{self._besides()}"
        said = "first diverging layer: " if first.status == DIFFERS else ""
        remedy = "" if first.status == DIFFERS else " (--allow-missing lets that pass)"
        clauses = [differing, f"{said}{where}: {first.reason}{remedy}"]
        scale = self.scale
        if scale is not None and self.count(DIFFERS) > 1:
            by_glob = any(kind_of(tensor.dtype or "float32") in "iu" for tensor in self.tensors if tensor.fails)
            clauses.append(f"all pass with --scale {_given(scale, by_glob)}")
        return (f"{self.golden} and {self.new} differ:", *clauses)

    @property
    def scale(self) -> float | None:
        """The smallest `--scale` with which every tensor would have passed; None where none does."""
        needed = [
            tensor.comparison.scale if tensor.comparison is not None else None
            for tensor in self.tensors
            if tensor.fails
        ]
        known = [scale for scale in needed if scale is not None]
        return max(known, default=0.0) if len(known) == len(needed) else None

    def _besides(self) -> str:
        """Return the numbers of tensors that were not compared."""
        told = [(MISSING, "missing"), (EXTRA, "extra"), (IGNORED, "ignored"), (SKIPPED, "not compared")]
        found = [f"{self.count(status)} {word}" for status, word in told if self.count(status)]
        return f" ({', '.join(found)})" if found else ""


def _tensors(count: int) -> str:
    return f"{count} tensor{'' if count == 1 else 's'}"


def reason_of(found: Comparison, compared_by: str, rule: Rule) -> str:
    """Return in one line why a comparison failed."""
    if compared_by == STATISTICS:
        text = f"by its statistics: {found.part} {found.new!r}, golden {found.golden!r}"
        return text + _remedy(found, rule)
    part = f"part '{found.part}': " if found.part else ""
    told = []
    if found.failed:
        told.append(f"{found.failed} of {found.count} elements")
    if found.cosine is not None and rule.min_cosine is not None and found.cosine < rule.min_cosine:
        told.append(f"cosine {found.cosine:.6g} is below {rule.min_cosine:g}")
    text = part + ", ".join(told)
    if found.index is not None:
        text += f", worst at {list(found.index)}: golden {shown(found.golden)}, new {shown(found.new)}"
    if found.unlike:
        return text + f"; {found.unlike} NaN or infinite on one side only, which no tolerance mends"
    if rule.max_ulp is not None and found.ulp is not None and found.failed:
        return text + f", {found.ulp} ulp apart (--max-ulp {found.ulp} would have passed)"
    return text + (_remedy(found, rule) if found.failed else "")


def _remedy(found: Comparison, rule: Rule) -> str:
    if rule.fixed:
        return ""
    if found.scale is not None:
        return f" (--scale {_given(found.scale, rule.by_glob)} would have passed)"
    if not found.largest and found.max_error:
        return f" (golden is all zero: --atol {_given(found.max_error, rule.by_glob)} would have passed)"
    return ""


def _given(value: float, by_glob: bool) -> str:
    """Return a tolerance as it has to be given: integers listen only to one with a glob."""
    return f"'*={rounded_up(value)}'" if by_glob else rounded_up(value)


def index_text(found: Comparison) -> str | None:
    """Return where the worst element is: its index, after the part of a composite, or the name of a statistic."""
    index = None if found.index is None else str(list(found.index))
    return f"{found.part}{index or ''}" if found.part else index


def shown(value: object) -> str:
    """Return a value for a line of text."""
    if isinstance(value, float):
        return f"{value:.9g}"
    return repr(value) if isinstance(value, str) else str(value)


def rounded_up(value: float) -> str:
    """Return a positive number with three digits that is not below it, so that what is printed passes too."""
    for digits in range(2, 18):
        step = f"{value:.{digits}e}"
        mantissa, exponent = step.split("e")
        if float(step) < value:
            step = f"{float(mantissa) + 10.0**-digits:.{digits}f}e{exponent}"
        if float(step) >= value:
            return f"{float(step):.{digits + 1}g}"
    return repr(value)
