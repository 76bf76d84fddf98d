"""The checks of a dump. Each check is a small function that returns a finding or None; every tensor is read once.

`nan` and `inf` apply to every group, `dead`, `saturated` and `constant` to activations, `vanishing`, `exploding` and
`unconnected` to gradients, and the checks of half precision to all floats. `dead`, `constant` and `exploding` also
apply to kernels in a dump of weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from tfdump.address import Selection
from tfdump.argument_kinds import shown, texts, whole_number
from tfdump.checks.activation import Functions
from tfdump.checks.axes import Axes
from tfdump.checks.configuration import Configuration
from tfdump.checks.examiner import ExaminedTensor, Examiner
from tfdump.checks.gradients import norms_findings
from tfdump.checks.loss import loss_findings
from tfdump.checks.origin import origins
from tfdump.checks.origin_records import Origin, OriginInput
from tfdump.checks.origin_search import Searched
from tfdump.checks.records import (
    CHECKS,
    FAIL_ON,
    Checked,
    CheckReport,
    Finding,
    SkippedCheck,
    Thresholds,
    parse_checks,
    thresholds_of,
)
from tfdump.checks.weights.kernels import magnitude_findings
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.reader import Dump, Tensor, open_dump
from tfdump.dump.selection import choose
from tfdump.errors import DumpError, TfdumpError
from tfdump.files.hdf5 import damage
from tfdump.process.stages import Meter, Progress, silent_progress

__all__ = [
    "CHECKS", "FAIL_ON", "CheckReport", "Checked", "Finding", "Origin", "OriginInput", "SkippedCheck", "Thresholds",
    "check",
]  # fmt: skip


def check(
    dump: Dump | str | Path,
    *,
    layers: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    depth: int | None = None,
    fail_on: str | Iterable[str] = FAIL_ON,
    progress: Progress = silent_progress,
    **thresholds: float,
) -> CheckReport:
    """Check the tensors of a dump: NaN, Inf, dead units, saturation, vanishing and exploding gradients.

    Every tensor is read once, in pieces, so memory stays flat. See docs/checks.md for what each check looks for.

    Parameters
    ----------
    dump : Dump, str or Path
        An open dump, or the path of one.
    layers, exclude : str or iterable of str, optional
        Patterns of the tensors to check, and of those to leave out, as for `-l` and `-x` on the command line.
    depth : int, optional
        Checks only tensors of layers at most this deep: 1 checks the layers of the model itself.
    fail_on : str or iterable of str, default ("nan", "inf")
        Names of the checks whose findings make the report `failed`, or `"all"` or `"none"`.
    progress : callable, optional
        Called with the number of values checked so far and the number of all values.
    **thresholds : float
        Fields of `Thresholds`, such as `dead_examples=100`.

    Returns
    -------
    CheckReport
        The findings, where NaN and Inf begin, and the checks that were not possible.

    Raises
    ------
    TfdumpError
        If the file is not a dump or is damaged, if it holds no tensors, if a pattern matches nothing, or if a check or
        a threshold of that name does not exist.

    Examples
    --------
    >>> report = tfdump.check("dump.h5", fail_on="nan,inf,dead")
    >>> for finding in report.findings:
    ...     print(finding.tensor, finding.message)
    """
    if not callable(progress):
        raise TfdumpError(f"progress {shown(progress)} is not callable (pass a function of two numbers)")
    limits = thresholds_of(thresholds)
    failing = parse_checks(fail_on)
    selection = Selection(
        texts("layers", layers, "conv*"), texts("exclude", exclude, "conv*"), whole_number("depth", depth, 0)
    )
    with nullcontext(dump) if isinstance(dump, Dump) else open_dump(dump) as opened:
        if not len(opened):
            raise DumpError(f"{opened.name} holds no tensors, so there is nothing to check")
        whole = not (selection.layers or selection.exclude or selection.max_depth)
        return check_tensors(opened, choose(opened, selection), whole, failing, limits, progress=progress)


def origins_in(dump: str | Path | Dump, allow_inf: bool = False) -> tuple[Origin, ...]:
    """Return where NaN and infinities start in a dump; with `allow_inf`, where NaN starts.

    Raises DumpError if the file is not a dump or is damaged.
    """
    wanted = ("nan",) if allow_inf else ("nan", "inf")
    return tuple(origin for origin in check(dump).origins if origin.check in wanted)


def check_tensors(
    dump: Dump,
    tensors: Sequence[Tensor],
    whole: bool,
    failing: tuple[str, ...] = FAIL_ON,
    limits: Thresholds | None = None,
    known: Mapping[str, ExaminedTensor] | None = None,
    progress: Progress = silent_progress,
) -> CheckReport:
    """Check some tensors of a dump, in the order of `dump.tensors()`.

    `whole` tells whether they are all tensors of the dump. `known` has what is known already about tensors that need
    not be read, by group and address.
    """
    limits, known = limits or Thresholds(), known or {}
    configuration = _configuration(dump)
    outputs = configuration.outputs() | _final(dump)
    every = tensors if whole else dump.tensors()
    activations = [tensor for tensor in every if tensor.group == layout.ACTIVATIONS]
    functions = Functions(configuration, Axes(configuration, activations))
    repeated = frozenset(dump.groups.get(layout.ACTIVATIONS, ()))
    first_example = dump.first_example
    to_read = [tensor for tensor in tensors if full_name(tensor) not in known]
    meter = Meter(sum(tensor.about_values for tensor in to_read), progress)
    examiner = Examiner(functions, outputs, repeated, first_example, limits, meter.add)
    per_example = bool(dump.attributes.get("per_example"))
    examined: dict[str, ExaminedTensor] = {}
    for tensor in tensors:
        name = full_name(tensor)
        examined[name] = known.get(name) or examiner.examine(tensor)
    findings = [finding for one in examined.values() for finding in one.findings]
    findings += norms_findings([one.norms for one in examined.values() if one.norms is not None], limits)
    findings += magnitude_findings([one.kernel for one in examined.values() if one.kernel is not None], limits)
    checked = [one.checked for one in examined.values()]
    loss = dump.loss if whole else None
    if loss is not None:
        checked.insert(0, Checked(layout.LOSS, ""))
        findings = [*loss_findings(loss, first_example if per_example else None, limits), *findings]
    findings = [replace(finding, example_id=dump.example_id(finding.example)) for finding in findings]
    searched = Searched(
        tensors,
        {name: one.bad_rows for name, one in examined.items()},
        frozenset(f"{group}/{name}" for group, names in dump.groups.items() for name in names),
        frozenset(known),
        None if dump.attributes.get("training") else frozenset(dump.depends_on_batch),
        frozenset(item.address for item in dump.not_captured if "no gradient" in item.reason),
        first_example,
        dump.example_id,
        loss is not None,
        loss is not None and loss.ndim > 0 and not per_example,
        "everything read" if known else "everything" if whole else "everything selected",
    )
    listed = list(CHECKS)
    return CheckReport(
        dump.name,
        tuple(checked),
        tuple(sorted(findings, key=lambda finding: listed.index(finding.check))),
        tuple(origins(searched, findings)),
        tuple(skipped for one in examined.values() for skipped in one.skipped),
        failing,
        limits,
    )


def _configuration(dump: Dump) -> Configuration:
    with damage(DumpError, f"{dump.name}: '{layout.CONFIG}'"):
        return Configuration(dump.config)


def _final(dump: Dump) -> set[str]:
    """Return the addresses of the outputs of the model, as far as the dump tells."""
    outputs = dump.groups.get(layout.OUTPUTS, [])
    last = dump.groups.get(layout.ACTIVATIONS, [])[-1:] if outputs else []
    return {*outputs, *last}
