"""Many boxes of one layer as runs in the order of execution, so that no view holds too many."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby

from tfdump.dump import layout
from tfdump.report.graph import RUN, Box

MOST_BOXES = 60
"""How many boxes a layer shows when it opens; more become runs."""

_RUN = 40
_SHORTEST = 3
_MOST_WORDS = 3
_PART = 12
"""How many characters of its first and its last name the name of a run shows."""


def in_runs(boxes: Sequence[Box]) -> list[Box]:
    """Return boxes of which none contains more than `MOST_BOXES`; runs contain the others.

    A run holds boxes that follow each other, so runs read each other in one direction, as their boxes do. Names that
    begin alike make a run (`conv2_*`); where they do not, runs are about equally long. Inputs and outputs of the model
    stay visible, if they are not many.
    """
    inner = [box for box in boxes if "/" not in box.address]
    ends = [box for box in boxes if "/" in box.address]
    if len(ends) > MOST_BOXES // 2:
        inner, ends = list(boxes), []
    inputs = [box for box in ends if _is_input(box)]
    outputs = [box for box in ends if not _is_input(box)]
    return [*inputs, *_runs([_folded(box) for box in inner]), *outputs]


def _is_input(box: Box) -> bool:
    return box.address.startswith(f"{layout.INPUTS}/")


def _folded(box: Box) -> Box:
    return Box(box.kind, box.name, box.address, box.row, in_runs(box.boxes)) if box.boxes else box


def _runs(boxes: list[Box], words: int = 1) -> list[Box]:
    if len(boxes) <= MOST_BOXES:
        return boxes
    alike = _alike(boxes, words)
    if alike is not None:
        prefixes, runs, words = alike
        names = [f"{prefix}*" for prefix in prefixes]
    else:
        runs = _evenly(boxes)
        names = [f"{_part(run[0].name)} … {_part(run[-1].name)}" for run in runs]
    folded: list[Box] = []
    for name, run in zip(names, runs, strict=True):
        folded += run if len(run) < _SHORTEST else [Box(RUN, name, _ends(run), None, _runs(run, words + 1))]
    return folded


def _alike(boxes: list[Box], words: int) -> tuple[list[str], list[list[Box]], int] | None:
    """Return runs of names that begin with the same words, and how many; None where this makes too many runs."""
    for count in range(words, _MOST_WORDS + 1):
        grouped = [(prefix, list(run)) for prefix, run in groupby(boxes, partial(_prefix, words=count))]
        if 1 < len(grouped) <= min(MOST_BOXES // _SHORTEST, len(boxes) // _SHORTEST):
            return [prefix for prefix, _ in grouped], [run for _, run in grouped], count
    return None


def _prefix(box: Box, words: int) -> str:
    """Return the first words of a name, with the underscore behind them where there are more."""
    listed = box.name.split("_")
    return "_".join(listed[:words]) + ("_" if len(listed) > words else "")


def _evenly(boxes: list[Box]) -> list[list[Box]]:
    count = min(-(-len(boxes) // _RUN), _RUN)
    return [boxes[len(boxes) * n // count : len(boxes) * (n + 1) // count] for n in range(count)]


def _ends(run: Sequence[Box]) -> str:
    return f"{run[0].address} … {run[-1].address}"


def _part(name: str) -> str:
    return name if len(name) <= _PART else f"{name[: _PART - 1]}…"
