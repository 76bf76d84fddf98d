"""The records of a comparison: the verdict on each tensor, and on both sides as a whole."""

from dataclasses import dataclass
from typing import Any

from tfdump.dtypes import kind_of

SAME, DIFFERS, MISSING, EXTRA = "same", "differs", "missing", "extra"
FUSED, IGNORED, SKIPPED = "fused", "ignored", "skipped"
VALUES, STATISTICS, NORMS = "values", "statistics", "norms"


@dataclass(frozen=True)
class Comparison:
    """The numbers of the comparison of two arrays of one shape.

    Attributes
    ----------
    passed : bool
        Whether the arrays agree.
    count : int
        Number of elements.
    failed : int
        Number of elements outside of the bound, including `unlike`.
    at_least : bool
        Whether `failed` is a lower bound. `tfdump compare` cannot read elements again to count them.
    unlike : int
        Number of elements that are NaN or infinite on one side only. No tolerance allows them.
    index : tuple of int or None
        Index of the worst element in `part`; None if all elements are equal.
    golden, new
        The values of the worst element on both sides.
    max_error : float
        Largest distance between finite numbers.
    largest : float
        Largest finite magnitude on the golden side.
    scale : float or None
        Smallest `scale` with which the arrays pass while the other tolerances stay; None if there is none.
    ulp : int or None
        Number of steps between neighboring floats that lie between the worst two values.
    cosine : float or None
        Cosine of the two arrays as vectors, if it was asked for.
    sqnr : float or None
        Signal-to-quantization-noise ratio in dB, `10 log10(sum golden^2 / sum (golden - new)^2)`, where a side is
        quantized or where it was asked for. Quantized integers count as the real numbers for which they stand.
    steps : float or None
        Largest error in steps of the quantized side: its scale, or that of the channel; None if no side is quantized.
    saturated : float or None
        Share of the elements, 0 to 1, that are at an end of the range of the quantized side while the other side is
        more than half a step beyond it; None if no side is quantized.
    part : str
        Part of a composite tensor that holds the worst element, or name of the statistic; "" for a plain array.
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
    at_least: bool = False
    sqnr: float | None = None
    steps: float | None = None
    saturated: float | None = None


@dataclass(frozen=True)
class TensorDiff:
    """The verdict on one tensor.

    Attributes
    ----------
    name, new_name : str or None
        Group and address on the golden and on the new side; None if that side has no such tensor.
    class_name : str
        Class of the layer; "" if it is not known.
    status : str
        `same`, `differs`, `missing` (in the new side), `extra` (only in the new side), `fused` (only one side has it,
        and all that reads it there agrees), `ignored`, or `skipped` (there is nothing to compare by).
    fails : bool
        Whether this verdict makes the two sides differ.
    reason : str
        In one line, why the tensor differs or was skipped.
    shape, new_shape : tuple of int or None
        Shape on each side.
    dtype, new_dtype : str or None
        Dtype on each side, as the model computed it.
    compared_by : str
        `values`, `statistics` or `norms`; "" if nothing was compared.
    comparison : Comparison or None
        The numbers, where something was compared.
    paired_by : str
        How the two tensors were paired: `map`, `address`, `structure`, `order`, `position`, `order of execution`,
        `exact value` or `near value`; "" if the tensor has no counterpart.
    layout : str
        The order of axes in which the new tensor was compared, such as `0,2,3,1`, if its values need one; `+` is an
        axis of length 1 that it does not have.
    diverges : bool
        Whether the new side computes something else in the place of this missing tensor, so that the sides diverge
        here.
    example_id : str or None
        Name of the example that holds the worst element, such as that of its file, if one side has names.
    total_error, own_error : float or None
        With `isolate`: the relative L2 error of the tensor, and the part of it that does not come from its inputs.
    influence : float or None
        With `influence`: the part of the error of the final outputs that goes away if this layer alone is right.
    through : tuple of str
        With `isolate`: the layers before this one whose errors are in `own_error`, because one side lacks them.
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
    layout: str = ""
    diverges: bool = False
    example_id: str | None = None
    total_error: float | None = None
    own_error: float | None = None
    influence: float | None = None
    through: tuple[str, ...] = ()

    @property
    def shown_name(self) -> str:
        """The golden name, or the new name if there is no golden tensor; for an activation, without the group."""
        return (self.name or self.new_name or "").removeprefix("activations/")


