"""The checks of one tensor: what to look for, one pass over its values, and the findings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tfdump.checks.activation import Function, Functions
from tfdump.checks.axes import whole_axes
from tfdump.checks.bad_rows import BadRows
from tfdump.checks.constant import constant
from tfdump.checks.dead import dead, few_examples
from tfdump.checks.evidence import Evidence
from tfdump.checks.gradients import StepNorms, unconnected
from tfdump.checks.half_precision import bfloat16_overflow, bfloat16_underflow, float16_overflow, float16_underflow
from tfdump.checks.nonfinite import infinite, nan
from tfdump.checks.records import Checked, Finding, SkippedCheck, Thresholds
from tfdump.checks.saturation import SATURATING, saturated
from tfdump.checks.stored_statistics import NO_VALUES, REDUCED, from_statistics
from tfdump.checks.sweep import Sweep, Swept, Wanted, steps_of
from tfdump.checks.weights.kernels import KERNEL_CHECKS, KernelNorm, kernel_findings, kernel_of
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage

_CHECKS: tuple[Callable[[Evidence, Thresholds], Finding | None], ...] = (
    nan, infinite, dead, saturated, constant,
    float16_overflow, float16_underflow, bfloat16_overflow, bfloat16_underflow,
)  # fmt: skip

_GRADIENTS = (layout.WEIGHT_GRADIENTS, layout.ACTIVATION_GRADIENTS, layout.INPUT_GRADIENTS)
_NARROW = ("float16", "bfloat16")
_KEEP_UNITS = ("mean:spatial", "sum:spatial", "max:spatial", "norm:spatial")
"""Reductions after which a unit that is never negative is zero exactly if it was zero at every position."""

_UNKNOWN_FUNCTION = "the dump does not say what its activation is"


@dataclass(frozen=True)
class ExaminedTensor:
    """What is known about one tensor: findings, the norms of a gradient or kernel, and checks that were not possible.

    `bad_rows` has the rows with NaN and with infinities by the name of the check, as far as they are known.
    """

    checked: Checked
    findings: tuple[Finding, ...] = ()
    norms: StepNorms | None = None
    skipped: tuple[SkippedCheck, ...] = ()
    bad_rows: Mapping[str, BadRows] = field(default_factory=dict)
    kernel: KernelNorm | None = None


class Examiner:
    """Examines the tensors of one dump; `outputs` are the addresses of the outputs of the model.

    `repeated` has the addresses of activations. An output of the same address is only checked for NaN and Inf.
    `advance` is called with numbers of values that were read.
    """

    def __init__(
        self,
        functions: Functions,
        outputs: set[str],
        repeated: frozenset[str],
        first_example: int,
        limits: Thresholds,
        advance: Callable[[int], None] = lambda values: None,
    ) -> None:
        self._functions = functions
        self._advance = advance
        self._outputs = outputs
        self._repeated = repeated
        self._first_example = first_example
        self._limits = limits

    def examine(self, tensor: Tensor) -> ExaminedTensor:
        """Make every check of one tensor; raises DumpError if the file is damaged."""
        name = full_name(tensor)
        checked = Checked(name, str(tensor.attributes.get("class", "")))
        if not tensor.connected:
            finding = unconnected(tensor, name)
            return ExaminedTensor(
                replace(checked, reason="it is not connected to the loss"), (finding,) if finding else ()
            )
        if kind_of(tensor.dtype) not in "fciub":
            return ExaminedTensor(replace(checked, reason=f"it is {tensor.dtype} and has no numbers"))
        wanted = self._wanted(tensor)
        with damage(DumpError, name):
            swept = self._sweep(tensor, wanted)
        evidence = self._evidence(tensor, name, wanted, swept)
        findings = [check(evidence, self._limits) for check in _CHECKS]
        findings += kernel_findings(name, swept.kernel) if swept.kernel is not None else []
        skipped = swept.skipped | _lost_by_storing(tensor) | self._lost_by_encoding(tensor, wanted)
        if wanted.kernel is not None and swept.kernel is None:
            skipped |= dict.fromkeys(KERNEL_CHECKS, REDUCED if "reduce" in tensor.attributes else NO_VALUES)
        if wanted.saturated and wanted.function.may_saturate:
            skipped.setdefault("saturated", _UNKNOWN_FUNCTION)
        norms = None
        if tensor.group in _GRADIENTS and (steps := steps_of(tensor.norm) or swept.squares):
            norms = StepNorms(tensor.group, tensor.address, steps)
        elif tensor.group in _GRADIENTS:
            skipped |= dict.fromkeys(("vanishing", "exploding"), "its norm is not in the dump")
        return ExaminedTensor(
            checked,
            tuple(finding for finding in findings if finding is not None),
            norms,
            tuple(SkippedCheck(check, name, reason) for check, reason in skipped.items()),
            {name: rows for name, rows in swept.bad_rows.items() if name != "inf" or not evidence.overflowed},
            KernelNorm(name, swept.squares[0], swept.of) if wanted.kernel is not None and swept.squares else None,
        )

    def _wanted(self, tensor: Tensor) -> Wanted:
        """Return what to look for in a tensor of numbers."""
        kind, by_example = kind_of(tensor.dtype), tensor.attributes.get("axis0") == EXAMPLE
        gradient = tensor.group in _GRADIENTS
        repeated = tensor.group == layout.OUTPUTS and tensor.address in self._repeated
        forward = not gradient and not repeated and tensor.group != layout.WEIGHTS
        activation = tensor.group == layout.ACTIVATIONS
        kernel = kernel_of(tensor)
        real = kernel is not None and kind == "f"
        function = self._functions.function(tensor) if activation and kind == "f" else Function("")
        return Wanted(
            narrow=() if kind != "f" or repeated else tuple(name for name in _NARROW if _could_change(tensor, name)),
            constant=forward and by_example and kind not in "b" and not tensor.address.endswith(":lengths"),
            dead=activation and by_example and kind == "f" and function.units and tensor.encoding in (None, "ragged"),
            saturated=activation and kind == "f" and tensor.address not in self._outputs,
            squares=real or (gradient and tensor.norm is None),
            kernel=kernel,
            function=function,
        )

    def _sweep(self, tensor: Tensor, wanted: Wanted) -> Swept:
        """Return what the values reveal, or the statistics if the values are not those of the tensor itself."""
        reduced = "reduce" in tensor.attributes
        statistics = tensor.statistics
        shape = tensor.shape
        examples = shape[0] if shape else 0
        if statistics is not None and (reduced or not tensor.has_values):
            if kind_of(tensor.dtype) == "c" or examples < 2:  # the statistics of complex numbers are of magnitudes
                wanted = replace(wanted, constant=False)
            axis = whole_axes((wanted.function.axis,), len(shape))
            units = shape[axis[0]] if wanted.dead and axis is not None else None
            few = few_examples(examples) if examples < self._limits.dead_examples else None
            reason = REDUCED if reduced else NO_VALUES
            swept = from_statistics(statistics, wanted, None if reduced or few else units, self._limits, reason)
            if wanted.dead and (reduced or few):
                swept = replace(swept, skipped=swept.skipped | {"dead": few or reason})
            if tensor.has_values and (swept.tallies["nan"].count or swept.tallies["inf"].count):
                return self._with_places(tensor, swept)
            return swept
        if reduced:
            return self._sweep_reduced(tensor, wanted)
        return Sweep(tensor, wanted, self._limits, self._first_example, self._advance).run()

    def _sweep_reduced(self, tensor: Tensor, wanted: Wanted) -> Swept:
        """Look for what a reduction preserves: NaN, Inf, equal rows, and dead units if only positions were reduced."""
        by_unit = str(tensor.attributes["reduce"]) in _KEEP_UNITS and wanted.function.axis == -1
        dead_units = wanted.dead and by_unit and wanted.function.name == "relu"
        answerable = replace(wanted, narrow=(), saturated=False, dead=dead_units)
        swept = Sweep(tensor, answerable, self._limits, self._first_example, self._advance).run()
        missed = {f"{name}-{what}" for name in wanted.narrow for what in ("overflow", "underflow")}
        missed |= {"dead"} if wanted.dead and not answerable.dead else set()
        missed |= {"saturated"} if wanted.saturated and wanted.function.name in SATURATING else set()
        return replace(swept, skipped=swept.skipped | dict.fromkeys(sorted(missed), REDUCED))

    def _with_places(self, tensor: Tensor, swept: Swept) -> Swept:
        """Add where NaN and Inf first occur in the reduced values, while the counts stay those of the statistics."""
        places = Sweep(tensor, Wanted(), self._limits, self._first_example).run().tallies
        tallies = {
            name: replace(swept.tallies[name], first=places[name].first) for name in ("nan", "inf") if name in places
        }
        return replace(swept, tallies=swept.tallies | tallies)

    @staticmethod
    def _lost_by_encoding(tensor: Tensor, wanted: Wanted) -> dict[str, str]:
        """Return the checks that need rows of one shape, for a tensor whose rows differ in shape."""
        if tensor.group not in (layout.ACTIVATIONS, layout.OUTPUTS, layout.INPUTS) or tensor.encoding is None:
            return {}
        lost = ["constant"] + (["dead"] if wanted.function.units and not wanted.dead else [])
        reason = "its batches have unequal shapes" if tensor.encoding == "stack" else f"it is {tensor.encoding}"
        return dict.fromkeys(lost, reason)

    def _evidence(self, tensor: Tensor, name: str, wanted: Wanted, swept: Swept) -> Evidence:
        reduced = "reduce" in tensor.attributes
        norms_only = tensor.attributes.get("reduce") == "norm" and tensor.group in _GRADIENTS
        as_stored = tensor.has_values and not (reduced and tensor.statistics)
        return Evidence(
            name=name,
            of=swept.of,
            unit="norms" if norms_only else "values",
            tallies=swept.tallies,
            totals=swept.totals,
            constant=swept.constant,
            rows=tensor.shape[0] if tensor.shape else None,
            constant_value=swept.constant_value,
            dead=swept.dead,
            units=swept.units,
            activation=wanted.function.name,
            overflowed=int(tensor.attributes.get("overflowed", 0)) if as_stored else 0,
            stored_dtype=tensor.stored_dtype,
        )


def _could_change(tensor: Tensor, narrow: str) -> bool:
    """Tell whether a cast to a narrow dtype could turn values, as they were computed, into infinities or zeros."""
    if tensor.dtype in ("float16", "float8_e4m3fn", "float8_e5m2"):
        return False
    return tensor.dtype != narrow and tensor.stored_dtype != "float16"


def _lost_by_storing(tensor: Tensor) -> dict[str, str]:
    """Return the checks that a tensor cannot answer because it was stored as float16."""
    if kind_of(tensor.dtype) != "f" or tensor.stored_dtype != "float16" or tensor.dtype.startswith("float8"):
        return {}
    lost = {"float16": ("underflow",), "bfloat16": ("overflow", "underflow")} if tensor.dtype != "float16" else {}
    names = [f"{name}-{what}" for name, kinds in lost.items() if name != tensor.dtype for what in kinds]
    return dict.fromkeys(names, "it was stored as float16")
