"""What `tfdump ranges GOLDEN QUANTIZED` prints: the tensors with the greatest loss first, and the verdict."""

from dataclasses import asdict

from tfdump.cli.aligned_table import Column, Styled
from tfdump.cli.render import Cell, json_list, table
from tfdump.cli.tensor_names import common_group, tensor_column
from tfdump.cli.terminal import RED
from tfdump.quantization.losses import LossReport, TensorLoss
from tfdump.tensors import listed

_COLUMNS = ("tensor", "quantized", "class", "place", "sqnr", "input sqnr", "own sqnr", "steps", "saturated", "through",
            "keep in float")  # fmt: skip
_ALIGNED = (
    tensor_column(), tensor_column("quantized"), Column("class", 0), Column("place", 1), Column("sqnr"),
    Column("input sqnr", 3), Column("own sqnr"), Column("steps", 5), Column("saturated", 4),
    Column("through", 2, shorten="end"), Column("keep in float"),
)  # fmt: skip


def losses_table(report: LossReport, aligned: bool) -> str:
    """Return one row per tensor: aligned for a terminal, where equal names are left out, or as TSV."""
    if not aligned:
        return table(_COLUMNS, [_cells(one) for one in report.losses], aligned=False)
    group = common_group(name for one in report.losses for name in (one.tensor, one.quantized))
    rows = [dict(zip(_COLUMNS, _cells(one), strict=True)) for one in report.losses]
    for row, one in zip(rows, report.losses, strict=True):
        row["tensor"] = one.tensor.removeprefix(group)
        row["quantized"] = one.quantized.removeprefix(group) if one.quantized != one.tensor else None
        row["saturated"] = None if one.saturated is None else f"{one.saturated:.2%}"
        row["keep in float"] = Styled("yes", RED) if one.keep_float else None
        for name in ("sqnr", "input sqnr", "own sqnr"):
            value = row[name]
            row[name] = round(value, 1) if isinstance(value, float) else value
    filled = [column for column in _ALIGNED if any(row[column.name] not in (None, "") for row in rows)]
    return table(filled, [[row[column.name] for column in filled] for row in rows], aligned=True)


def losses_json(report: LossReport) -> str:
    """Return the report as JSON."""
    return json_list(
        "losses",
        map(asdict, report.losses),
        golden=report.golden,
        quantized=report.quantized,
        min_sqnr=report.min_sqnr,
        keep_float=list(report.keep_float),
        skipped=[{"tensor": name, "reason": reason} for name, reason in report.skipped],
        notes=list(report.notes),
    )


def losses_verdict(report: LossReport) -> str:
    """Return in one line which layers should stay in float."""
    limit = f"{report.min_sqnr:g} dB"
    if report.keep_float:
        names = listed(name.removeprefix("activations/") for name in report.keep_float)
        return f"keep in float (own SQNR below {limit}, and as much noise added as received): {names}"
    low = [one for one in report.losses if one.sqnr < report.min_sqnr]
    if low:
        return (
            f"no layer by itself has to stay in float, but the noise of several adds up: the SQNR is below {limit} in "
            f"{len(low)} of {len(report.losses)} tensors"
        )
    return f"no layer has to stay in float: no SQNR is below {limit}"


def _cells(one: TensorLoss) -> list[Cell]:
    through = ", ".join(name.removeprefix("activations/") for name in one.through)
    numbers: list[Cell] = [one.place, one.sqnr, one.input_sqnr, one.own_sqnr, one.steps, one.saturated]
    return [one.tensor, one.quantized, one.class_name, *numbers, through, "yes" if one.keep_float else ""]
