"""Pairs of tensors that are near each other: computed in another way, or with a fault."""

from collections.abc import Mapping, Sequence

from tfdump.comparison.values.layouts import is_identity
from tfdump.comparison.values.likeness import Likeness, is_exact
from tfdump.comparison.values.matching import Edge
from tfdump.comparison.values.measuring import Measurer
from tfdump.comparison.values.samples import TensorSample


def near_edges(
    measurer: Measurer,
    goldens: Sequence[TensorSample],
    news: Sequence[TensorSample],
    sides: tuple[Sequence[TensorSample], Sequence[TensorSample]],
    partners: Mapping[int, TensorSample],
) -> dict[int, Edge]:
    """Return the edges of golden tensors and new tensors that are the nearest of all to each other.

    `goldens` and `news` are the tensors without a partner, `sides` all tensors. `partners` has the golden partners of
    the others, by the place of the new tensor: a golden tensor that equals one of these shares its partner.
    """
    alone = {sample.place for sample in news}
    edges: dict[int, Edge] = {}
    by_place = dict(partners)
    for golden in goldens:
        nearest = measurer.nearest(golden, sides[1], is_golden=True)
        if nearest is None or nearest[0].place not in alone:
            continue
        back = measurer.nearest(nearest[0], sides[0], is_golden=False)
        if back is not None and (back[0].place == golden.place or _equal(measurer, golden, back[0])):
            edges[golden.place] = _edge(golden, *nearest)
            by_place.setdefault(nearest[0].place, golden)
    for golden in goldens:
        nearest = None if golden.place in edges else measurer.nearest(golden, sides[1], is_golden=True)
        if (
            nearest is not None
            and nearest[0].place in by_place
            and _equal(measurer, golden, by_place[nearest[0].place])
        ):
            edges[golden.place] = _edge(golden, *nearest)
    return edges


def _equal(measurer: Measurer, golden: TensorSample, other: TensorSample) -> bool:
    return is_exact(measurer.likeness(golden, other), golden.item, other.item)


def _edge(golden: TensorSample, new: TensorSample, likeness: Likeness) -> Edge:
    turned = likeness.layout is not None and not is_identity(likeness.layout, new.shape)
    return Edge(golden.place, new.place, likeness, turned)
