"""What a quantized model loses against the float model, tensor by tensor, and which layers should stay in float."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from tfdump.address import Selection
from tfdump.argument_kinds import real_number, texts, whole_number
from tfdump.comparison.diff import compare
from tfdump.comparison.options import DiffOptions
from tfdump.comparison.rule import Criteria
from tfdump.comparison.tolerance import SqnrLimit
from tfdump.comparison.verdict import VALUES, DiffReport, TensorDiff
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.reader import Dump, Tensor, open_dump
from tfdump.dump.selection import choose
from tfdump.errors import DumpError, TfdumpError
from tfdump.process.stages import Progress, silent_progress

DEFAULT_LIMIT = 30.0
"""A layer of int8 whose range fits leaves about 40 dB; one below this loses three times as much."""

_OUTSIDE = (f"{layout.INPUTS}/", f"{layout.OUTPUTS}/")
"""The beginnings of the names of tensors that are no layers."""

_TOLD = Criteria(min_sqnr=(SqnrLimit(None, -math.inf),))
"""Asks for the ratio of every tensor that has values."""


@dataclass(frozen=True)
class TensorLoss:
    """What one tensor has lost.

    Attributes
    ----------
    tensor, quantized : str
        Group and address on the golden and on the quantized side.
    class_name : str
        The class of the layer.
    place : int
        The place in the order of execution, from 1.
    sqnr : float
        The signal-to-quantization-noise ratio in dB against the golden tensor, with all noise from before it.
    input_sqnr : float or None
        The lowest ratio of the tensors that it was computed from; None where none of them was compared.
    own_sqnr : float
        The ratio that is left if the noise of the inputs, as a share of the signal, is subtracted: infinite where it is
        not below theirs.
    steps, saturated : float or None
        The largest error in steps of the scale, and the share of values beyond the range, 0 to 1; None for a tensor
        that is not quantized. See `Comparison`.
    through : tuple of str
        The golden tensors between it and its inputs that the quantized side does not have, such as fused ones. Their
        noise is in `own_sqnr` too.
    keep_float : bool
        Whether the layer should stay in float; see `losses_from`.
    """

    tensor: str
    quantized: str
    class_name: str
    place: int
    sqnr: float
    input_sqnr: float | None
    own_sqnr: float
    steps: float | None
    saturated: float | None
    through: tuple[str, ...] = ()
    keep_float: bool = False


@dataclass(frozen=True)
class LossReport:
    """What a quantized model has lost.

    Attributes
    ----------
    golden, quantized : str
        Names of the two sides.
    min_sqnr : float
        The ratio in dB below which a layer should stay in float.
    losses : tuple of TensorLoss
        One record per tensor that both sides have, the greatest loss first.
    skipped : tuple of (str, str)
        The tensors that were not compared, with the reason.
    notes : tuple of str
        What else to know, such as how tensors were paired.
    """

    golden: str
    quantized: str
    min_sqnr: float
    losses: tuple[TensorLoss, ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def keep_float(self) -> tuple[str, ...]:
        """The tensors of the layers that should stay in float, in the order of execution."""
        return tuple(one.tensor for one in sorted(self.losses, key=lambda one: one.place) if one.keep_float)


def quantization_losses(
    golden: Dump | str | Path,
    quantized: Dump | str | Path,
    *,
    min_sqnr: float = DEFAULT_LIMIT,
    layers: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    depth: int | None = None,
    progress: Progress = silent_progress,
) -> LossReport:
    """Tell how much each tensor of a quantized model has lost, and which layers should stay in float.

    Quantized integers count as the real numbers for which they stand. Tensors are paired as `tfdump.diff` pairs them.
    See docs/ranges.md.

    Parameters
    ----------
    golden, quantized : Dump, str or Path
        Dumps of the float model and of the quantized model over the same inputs, open or as paths.
    min_sqnr : float, default 30
        The ratio in dB below which a layer should stay in float.
    layers, exclude : str or iterable of str, optional
        Patterns of the tensors to list, and of those to leave out. All tensors are read, because the loss of a layer
        itself needs its inputs.
    depth : int, optional
        List only tensors of layers at most this deep.
    progress : callable, optional
        Called with the number of values compared so far and the number of all values.

    Returns
    -------
    LossReport
        One record per tensor that both sides have, the greatest loss first.

    Raises
    ------
    TfdumpError
        If a file is not a dump or is damaged, if the dumps are of different examples, if a pattern matches nothing, or
        if an argument is not valid.

    Examples
    --------
    >>> report = tfdump.quantization_losses("float.h5", "int8.h5")
    >>> report.keep_float
    ('activations/logits',)
    """
    limit = real_number("min_sqnr", min_sqnr, DEFAULT_LIMIT)
    if math.isnan(limit):
        raise TfdumpError(f"min_sqnr {min_sqnr} is not a number of dB (for example {DEFAULT_LIMIT:g})")
    selection = Selection(
        texts("layers", layers, "conv*"), texts("exclude", exclude, "conv*"), whole_number("depth", depth, 0)
    )
    with _opened(golden) as old, _opened(quantized) as new:
        listed = {full_name(tensor) for tensor in choose(old, selection)}
        report = compare(old, new, DiffOptions(_TOLD, allow_missing=True), progress)
        losses = losses_from(report, old.tensors(), limit)
    skipped = [
        (one.shown_name, _reason(one))
        for one in report.tensors
        if one.compared_by != VALUES or one.comparison is None or one.comparison.sqnr is None
    ]
    if not losses:
        first = "".join(f" ({name}: {reason})" for name, reason in skipped[:1])
        raise DumpError(
            f"{old.name} and {new.name} have no tensor of real numbers in common, so no loss is known{first}"
        )
    ranked = sorted((one for one in losses if one.tensor in listed), key=lambda one: (_rank(one.sqnr), one.place))
    return LossReport(old.name, new.name, limit, tuple(ranked), tuple(skipped), report.notes)


def _reason(one: TensorDiff) -> str:
    """Return why nothing is known about the loss of a tensor."""
    if one.comparison is None:
        return one.reason
    return "one side has no values" if one.compared_by != VALUES else "it has no real numbers"


def losses_from(report: DiffReport, tensors: Iterable[Tensor], limit: float) -> tuple[TensorLoss, ...]:
    """Return the losses that a comparison tells, in the order of execution.

    `tensors` are those of the golden dump, for what each was computed from. A layer should stay in float if its own
    ratio is below `limit`, and if it adds at least as much noise as it gets, which lowers the ratio by 3 dB or more.
    If any tensor is quantized, only quantized ones count.
    """
    inputs = {full_name(one): _names(one.operands or one.inputs or ()) for one in tensors}
    compared = [
        TensorLoss(
            one.name or "",
            one.new_name or "",
            one.class_name,
            place,
            told.sqnr,
            None,
            math.nan,
            told.steps,
            told.saturated,
        )
        for place, one in enumerate(report.tensors, 1)
        if one.compared_by == VALUES and (told := one.comparison) is not None and told.sqnr is not None
    ]
    ratios = {one.tensor: one.sqnr for one in compared}
    some_quantized = any(one.steps is not None for one in compared)

    def judged(one: TensorLoss) -> TensorLoss:
        before, through = _before(one.tensor, inputs, ratios.__contains__)
        known = [ratios[name] for name in before if not math.isnan(ratios[name])]
        incoming = min(known, default=None)
        share, of_inputs = noise_share(one.sqnr), 0.0 if incoming is None else noise_share(incoming)
        own = share - of_inputs if share > of_inputs else 0.0 if share <= of_inputs else math.nan
        own_sqnr = math.inf if own == 0 else -10 * math.log10(own) if own < math.inf else -math.inf
        may_stay = (one.steps is not None or not some_quantized) and not one.tensor.startswith(_OUTSIDE)
        is_source = own_sqnr < limit and own >= of_inputs
        return replace(
            one,
            input_sqnr=incoming,
            own_sqnr=own_sqnr,
            through=tuple(through),
            keep_float=may_stay and is_source,
        )

    return tuple(map(judged, compared))


def _before(
    name: str, inputs: Mapping[str, Sequence[str]], is_compared: Callable[[str], bool]
) -> tuple[list[str], list[str]]:
    """Return the nearest compared tensors that a tensor was computed from, and the ones between that are not."""
    before: list[str] = []
    between: list[str] = []
    waiting = list(inputs.get(name, ()))
    for other in waiting:  # grows while it is read
        if is_compared(other):
            before.append(other)
        elif other in inputs:
            between.append(other)
            waiting += [one for one in inputs[other] if one not in waiting and one != name]
    return list(dict.fromkeys(before)), list(dict.fromkeys(between))


def _names(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of the addresses of `inputs`: activations, or inputs of the model."""
    prefix = f"{layout.INPUTS}/"
    return tuple(one if one.startswith(prefix) else f"{layout.ACTIVATIONS}/{one}" for one in addresses)


def noise_share(sqnr: float) -> float:
    """Return the power of the noise as a share of that of the signal."""
    if math.isnan(sqnr):
        return math.nan
    return math.inf if sqnr < -3000 else 10 ** (-sqnr / 10)


def _rank(sqnr: float) -> float:
    return math.inf if math.isnan(sqnr) else sqnr


def _opened(dump: Dump | str | Path) -> "nullcontext[Dump] | Dump":
    return nullcontext(dump) if isinstance(dump, Dump) else open_dump(dump)
