"""The report of `tfdump diff` as text: an aligned table, TSV, JSON or JUnit."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tfdump.cli.aligned_table import Column, Styled
from tfdump.cli.render import Cell, json_list, shape_cell, table, without_missing_id
from tfdump.cli.tensor_names import common_group, tensor_column
from tfdump.cli.terminal import GREEN, RED, YELLOW
from tfdump.comparison.pairing import ADDRESS
from tfdump.comparison.reasons import index_text
from tfdump.comparison.verdict import IGNORED, SAME, SKIPPED, DiffReport, TensorDiff, value_text

if TYPE_CHECKING:
    from tfdump.cli.junit import Case

_COLUMNS = ("tensor", "new", "class", "verdict", "shape", "failed", "worst at", "golden value", "new value",
            "max error", "scale needed", "paired by", "reason")  # fmt: skip

_ALIGNED = (
    tensor_column(), tensor_column("new"), Column("class", 0), Column("verdict"), Column("shape", 1),
    Column("failed", 6), Column("worst at", 4), Column("example id", 7, shorten="middle"), Column("golden value", 3),
    Column("new value", 2), Column("max error"), Column("scale needed", 5), Column("cosine"), Column("sqnr"),
    Column("steps"), Column("total error"), Column("own error"), Column("influence"), Column("paired by", 2),
    Column("reason", shorten="end"),
)  # fmt: skip


def _row(tensor: TensorDiff) -> tuple[Cell, ...]:
    """Return the cells of a tensor in the order of `_COLUMNS`."""
    comparison = tensor.comparison
    numbers: tuple[Cell, ...] = (None,) * 6
    if comparison is not None:
        numbers = (
            comparison.failed,
            index_text(comparison),
            None if comparison.golden is None else value_text(comparison.golden),
            None if comparison.new is None else value_text(comparison.new),
            comparison.max_error,
            comparison.scale,
        )
    shape = tensor.shape if tensor.shape is not None else tensor.new_shape
    renamed = tensor.new_name if tensor.new_name != tensor.name else None
    name = (tensor.name, renamed, tensor.class_name, tensor.status, shape_cell(shape))
    return (*name, *numbers, _pairing(tensor), tensor.reason)


def _pairing(tensor: TensorDiff) -> str:
    """Return how a tensor was paired, with the order of the axes of the new tensor: empty for equal addresses."""
    if tensor.layout:
        return f"{tensor.paired_by} ({tensor.layout})"
    return tensor.paired_by if tensor.paired_by != ADDRESS else ""


def further_columns(report: DiffReport, with_cosine: bool) -> tuple[str, ...]:
    """Return the columns of quantization, and those that not every report has."""
    influences = any(tensor.influence is not None for tensor in report.tensors)
    named = any(tensor.example_id is not None for tensor in report.tensors)
    wanted = (with_cosine, bool(report.blame), bool(report.blame), influences, named)
    return (*_QUANTIZATION, *(name for name, is_wanted in zip(_FURTHER, wanted, strict=True) if is_wanted))


def diff_table(tensors: Sequence[TensorDiff], aligned: bool, further: Sequence[str]) -> str:
    """Return the tensors as a table: aligned for a terminal, or as TSV with these `further_columns`.

    An aligned table gives the reason only where the other columns do not. In TSV the cosine, the errors and the names
    of examples come last, so that the other columns keep their places.
    """
    rows = [_row(tensor) for tensor in tensors]
    more = [_further(tensor) for tensor in tensors]
    if not aligned:
        whole = [(*row, *(cells[name] for name in further)) for row, cells in zip(rows, more, strict=True)]
        return table((*_COLUMNS, *further), whole)
    group = common_group(name for one in tensors for name in (one.name, one.new_name)) if sys.stdout.isatty() else ""
    cells = [
        {
            **dict(zip(_COLUMNS, row, strict=True)),
            "tensor": tensor.name and tensor.name.removeprefix(group),
            "new": row[1] and str(row[1]).removeprefix(group),
            "verdict": Styled(tensor.status, _style(tensor)),
            **others,
            "cosine": None if others["cosine"] is None else f"{others['cosine']:.9g}",
            "sqnr": None if others["sqnr"] is None else round(others["sqnr"], 1),
            "reason": tensor.reason if tensor.comparison is None or _fails_as_a_whole(tensor) else None,
        }
        for tensor, row, others in zip(tensors, rows, more, strict=True)
    ]
    filled = [column for column in _ALIGNED if any(row[column.name] not in (None, "") for row in cells)]
    return table(filled, [[row[column.name] for column in filled] for row in cells], aligned=True)


_FURTHER = ("cosine", "total error", "own error", "influence", "example id")
_QUANTIZATION = ("sqnr", "steps")


def _further(tensor: TensorDiff) -> dict[str, Any]:
    """Return the cells of a tensor that not every comparison has."""
    told = tensor.comparison
    cosine, sqnr, steps = (None, None, None) if told is None else (told.cosine, told.sqnr, told.steps)
    cells = (cosine, tensor.total_error, tensor.own_error, tensor.influence, tensor.example_id, sqnr, steps)
    return dict(zip((*_FURTHER, *_QUANTIZATION), cells, strict=True))


def _fails_as_a_whole(tensor: TensorDiff) -> bool:
    return tensor.comparison is not None and not tensor.comparison.failed and tensor.fails


def _style(tensor: TensorDiff) -> str:
    return RED if tensor.fails else GREEN if tensor.status == SAME else YELLOW


def diff_json(report: DiffReport, command: str) -> str:
    """Return the report of a command as JSON."""
    first = report.first
    return json_list(
        command,
        [_item(tensor) for tensor in report.tensors],
        golden=report.golden,
        new=report.new,
        same=report.same,
        summary=report.summary,
        first=None if first is None else first.name or first.new_name,
        notes=list(report.notes),
        blame=report.blame,
    )


def _item(tensor: TensorDiff) -> dict[str, Any]:
    record = without_missing_id(asdict(tensor))
    return {**record, "comparison": None if tensor.comparison is None else asdict(tensor.comparison)}


def diff_junit(report: DiffReport, command: str) -> str:
    """Return the report of a command as a JUnit document, with one test case per tensor."""
    from tfdump.cli.junit import junit

    cases = [_case(tensor) for tensor in report.tensors]
    return junit(f"tfdump {command} {report.golden} {report.new}", cases)


def _case(tensor: TensorDiff) -> "Case":
    from tfdump.cli.junit import Case

    group, _, name = (tensor.name or tensor.new_name or "").rpartition("/")
    class_name = group.replace("/", ".") or "tfdump"
    way = _pairing(tensor)
    pairing = f"paired by {way} with {tensor.new_name}" if way else ""
    if tensor.fails:
        return Case(name, class_name, "failure", tensor.reason, _details(tensor), pairing)
    if tensor.status in (IGNORED, SKIPPED) or (tensor.comparison is None and tensor.reason):
        return Case(name, class_name, "skipped", tensor.reason or tensor.status, output=pairing)
    return Case(name, class_name, output=pairing)


def _details(tensor: TensorDiff) -> str:
    """Return what the CI server shows below the failure: one line per column."""
    cells = [*zip(_COLUMNS, _row(tensor), strict=True), *_further(tensor).items()]
    return "\n".join(f"{name}: {value}" for name, value in cells if value not in (None, ""))
