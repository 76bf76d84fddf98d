"""Dumps to a report: one pass over the tensors, the checks, the comparison, and the pictures."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfdump.address import Selection
from tfdump.byte_sizes import show_bytes
from tfdump.checks import Finding, check_tensors
from tfdump.comparison.diff import compare
from tfdump.comparison.fidelity.scales import scales_of
from tfdump.comparison.tolerance import SqnrLimit
from tfdump.comparison.verdict import DiffReport, TensorDiff
from tfdump.dump import axis0, layout
from tfdump.dump.attributes import full_name
from tfdump.dump.examples import described
from tfdump.dump.other_formats import is_dump
from tfdump.dump.reader import Dump, Tensor, open_dump
from tfdump.dump.selection import choose
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage
from tfdump.process.stages import Progress, silent_progress
from tfdump.quantization.losses import DEFAULT_LIMIT, TensorLoss, losses_from
from tfdump.report.architecture import architecture_of
from tfdump.report.numbers import examined_by_sample, numbers_of, readable_bytes, scale_and_norms
from tfdump.report.records import SAMPLED, LossValues, Report, ReportOptions, Row
from tfdump.report.sampling import shares_of
from tfdump.report.thumbnails import thumbnails_of

_LONG = (layout.NOT_CAPTURED, layout.DEPENDS_ON_BATCH)
"""Attributes of the root that have a place of their own on the page."""


def gather(
    path: Path,
    other: Path | None,
    options: ReportOptions,
    watch: Callable[[str], Progress] = lambda what: silent_progress,
    known: DiffReport | None = None,
) -> Report:
    """Return all that the page of a dump shows, compared with another one or with plain arrays.

    `known` is the comparison, where it was made before.

    `watch` is called with what begins (`checking`), and what it returns with how much of that is done.

    Raises TfdumpError for what is no dump or damaged, a dump without tensors, patterns that match nothing, and sides
    that cannot be compared.
    """
    with open_dump(path) as dump:
        if not len(dump):
            raise DumpError(f"{dump.name} holds no tensors, so there is nothing to report")
        selects = bool(options.layers or options.exclude)
        tensors = choose(dump, Selection(options.layers, options.exclude))
        sizes = [readable_bytes(tensor) for tensor in tensors]
        shares = shares_of(sizes, options.read_bytes)
        with damage(DumpError, f"{dump.name}: first_example"):
            first_example = dump.first_example
        by_sample = {
            full_name(tensor): examined
            for tensor, share in zip(tensors, shares, strict=True)
            if (examined := examined_by_sample(tensor, share, first_example)) is not None
        }
        checks = check_tensors(dump, tensors, whole=not selects, known=by_sample, progress=watch("checking"))
        compared = known if known or other is None else _compared(dump, other, options, watch("comparing"))
        rows = _rows(tensors, shares, checks.findings, compared, watch("counting"))
        by_number = {row.number: tensor for row, tensor in zip(rows, tensors, strict=True)}
        pictures = thumbnails_of(dump, by_number, _order(rows), options.pictures, watch("drawing"))
        rows = [
            replace(row, thumbnail=pictures.drawn.get(row.number), undrawn=pictures.reasons.get(row.number, ""))
            for row in rows
        ]
        notes = [*_sampled(rows, sizes, other is not None), *pictures.notes]
        if selects:
            notes.insert(0, f"the page shows {len(rows):,} of {len(dump):,} tensors, which -l and -x select")
        with damage(DumpError, f"{dump.name}: '{layout.CONFIG}'"):
            architecture = architecture_of(dump.config)
        return Report(
            path.name,
            None if other is None else other.name,
            tuple(_provenance(_attributes_of(dump), {} if other is None else _attributes(other))),
            architecture,
            tuple(rows),
            replace(checks, dump=path.name),
            compared,
            _loss(dump),
            dump.not_captured,
            dump.depends_on_batch,
            tuple(notes),
            _losses(dump, compared, -math.inf if selects else DEFAULT_LIMIT),
        )


def _rows(
    tensors: Sequence[Tensor],
    shares: Sequence[int | None],
    findings: Sequence[Finding],
    compared: DiffReport | None,
    progress: Progress,
) -> list[Row]:
    by_tensor: dict[str, list[Finding]] = {}
    for finding in findings:
        by_tensor.setdefault(finding.tensor, []).append(finding)
    verdicts: dict[str | None, TensorDiff] = {one.name: one for one in compared.tensors} if compared else {}
    rows = []
    for number, (tensor, share) in enumerate(zip(tensors, shares, strict=True), 1):
        progress(number - 1, len(tensors))
        numbers = numbers_of(tensor, share)
        scale, norms = scale_and_norms(tensor, numbers, tensor.group.startswith(f"{layout.GRADIENTS}/"))
        attributes = tensor.attributes
        rows.append(
            Row(
                number,
                tensor.group,
                tensor.address,
                str(attributes.get("class", "")),
                str(attributes.get("structure", "")),
                tensor.shape,
                tensor.dtype,
                tensor.stored_dtype,
                tensor.encoding,
                str(attributes.get("axis0", axis0.NONE)),
                tensor.connected,
                str(attributes.get("reduce", "")),
                numbers,
                scale,
                norms,
                tuple(by_tensor.get(full_name(tensor), ())),
                verdicts.get(full_name(tensor)),
                inputs=tensor.inputs,
                operands=tensor.operands,
                operation=str(attributes.get("operation", "")),
                source=str(attributes.get("source", "")),
            )
        )
    return rows


def _order(rows: Sequence[Row]) -> list[int]:
    """Return the numbers of the rows in the order in which pictures are drawn."""

    def rank(row: Row) -> int:
        fails = row.diff is not None and row.diff.fails
        return 0 if fails else 1 if row.findings else 2

    return [row.number for row in sorted(rows, key=lambda row: (rank(row), row.number))]


def _sampled(rows: Sequence[Row], sizes: Sequence[int], compared: bool) -> list[str]:
    """Return notes on values that were not read."""
    partly = [row for row in rows if row.numbers.read < row.numbers.total and row.numbers.histogram is not None]
    if not partly:
        return []
    estimated = sum(row.numbers.source == SAMPLED for row in partly)
    of = sum(row.numbers.total for row in rows)
    read = sum(row.numbers.read for row in rows)
    estimates = f"the statistics of {estimated:,}" if estimated else "their histograms"
    text = (
        f"sampled: the report read {read:,} of {of:,} values (the dump has {show_bytes(sum(sizes))}), and only part of "
        f"{len(partly):,} of {len(rows):,} tensors, marked \u2248: {estimates} are estimates, and only the sample is "
        "checked, for NaN and Inf (--read all and tfdump check read everything)"
    )
    return [text, *(["the comparison read every value of both files"] if compared else [])]


def _compared(dump: Dump, other: Path, options: ReportOptions, progress: Progress) -> DiffReport:
    """Return the comparison, with the names of files without folders."""
    criteria = options.diff.criteria
    if _is_quantized(dump) or (is_dump(other) and _holds_quantized(other)):
        criteria = replace(criteria, min_sqnr=(SqnrLimit(None, -math.inf), *criteria.min_sqnr))
    selected = replace(options.diff, criteria=criteria, layers=options.layers, exclude=options.exclude)
    report = compare(dump, other, selected, progress)
    names = {dump.name: Path(dump.name).name, str(other): other.name}
    notes = report.notes
    for whole, short in names.items():
        notes = tuple(note.replace(whole, short) for note in notes)
    return replace(report, golden=names[dump.name], new=other.name, notes=notes)


def _holds_quantized(path: Path) -> bool:
    with open_dump(path) as dump:
        return _is_quantized(dump)


def _is_quantized(dump: Dump) -> bool:
    """Return whether a dump holds tensors with scales, so that the noise of all its tensors is of interest."""
    return any(scales_of(tensor) is not None for tensor in dump.tensors())


def _losses(dump: Dump, compared: DiffReport | None, limit: float) -> tuple[TensorLoss, ...]:
    """Return what a quantized side has lost, in the order of execution; empty where neither side is quantized.

    With a `limit` of minus infinity no layer is named, as where the inputs of some are not selected.
    """
    losses = () if compared is None else losses_from(compared, dump.tensors(), limit)
    return losses if any(one.steps is not None for one in losses) else ()


def _attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a dump; empty for plain arrays."""
    if not is_dump(path):
        return {}
    with open_dump(path) as dump:
        return _attributes_of(dump)


def _attributes_of(dump: Dump) -> dict[str, Any]:
    """Return the attributes of an open dump, and who its examples are."""
    return dump.attributes | described(dump.examples)


def _provenance(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str | None, str | None]]:
    names = [name for name in dict.fromkeys([*old, *new]) if name not in _LONG]
    return [(name, _text(old.get(name)), _text(new.get(name))) for name in names]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, default=str)


def _loss(dump: Dump) -> LossValues | None:
    loss = dump.loss
    if loss is None:
        return None
    return LossValues(dump.loss_axis if loss.ndim else axis0.NONE, tuple(float(value) for value in loss.reshape(-1)))