@dataclass(frozen=True)
class DiffReport:
    """The verdict on two sides, as `tfdump.diff` returns it.

    Attributes
    ----------
    golden, new : str
        Names of the two sides.
    tensors : tuple of TensorDiff
        The verdict on every tensor, in the order of execution.
    notes : tuple of str
        What else to know about the verdict, such as how tensors were paired.
    blame : str
        With `isolate`: in one line, which layers add errors, and which pass on what they get.

    Examples
    --------
    >>> report = tfdump.diff("golden.h5", "new.h5")
    >>> [tensor.name for tensor in report.tensors if tensor.fails]
    ['activations/dense']
    """

    golden: str
    new: str
    tensors: tuple[TensorDiff, ...]
    notes: tuple[str, ...]
    blame: str = ""

    @property
    def same(self) -> bool:
        """Whether the two sides agree: no tensor fails."""
        return not any(tensor.fails for tensor in self.tensors)

    @property
    def first(self) -> TensorDiff | None:
        """The first tensor that diverges in the order of execution, or else the first that only one side has.

        None if no tensor fails.
        """
        failing = [tensor for tensor in self.tensors if tensor.fails]
        if not failing:
            return None
        diverging = (tensor for tensor in self.tensors if tensor.diverges or tensor.status == DIFFERS)
        return next(diverging, failing[0])

    def count(self, *statuses: str) -> int:
        """Return the number of tensors that have one of these statuses."""
        return sum(tensor.status in statuses for tensor in self.tensors)

    @property
    def summary(self) -> str:
        """The verdict in one line, with the first diverging layer."""
        head, *clauses = self.clauses
        return f"{head} {'; '.join(clauses)}" if clauses else head

    @property
    def clauses(self) -> tuple[str, ...]:
        """The verdict, followed by what `summary` says about the differences, one clause each."""
        compared = self.count(SAME, DIFFERS)
        first = self.first
        if first is None:
            return (f"{self.golden} and {self.new} agree in {_tensors(compared)}{self._besides()}",)
        where = f"{first.shown_name} ({first.class_name})" if first.class_name else first.shown_name
        count = self.count(DIFFERS)
        differing = f"{count} of {_tensors(compared)} differ{'s' if count == 1 else ''}{self._besides()}"
        diverges = first.status == DIFFERS or first.diverges
        prefix = "first diverging layer: " if diverges else ""
        remedy = "" if diverges else " (--allow-missing lets that pass)"
        clauses = [differing, f"{prefix}{where}: {first.reason}{remedy}"]
        scale = self.scale
        if scale is not None and self.count(DIFFERS) > 1:
            by_glob = any(kind_of(tensor.dtype or "float32") in "iu" for tensor in self.tensors if tensor.fails)
            clauses.append(f"all pass with --scale {tolerance_text(scale, by_glob)}")
        return (f"{self.golden} and {self.new} differ:", *clauses)

    @property
    def scale(self) -> float | None:
        """The smallest `--scale` with which all tensors pass; None if there is none."""
        needed = [
            tensor.comparison.scale if tensor.comparison is not None else None
            for tensor in self.tensors
            if tensor.fails
        ]
        known = [scale for scale in needed if scale is not None]
        return max(known, default=0.0) if len(known) == len(needed) else None

    def _besides(self) -> str:
        """Return how many tensors were not compared, in parentheses."""
        statuses = [
            (FUSED, "fused"),
            (MISSING, "missing"),
            (EXTRA, "extra"),
            (IGNORED, "ignored"),
            (SKIPPED, "not compared"),
        ]
        counts = [f"{self.count(status)} {word}" for status, word in statuses if self.count(status)]
        return f" ({', '.join(counts)})" if counts else ""


def _tensors(count: int) -> str:
    return f"{count} tensor{'' if count == 1 else 's'}"


def tolerance_text(value: float, by_glob: bool) -> str:
    """Return a tolerance as an argument of the option: integers need one with a glob."""
    return f"'*={rounded_up(value)}'" if by_glob else rounded_up(value)


def value_text(value: object) -> str:
    """Return a value for a line of text."""
    if isinstance(value, float):
        return f"{value:.9g}"
    return repr(value) if isinstance(value, str) else str(value)


def rounded_up(value: float) -> str:
    """Return a positive number rounded up to three digits, so that the printed number passes too."""
    for digits in range(2, 18):
        step = f"{value:.{digits}e}"
        mantissa, exponent = step.split("e")
        if float(step) < value:
            step = f"{float(mantissa) + 10.0**-digits:.{digits}f}e{exponent}"
        if float(step) >= value:
            return f"{float(step):.{digits + 1}g}"
    return repr(value)
