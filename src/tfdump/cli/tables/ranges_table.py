"""The tables of `tfdump ranges`: a summary or one table per subject on a terminal, and one wide table in a pipe."""

import math
from collections.abc import Sequence

from tfdump.cli.aligned_table import Column
from tfdump.cli.render import Cell, table
from tfdump.cli.tensor_names import common_group, tensor_column
from tfdump.quantization.measuring import METHODS, SHOWN
from tfdump.quantization.quantizers import LARGEST
from tfdump.quantization.records import PERCENTS, IntegerScale, RangesReport, TensorRange

_Row = list[Cell]

_WAYS = [(symmetric, method) for symmetric in (True, False) for method in METHODS]
_SHORT = {"float16": "float16", "bfloat16": "bfloat16", "float8_e4m3": "e4m3", "float8_e5m2": "e5m2"}
_ALL_IN = "--show, --json, or a pipe"


def ranges_on_terminal(report: RangesReport, shown: Sequence[str] | None) -> str:
    """Return a summary, or a table for each subject that is asked for."""
    if not report.ranges:
        return ""
    group = common_group(one.tensor for one in report.ranges)
    if shown is None:
        return _summary(report.ranges, group)
    tables = {"range": _range_table, "bits": _bits_table, "float": _float_table}
    made = [
        tables[name](report.ranges, group) if name in tables else _integer_table(report.ranges, group, int(name[3:]))
        for name in SHOWN
        if name in shown
    ]
    return "\n".join(made)


def ranges_in_full(report: RangesReport, shown: Sequence[str]) -> str:
    """Return one row per tensor or channel, tab-separated, with everything that is asked for."""
    columns = ["tensor", "class", "dtype", "channel", "min", "max", *_full_names(shown)]
    rows = [
        [one.tensor, one.class_name, one.dtype, one.channel, one.min, one.max, *_full_cells(one, shown)]
        for one in report.ranges
    ]
    return table(columns, rows, aligned=False)


def _full_names(shown: Sequence[str]) -> list[str]:
    names: list[str] = []
    if "range" in shown:
        names += ["count", "nan", "inf", "zero", *map(_percent, PERCENTS), "percentile error"]
    if "bits" in shown:
        names += ["fixed point", "integer bits", "fraction bits", "fixed point dB"]
    for bits in _widths(shown):
        for symmetric, method in _WAYS:
            names += [f"int{bits} {_word(symmetric)} {method} {part}" for part in ("scale", "zero point", "dB")]
    if "float" in shown:
        names += [f"{dtype} {part}" for dtype in LARGEST for part in ("dB", "overflowed")]
    return names


def _full_cells(one: TensorRange, shown: Sequence[str]) -> _Row:
    cells: _Row = []
    if "range" in shown:
        cells += [one.count, one.nan, one.inf, one.zero, *_percentiles(one)]
    if "bits" in shown:
        fixed = one.fixed_point
        cells += [None] * 4 if fixed is None else [fixed.type_name, fixed.integer_bits, fixed.fraction_bits, fixed.sqnr]
    for bits in _widths(shown):
        for symmetric, method in _WAYS:
            scale = one.integer(bits, symmetric, method)
            cells += [None] * 3 if scale is None else [scale.scale, scale.zero_point, scale.sqnr]
    if "float" in shown:
        for dtype in LARGEST:
            loss = one.float_loss(dtype)
            cells += [None] * 2 if loss is None else [loss.sqnr, loss.overflowed]
    return cells


def _widths(shown: Sequence[str]) -> list[int]:
    return [bits for bits in (8, 16) if f"int{bits}" in shown]


def _word(symmetric: bool) -> str:
    return "symmetric" if symmetric else "asymmetric"


def _percent(percent: float) -> str:
    return f"p{percent:g}"


def _percentiles(one: TensorRange) -> _Row:
    """Return the percentiles, and the largest error of them."""
    by_percent = [one.percentile(percent) for percent in PERCENTS]
    values: _Row = [None if item is None else item.value for item in by_percent]
    return [*values, max((item.error for item in by_percent if item is not None), default=None)]


def _names(*columns: str | Column) -> list[str | Column]:
    return [tensor_column(), "channel", *columns]


def _table(ranges: Sequence[TensorRange], columns: list[str | Column], rows: list[_Row]) -> str:
    """Return an aligned table, without the column of channels if there are none."""
    if all(one.channel is None for one in ranges):
        columns, rows = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in rows]
    return table(columns, rows, aligned=True, all_in=_ALL_IN)


