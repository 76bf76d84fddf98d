"""Matches golden tensors with new tensors of equal values: the longest chain in execution order, then the rest."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfdump.comparison.layers.alignment import rising
from tfdump.comparison.values.likeness import Likeness


@dataclass(frozen=True)
class Edge:
    """A golden and a new tensor that could be one, by their places in the order of execution."""

    golden: int
    new: int
    likeness: Likeness
    turned: bool = False


def match_edges(edges: Iterable[Edge], anchors: Mapping[int, int], sharing: Collection[int]) -> dict[int, Edge]:
    """Return the edge of every golden tensor that is matched, by its place.

    `anchors` are the places of tensors that are paired already; the new ones of them are not matched again, except
    with golden tensors in `sharing`, which may have a partner that another golden tensor has. An edge whose new tensor
    has the axes of the golden one goes before one that is `turned`.
    """
    upright = {edge.golden for edge in edges if not edge.turned}
    edges = [edge for edge in edges if not (edge.turned and edge.golden in upright)]
    free = sorted(
        (edge for edge in edges if edge.new not in anchors.values()), key=lambda edge: (edge.golden, -edge.new)
    )
    matches = {edge.golden: edge for edge in _chain(free, anchors)}
    used = {edge.new for edge in matches.values()}
    for edge in _by_order(free, matches, anchors):
        if edge.golden not in matches and edge.new not in used:
            matches[edge.golden] = edge
            used.add(edge.new)
    rest = [edge for edge in edges if edge.golden in sharing and edge.golden not in matches]
    for edge in _by_order(rest, matches, anchors):
        matches.setdefault(edge.golden, edge)
    return matches


def _chain(edges: Sequence[Edge], anchors: Mapping[int, int]) -> list[Edge]:
    """Return a longest sequence of edges and anchors that rises on both sides, without the anchors.

    Among equally long ones, it has the last new tensors: the last of several operations is what a layer gives.
    """
    known: list[tuple[int, int, Edge | None]] = [(old, other, None) for old, other in anchors.items()]
    known += [(edge.golden, edge.new, edge) for edge in edges]
    known.sort(key=lambda entry: (-entry[0], entry[1]))
    chain = [known[position][2] for position in rising([-other for _, other, _ in known])]
    return [edge for edge in reversed(chain) if edge is not None]


def _by_order(edges: Sequence[Edge], matches: Mapping[int, Edge], anchors: Mapping[int, int]) -> list[Edge]:
    """Return edges sorted by how far their new tensor is from the partner of the golden tensor before."""
    partners = {**anchors, **{place: edge.new for place, edge in matches.items()}}
    places = sorted(partners)

    def shift(edge: Edge) -> tuple[int, int, int]:
        before = bisect_left(places, edge.golden)
        partner = partners[places[before - 1]] if before else -1
        return abs(edge.new - partner), edge.golden, edge.new

    return sorted(edges, key=shift)
