"""The boxes and arrows of the graph as data for graph.js: texts, colors and where trouble starts."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tfdump.address import reserved_word, split
from tfdump.comparison.verdict import DIFFERS, MISSING, SAME, TensorDiff
from tfdump.report.graph import LAYER, TENSOR, Box, Graph
from tfdump.report.graph_runs import in_runs
from tfdump.report.html import Markup, clean, number_text, size_text
from tfdump.report.records import Report, Row
from tfdump.report.table import error_share

LEVELS = ("", "same", "close", "slight", "warn", "clear", "bad", "severe")
"""How grave a box is, in rising order; the style sheet colors each of them."""

_SLIGHT, _CLEAR = 1e-3, 1e-1
"""Largest errors, as shares of the largest golden value, up to which a difference is slight and clear."""

_WORDS = {"nan": "NaN", "inf": "Inf"}


@dataclass(frozen=True)
class BoxMark:
    """What a box says beside its name: its level, a note, and what starts in it."""

    level: str = ""
    note: str = ""
    start: str = ""


def data_of(report: Report, graph: Graph) -> Markup:
    """Return the data as JSON that can stand in an element `script`, whatever names the dump has.

    `boxes` are in the order of execution, each behind the box `in` which it is, and without what is empty. `arrows` are
    places of boxes in pairs: the second reads the first.
    """
    starts = _starts(report, graph)
    listed = list(_listed(in_runs(graph.boxes)))
    place = {id(box): number for number, (box, _) in enumerate(listed)}
    boxes = [_entry(box, parent, report.diff is not None, starts) for box, parent in listed]
    arrows = [place[id(box)] for pair in graph.edges for box in pair]
    text = json.dumps({"boxes": boxes, "arrows": arrows}, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _starts(report: Report, graph: Graph) -> dict[str, str]:
    """Return what starts in which tensors, by their names."""
    starts = {row.name: "the difference starts here" for row in report.rows if row.number in graph.starts}
    for origin in report.checks.origins:
        text = f"{_WORDS[origin.check]} starts here"
        starts[origin.tensor] = f"{starts[origin.tensor]}; {text}" if origin.tensor in starts else text
    return starts


def _listed(boxes: Sequence[Box]) -> Iterator[tuple[Box, int]]:
    """Yield every box and the place of the box around it, which comes before it; -1 at the top."""
    waiting = [(box, -1) for box in reversed(boxes)]
    place = 0
    while waiting:
        box, parent = waiting.pop()
        yield box, parent
        waiting += [(inner, place) for inner in reversed(box.boxes)]
        place += 1


def _entry(box: Box, parent: int, compared: bool, starts: dict[str, str]) -> dict[str, Any]:
    mark = _mark_of_many(box, compared, starts) if box.boxes else _mark(box.row, compared, starts)
    row = box.row
    entry = {
        "in": parent,
        "kind": box.kind if box.kind != TENSOR else "",
        "name": clean(box.name),
        "address": clean(box.address) if box.address != box.name else "",
        "text": clean(_class_of(box)) if row is None else clean(f"{row.class_name} {size_text(row.shape)}".strip()),
        "dtype": row.dtype if row is not None else "",
        "level": mark.level,
        "note": mark.note,
        "start": mark.start,
        "row": row.number if row is not None else "",
    }
    return {name: value for name, value in entry.items() if value != ""}


def _class_of(box: Box) -> str:
    """Return the class of a layer, which its own output has."""
    for inner in box.boxes if box.kind == LAYER else ():
        is_own = split(inner.address)[0] == box.address and not reserved_word(inner.address)
        if is_own and inner.row is not None:
            return inner.row.class_name
    return ""


def _mark(row: Row | None, compared: bool, starts: dict[str, str]) -> BoxMark:
    if row is None:
        return BoxMark()
    checks = dict.fromkeys(_WORDS.get(finding.check, finding.check) for finding in row.findings)
    start = starts.get(row.name, "")
    if not compared:
        level = "bad" if _is_bad(row) else "warn" if checks else ""
        return BoxMark(level, ", ".join(checks), start)
    odd = [name for name in checks if name in _WORDS.values()]
    return BoxMark(_level(row.diff), ", ".join([*_difference(row.diff), *odd]), start)


def _is_bad(row: Row) -> bool:
    return any(finding.check in _WORDS for finding in row.findings)


def _level(diff: TensorDiff | None) -> str:
    if diff is None or diff.status not in (SAME, DIFFERS, MISSING):
        return ""
    comparison, share = diff.comparison, error_share(diff)
    if diff.status == SAME:
        return "close" if share else "same"
    if diff.status == MISSING:
        return "severe" if diff.fails else ""
    if comparison is None or comparison.unlike or share is None or not math.isfinite(share):
        return "severe"
    return "slight" if share < _SLIGHT else "clear" if share < _CLEAR else "severe"


def _difference(diff: TensorDiff | None) -> list[str]:
    """Return in a few words how a tensor differs; nothing where it is equal."""
    if diff is None or (diff.status == SAME and not error_share(diff)):
        return []
    share = error_share(diff)
    number = "" if share is None else f" {number_text(share, 2)}"
    return [f"{'' if diff.status == SAME else diff.status}{number}".strip()]


def _mark_of_many(box: Box, compared: bool, starts: dict[str, str]) -> BoxMark:
    """Return the gravest level inside, the number of tensors and of those that the level is about."""
    rows = [tensor.row for tensor in box.tensors() if tensor.row is not None]
    level = max((_mark(row, compared, starts).level for row in rows), key=LEVELS.index, default="")
    notes = [f"{len(rows):,} tensor{'' if len(rows) == 1 else 's'}"]
    counts = (
        [(sum(row.diff is not None and row.diff.fails for row in rows), "differ")]
        if compared
        else [(sum(map(_is_bad, rows)), "with NaN or Inf"), (sum(bool(row.findings) for row in rows), "with findings")]
    )
    notes += [f"{count:,} {what}" for count, what in counts if count][:1]
    inside = dict.fromkeys(starts[row.name].replace(" here", " inside") for row in rows if row.name in starts)
    return BoxMark(level, ", ".join(notes), "; ".join(inside))