def _range_table(ranges: Sequence[TensorRange], group: str) -> str:
    dropped = {0.01: 5, 0.1: 4, 1.0: 2, 50.0: 6, 99.0: 3, 99.9: 7, 99.99: 8}
    percents = [Column(_percent(percent), dropped[percent]) for percent in PERCENTS]
    counts = [Column(name, 1) for name in ("nan", "inf")]
    columns = [*_names(), "min", *percents, "max", Column("error", 9), *counts]
    rows: list[_Row] = []
    for one in ranges:
        *values, error = _percentiles(one)
        rows.append([*_start(one, group), one.min, *values, one.max, error, one.nan, one.inf])
    return _table(ranges, columns, rows)


def _bits_table(ranges: Sequence[TensorRange], group: str) -> str:
    columns = [*_names(), "min", "max", "fixed point", Column("integer bits", 1), Column("fraction bits", 0), "dB"]
    rows: list[_Row] = []
    for one in ranges:
        fixed = one.fixed_point
        cells: _Row = [None] * 4
        if fixed is not None:
            cells = [fixed.type_name, fixed.integer_bits, fixed.fraction_bits, _decibels(fixed.sqnr)]
        rows.append([*_start(one, group), one.min, one.max, *cells])
    return _table(ranges, columns, rows)


def _integer_table(ranges: Sequence[TensorRange], group: str, bits: int) -> str:
    """Return one row per tensor and way to quantize it."""
    columns = _names(f"int{bits}", "range", "scale", "zero point", "dB")
    rows: list[_Row] = []
    for one in ranges:
        for way in (scale for scale in one.integers if scale.bits == bits):
            cells: _Row = [_word(way.symmetric), way.method, way.scale, way.zero_point, _decibels(way.sqnr)]
            rows.append([*_start(one, group), *cells])
    return _table(ranges, columns, rows) if rows else ""


def _float_table(ranges: Sequence[TensorRange], group: str) -> str:
    places = {dtype: place for place, dtype in enumerate(reversed(LARGEST))}
    columns = _names(
        *(f"{_SHORT[dtype]} dB" for dtype in LARGEST),
        *(Column(f"{_SHORT[dtype]} overflowed", places[dtype]) for dtype in LARGEST),
    )
    rows: list[_Row] = []
    for one in ranges:
        losses = [one.float_loss(dtype) for dtype in LARGEST]
        ratios = [_decibels(None if loss is None else loss.sqnr) for loss in losses]
        rows.append([*_start(one, group), *ratios, *(None if loss is None else loss.overflowed for loss in losses)])
    return _table(ranges, columns, rows)


def _summary(ranges: Sequence[TensorRange], group: str) -> str:
    """Return one row per tensor: its range, and the ratios in dB of the types that people consider."""
    columns = _names(
        "min",
        "max",
        Column("fixed point", 6),
        Column("int8 sym", 5),
        "int8 asym",
        "int8 best",
        Column("by", 3),
        Column("int16", 2),
        Column("float16", 1),
        Column("bfloat16", 4),
        Column("e4m3", 7),
        Column("e5m2", 0),
    )
    rows: list[_Row] = []
    for one in ranges:
        by_max = [one.integer(8, symmetric, "max") for symmetric in (True, False)]
        best = _best(one)
        wide = one.integer(16, True, "max")
        losses = [one.float_loss(dtype) for dtype in LARGEST]
        rows.append(
            [*_start(one, group), one.min, one.max, None if one.fixed_point is None else one.fixed_point.type_name]
            + [_decibels(None if scale is None else scale.sqnr) for scale in (*by_max, best)]
            + [None if best is None else f"{'sym' if best.symmetric else 'asym'} {best.method}"]
            + [_decibels(None if item is None else item.sqnr) for item in (wide, *losses)]
        )
    return _table(ranges, columns, rows)


def _best(one: TensorRange) -> IntegerScale | None:
    """Return the way to int8 with the best ratio; of equal ones the simplest."""
    known = [scale for scale in one.integers if scale.bits == 8 and scale.sqnr is not None]
    return max(known, key=lambda scale: -math.inf if scale.sqnr is None else scale.sqnr, default=None)


def _start(one: TensorRange, group: str) -> _Row:
    return [one.tensor.removeprefix(group), one.channel]


def _decibels(ratio: float | None) -> float | None:
    """Return a ratio with one decimal, as people read it."""
    return None if ratio is None else round(ratio, 1)
