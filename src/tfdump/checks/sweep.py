"""One pass over the values of one tensor, in pieces, that gathers everything the checks need."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfdump.checks.activation import Function
from tfdump.checks.axes import LAST, whole_axes
from tfdump.checks.bad_rows import BadRows
from tfdump.checks.constant import Constancy
from tfdump.checks.dead import MOST_UNITS, LivingUnits, few_examples
from tfdump.checks.evidence import Tally
from tfdump.checks.magnitudes import Count, Magnitudes
from tfdump.checks.places import Places
from tfdump.checks.records import Thresholds
from tfdump.checks.saturation import SATURATING, Saturation
from tfdump.checks.weights.kernels import Kernel, KernelEvidence, KernelWatch
from tfdump.dump.axis0 import EXAMPLE, STEP
from tfdump.dump.parts import BLOCK_BYTES, Key, Part
from tfdump.dump.tensor import Tensor
from tfdump.tensors import Array

_LARGEST_EXAMPLE = 1 << 26
"""The largest example, in bytes, that is read at once for a softmax over other axes than the last."""


@dataclass(frozen=True)
class Wanted:
    """What to look for in one tensor, besides NaN and Inf."""

    narrow: tuple[str, ...] = ()
    constant: bool = False
    dead: bool = False
    saturated: bool = False
    squares: bool = False
    kernel: Kernel | None = None
    function: Function = field(default_factory=lambda: Function(""))


@dataclass(frozen=True)
class Swept:
    """The result of one pass; `skipped` has the checks that were not possible, with the reasons.

    `bad_rows` has the rows with NaN and with infinities of a tensor with one row per example, by the name of the check.
    """

    of: int
    tallies: dict[str, Tally]
    totals: dict[str, int]
    constant: bool | None
    constant_value: float | None
    dead: tuple[int, ...] | None
    units: int | None
    squares: tuple[float, ...]
    skipped: dict[str, str]
    bad_rows: dict[str, BadRows] = field(default_factory=dict)
    kernel: KernelEvidence | None = None


class Sweep:
    """A pass over the arrays of one tensor, one after another; `advance` is called with the number of values read."""

    def __init__(
        self,
        tensor: Tensor,
        wanted: Wanted,
        limits: Thresholds,
        first_example: int,
        advance: Callable[[int], None] = lambda values: None,
    ) -> None:
        self._tensor = tensor
        self._advance = advance
        self._wanted = wanted
        self._limits = limits
        self._first_example = first_example
        self._of = 0
        self._tallies: dict[str, Tally] = {}
        self._totals: dict[str, int] = {}
        self._constancy: Constancy | None = None
        self._living: LivingUnits | None = None
        self._kernel: KernelWatch | None = None
        self._units: int | None = None
        self._squares: dict[int, float] = {}
        self._skipped: dict[str, str] = {}
        self._bad_rows: dict[str, BadRows] = {}

    def run(self) -> Swept:
        """Read every value once; raises DumpError if the file is damaged."""
        for part in self._tensor.value_parts():
            self._sweep(part)
        living, constancy = self._living, self._constancy
        return Swept(
            self._of,
            self._tallies,
            self._totals,
            None if constancy is None else constancy.agrees,
            None if constancy is None else constancy.value,
            None if living is None else living.dead,
            self._units,
            tuple(float(np.sqrt(self._squares[step])) for step in sorted(self._squares)),
            self._skipped,
            self._bad_rows,
            None if self._kernel is None else self._kernel.evidence,
        )

    def _sweep(self, part: Part) -> None:
        """Read one array, and add up what it holds."""
        self._of += int(np.prod(part.shape, dtype=np.int64))
        numbers = part.dtype.kind in "fc"
        magnitudes = Magnitudes(part.dtype, self._wanted.narrow, self._row_size(part)) if numbers else None
        self._constancy = self._compare(part)
        self._living = self._live(part)
        self._kernel = None if self._wanted.kernel is None else KernelWatch(self._wanted.kernel, part.shape)
        saturation = self._saturate(part)
        position = 0
        for key in part.keys(self._piece_bytes(part)):
            block = part.read(key)
            if magnitudes is not None:
                magnitudes.add(block.reshape(-1), position)
            if self._constancy is not None:
                self._constancy.add(key, block)
            if self._living is not None:
                self._living.add(key, block)
            if self._kernel is not None:
                self._kernel.add(key, block)
            if saturation is not None:
                saturation.add(block, position)
            if self._wanted.squares:
                self._add_squares(key, block)
            position += block.size
            self._advance(block.size)
            del block  # so that the next block reuses the same memory, whose pages are mapped
        places = Places(self._tensor, part, self._first_example)
        if magnitudes is not None:
            for name, count in magnitudes.counts.items():
                self._add(name, places, count)
                if count.rows is not None:
                    self._bad_rows[name] = count.rows.rows()
            if self._wanted.narrow:
                self._totals["nonzero"] = self._totals.get("nonzero", 0) + magnitudes.nonzero
        if saturation is not None:
            self._add("saturated", places, saturation.count)
            self._totals["saturated"] = self._totals.get("saturated", 0) + saturation.of

    def _row_size(self, part: Part) -> int:
        """Return the number of elements per example; 0 if the array does not have one row per example."""
        by_example = self._tensor.attributes.get("axis0") == EXAMPLE and self._tensor.encoding is None
        return math.prod(part.shape[1:]) if by_example and part.shape else 0

    def _add(self, name: str, places: Places, count: Count) -> None:
        before, here = self._tallies.get(name, Tally()), places.tally(count)
        self._tallies[name] = Tally((before.count or 0) + (here.count or 0), before.first or here.first)

    def _compare(self, part: Part) -> Constancy | None:
        if not self._wanted.constant or self._tensor.encoding is not None or not part.shape or part.shape[0] < 2:
            return None
        return Constancy(part, self._limits.constant_tolerance) if 0 not in part.shape else None

    def _live(self, part: Part) -> LivingUnits | None:
        """Return what watches the units, or None if the tensor has none."""
        axis, shape = self._wanted.function.axis, part.shape
        if not self._wanted.dead or 0 in shape or not -len(shape) <= axis < len(shape) or axis % len(shape) == 0:
            return None
        examples = self._tensor.shape[0]
        if examples < self._limits.dead_examples:
            self._skipped["dead"] = few_examples(examples)
            return None
        if shape[axis] > MOST_UNITS:
            self._skipped["dead"] = f"its {shape[axis]} units are too many"
            return None
        self._units = shape[axis]
        return LivingUnits(shape, axis % len(shape))

    def _saturate(self, part: Part) -> Saturation | None:
        function = self._wanted.function
        if not self._wanted.saturated or function.name not in SATURATING or not part.shape or 0 in part.shape:
            return None
        sums: tuple[int, ...] | None = None
        if function.name == "softmax":
            sums = whole_axes(function.sums, len(part.shape))
            if sums is None:
                self._skipped["saturated"] = (
                    "its softmax runs over the first axis, or over an axis that it does not have"
                )
                return None
            if math.prod(part.shape[axis] for axis in sums) == 1:
                return None
            first = next(iter(part.keys(self._piece_bytes(part))))
            if any(first[axis] != slice(0, part.shape[axis]) for axis in sums):
                self._skipped["saturated"] = "a row of its softmax is too long to be read at once"
                return None
        return Saturation(function.name, self._limits.saturation_margin, function.gate, sums or ())

    def _piece_bytes(self, part: Part) -> int:
        """Return the bytes to read at once: a whole example for a softmax over other axes than the last."""
        if self._wanted.function.name != "softmax" or self._wanted.function.sums == LAST or not part.shape:
            return BLOCK_BYTES
        example = math.prod(part.shape[1:]) * part.dtype.itemsize
        return max(BLOCK_BYTES, example) if example <= _LARGEST_EXAMPLE else BLOCK_BYTES

    def _add_squares(self, key: Key, block: Array) -> None:
        """Add up the squares of the values, separately for every step if the leading axis counts steps."""
        wide: Any = np.abs(block).astype(np.float64) if block.dtype.kind == "c" else block.astype(np.float64)
        stepwise = self._tensor.attributes.get("axis0") == STEP and key
        for row, values in enumerate(wide if stepwise else [wide]):
            step = key[0].start + row if stepwise else 0
            flat = np.reshape(values, -1)
            self._squares[step] = self._squares.get(step, 0.0) + float(np.dot(flat, flat))


def steps_of(norms: float | Sequence[float] | None) -> tuple[float, ...]:
    """Return the stored norms of a gradient, one per step; empty if they were not stored."""
    if norms is None:
        return ()
    return tuple(norms) if isinstance(norms, Sequence) else (norms,)
