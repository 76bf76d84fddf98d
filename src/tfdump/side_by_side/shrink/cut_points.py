"""Where the parts begin: the nearest tensors before a layer in which both sides agree."""

from collections.abc import Iterator, Mapping, Sequence

from tfdump.dump.layout import INPUTS
from tfdump.side_by_side.shrink.records import CutPoint

LayerReads = Mapping[str, Sequence[str] | None]
"""The addresses of the tensors that each layer call reads, by the address of the tensor that it makes."""

_INPUT = f"{INPUTS}/"


def cut_levels(
    targets: tuple[str, str], points: Sequence[CutPoint], golden: LayerReads | None, new: LayerReads | None
) -> Iterator[list[CutPoint]]:
    """Yield the points where the parts can begin: first the nearest, then always twice as far back, last the inputs.

    `targets` are the addresses of the tensors that the parts end with. A side that is no model has no graph (None).
    """
    usable, steps, level = list(points), 1, None
    front = _front(targets, usable, golden, new)
    while front:
        if front != level:
            yield front
        if all(map(_is_input, front)):
            return
        level = front
        for _ in range(steps):
            usable = [point for point in usable if _is_input(point) or point not in front]
            front = _front(targets, usable, golden, new) or []
        steps *= 2


def _is_input(point: CutPoint) -> bool:
    return point.golden.startswith(_INPUT)


def _front(
    targets: tuple[str, str], points: Sequence[CutPoint], golden: LayerReads | None, new: LayerReads | None
) -> list[CutPoint] | None:
    """Return the points that both sides reach first when they go back; None where there are none.

    Where one side reaches a point that the other does not, both go back further: beyond that point, or else beyond
    those that hide it.
    """
    if golden is None or new is None:
        return _front_of_one(targets, points, golden, new)
    front = _common_front(targets, points, golden, new, beyond_common=False)
    return front or _common_front(targets, points, golden, new, beyond_common=True)


def _front_of_one(
    targets: tuple[str, str], points: Sequence[CutPoint], golden: LayerReads | None, new: LayerReads | None
) -> list[CutPoint] | None:
    """Return the points that the only model reaches first; several golden tensors may have one counterpart."""
    reads, place = (new, 1) if golden is None else (golden, 0)
    by_name = {(point.golden, point.new)[place]: point for point in points}
    reached = None if reads is None else _reached(reads, targets[place], set(by_name))
    return None if reached is None else [point for name, point in by_name.items() if name in reached]


def _common_front(
    targets: tuple[str, str], points: Sequence[CutPoint], golden: LayerReads, new: LayerReads, *, beyond_common: bool
) -> list[CutPoint] | None:
    usable = list(points)
    while True:
        olds = _reached(golden, targets[0], {point.golden for point in usable})
        others = _reached(new, targets[1], {point.new for point in usable})
        if olds is None or others is None:
            return None
        front = [point for point in usable if point.golden in olds and point.new in others]
        lost = olds - {point.golden for point in front}, others - {point.new for point in front}
        if not any(lost):
            return front
        passed = front if beyond_common else [p for p in usable if p.golden in lost[0] or p.new in lost[1]]
        fewer = [point for point in usable if _is_input(point) or point not in passed]
        if len(fewer) == len(usable):
            return None
        usable = fewer


def _reached(reads: LayerReads, target: str, stops: set[str]) -> set[str] | None:
    """Return the stops that are reached first from a tensor; None where it is not known what a tensor reads."""
    reached, visited, waiting = set(), {target}, [target]
    while waiting:
        sources = reads.get(waiting.pop())
        if sources is None:
            return None
        for source in sources:
            if source in stops:
                reached.add(source)
            elif source.startswith(_INPUT):
                return None
            elif source not in visited:
                visited.add(source)
                waiting.append(source)
    return reached
