"""The checks of a dump: each a small function that returns None or a finding, over one pass of every tensor.

`nan` and `inf` are of every group; `dead`, `saturated` and `constant` of activations; `vanishing`, `exploding` and
`unconnected` of gradients; what half precision would do, of all floats.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from tfdump.address import Selection
from tfdump.argument_kinds import shown, texts, whole_number
from tfdump.checks.activation import Functions
from tfdump.checks.axes import Axes
from tfdump.checks.configuration import Configuration
from tfdump.checks.examiner import Examined, Examiner
from tfdump.checks.gradients import norms_findings
from tfdump.checks.loss import loss_findings
from tfdump.checks.origin import origins, passes
from tfdump.checks.records import (
    CHECKS,
    FAIL_ON,
    Checked,
    CheckReport,
    Finding,
    Origin,
    SkippedCheck,
    Thresholds,
    parse_checks,
    thresholds_of,
)
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.reader import Dump, Tensor, open_dump
from tfdump.dump.selection import choose
from tfdump.errors import DumpError, TfdumpError
from tfdump.files.hdf5 import damage
from tfdump.process.stages import Meter, Progress, silent_progress

__all__ = ["CHECKS", "FAIL_ON", "CheckReport", "Checked", "Finding", "Origin", "SkippedCheck", "Thresholds", "check"]


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
    """Check the tensors of a dump: NaN, Inf, dead units, saturation, gradients that vanish; see CHECKS.

    `layers`, `exclude` and `depth` select as on the command line; `fail_on` names the checks that make the report
    `failed`, or is `all` or `none`; `thresholds` are those of Thresholds (`dead_examples=100`). `progress` is called
    with the values looked at and those of all tensors. Every tensor is read once, in pieces. Raises TfdumpError for a
    file that is no dump or damaged, a dump without tensors, a pattern that matches nothing, and a check or threshold
    that does not exist.
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


def check_tensors(
    dump: Dump,
    tensors: Sequence[Tensor],
    whole: bool,
    failing: tuple[str, ...] = FAIL_ON,
    limits: Thresholds | None = None,
    known: Mapping[str, Examined] | None = None,
    progress: Progress = silent_progress,
) -> CheckReport:
    """Check some tensors of a dump, in the order of `dump.tensors()`; `whole` tells that they are all of them.

    `known` is what is known already of tensors that are not to be read, by group and address.
    """
    limits, known = limits or Thresholds(), known or {}
    configuration = _configuration(dump)
    outputs = configuration.outputs() | _final(dump)
    activations = [tensor for tensor in dump.tensors() if tensor.group == layout.ACTIVATIONS]
    functions = Functions(configuration, Axes(configuration, activations))
    repeated = frozenset(dump.groups.get(layout.ACTIVATIONS, ()))
    first_example = int(dump.attributes.get("first_example", 0))
    to_read = [tensor for tensor in tensors if full_name(tensor) not in known]
    meter = Meter(sum(tensor.about_values for tensor in to_read), progress)
    examiner = Examiner(functions, outputs, repeated, first_example, limits, meter.add)
    per_example = bool(dump.attributes.get("per_example"))
    examined: dict[str, Examined] = {}
    for tensor in tensors:
        name = full_name(tensor)
        examined[name] = known.get(name) or examiner.examine(tensor)
    findings = [finding for one in examined.values() for finding in one.findings]
    findings += norms_findings([one.norms for one in examined.values() if one.norms is not None], limits)
    checked = [one.checked for one in examined.values()]
    loss = dump.loss if whole else None
    if loss is not None:
        checked.insert(0, Checked(layout.LOSS, ""))
        findings = [*loss_findings(loss, first_example if per_example else None, limits), *findings]
    order = passes(tensors, loss_by_step=loss is not None and loss.ndim > 0 and not per_example)
    looked_at = "everything read" if known else "everything" if whole else "everything selected"
    listed = list(CHECKS)
    return CheckReport(
        dump.name,
        tuple(checked),
        tuple(sorted(findings, key=lambda finding: listed.index(finding.check))),
        tuple(origins(order, findings, looked_at)),
        tuple(skipped for one in examined.values() for skipped in one.skipped),
        failing,
        limits,
    )


def _configuration(dump: Dump) -> Configuration:
    with damage(DumpError, f"{dump.name}: '{layout.CONFIG}'"):
        return Configuration(dump.config)


def _final(dump: Dump) -> set[str]:
    """Return the addresses of what the model gives, as far as the tensors of a dump tell."""
    outputs = dump.groups.get(layout.OUTPUTS, [])
    last = dump.groups.get(layout.ACTIVATIONS, [])[-1:] if outputs else []
    return {*outputs, *last}
