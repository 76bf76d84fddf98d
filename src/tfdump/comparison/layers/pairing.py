"""Pairs the layers of two sides by the best overall agreement.

Names that a user chose are certain, and so is the path of Python attributes that leads to a layer. Names that Keras
generated (`dense_7`) depend on what the process built before. They only decide between alignments that are equally good
by class, order, shapes, structure and graph.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tfdump.comparison.layers.alignment import align, rising
from tfdump.comparison.layers.automatic_names import number_of
from tfdump.comparison.layers.certain_pairs import Pairs, left_over, sure_pairs, unique_by
from tfdump.comparison.layers.scores import Scoring
from tfdump.comparison.layers.tree import Layer


@dataclass(frozen=True)
class PairingBasis:
    """The evidence that may be used to pair layers.

    `classes` tells that both sides know the classes of their layers, `order` that both are in the order of execution,
    and `alike` that both come from one kind of file, so that the order is the same. `forced` has the paths of a map.
    """

    classes: bool
    order: bool
    alike: bool
    forced: Mapping[str, str] = field(default_factory=dict)


def pair_layers(golden: Layer, new: Layer, evidence: PairingBasis) -> dict[str, str]:
    """Return the paths of golden layers with those of their new counterparts; `golden` and `new` are the roots."""
    paths: dict[str, str] = {}
    waiting = [(golden, new)]
    while waiting:
        old, other = waiting.pop()
        pairs = _pairs_inside(list(old.inside.values()), list(other.inside.values()), evidence)
        paths.update((first.path, second.path) for first, second in pairs)
        waiting += [(first, second) for first, second in pairs if first.inside and second.inside]
    return paths


def _pairs_inside(golden: list[Layer], new: list[Layer], evidence: PairingBasis) -> Pairs:
    """Return the pairs among the layers inside two layers."""
    if [layer.name for layer in golden] == [layer.name for layer in new] and not evidence.forced:
        return list(zip(golden, new, strict=True))
    pairs = sure_pairs(golden, new, evidence.forced, evidence.classes, evidence.alike)
    parts = _between(golden, new, pairs) if evidence.order else _by_stem(golden, new, pairs)
    for olds, others in list(parts):
        pairs += _aligned(olds, others)
    if evidence.forced:  # a map may cross the order
        pairs += _aligned(*left_over(golden, new, pairs))
    olds, others = left_over(golden, new, pairs)
    by_name = unique_by(others, lambda layer: layer.name)
    return pairs + [(layer, by_name[layer.name]) for layer in olds if layer.name in by_name]


def _between(golden: list[Layer], new: list[Layer], pairs: Pairs) -> Iterator[tuple[list[Layer], list[Layer]]]:
    """Yield the remaining layers between pairs that have the same order on both sides."""
    places = {layer.path: place for place, layer in enumerate(golden)}
    new_places = {layer.path: place for place, layer in enumerate(new)}
    at = sorted((places[old.path], new_places[other.path]) for old, other in pairs)
    anchors = [at[position] for position in rising([place for _, place in at])]
    paired = {place for place, _ in at}
    new_paired = {place for _, place in at}
    first = new_first = 0
    for end, new_end in [*anchors, (len(golden), len(new))]:
        yield (
            [golden[place] for place in range(first, end) if place not in paired],
            [new[place] for place in range(new_first, new_end) if place not in new_paired],
        )
        first, new_first = end, new_end


def _by_stem(golden: list[Layer], new: list[Layer], pairs: Pairs) -> Iterator[tuple[list[Layer], list[Layer]]]:
    """Yield the remaining layers of each name without its number, in the order of the numbers."""
    olds, others = left_over(golden, new, pairs)
    for stem in dict.fromkeys(layer.stem for layer in olds):
        sides = ([layer for layer in side if layer.stem == stem] for side in (olds, others))
        first, second = (sorted(side, key=lambda layer: (number_of(layer.name), layer.name)) for side in sides)
        yield first, second


def _aligned(golden: list[Layer], new: list[Layer]) -> Pairs:
    """Return the best alignment of layers in order."""
    if not golden or not new:
        return []
    scoring = Scoring(golden, new)
    start, end = scoring.ends()
    middle = align(len(golden) - start - end, len(new) - start - end, scoring.between(start))
    numbers = [(place, place) for place in range(start)]
    numbers += [(start + old, start + other) for old, other in middle]
    numbers += [(len(golden) - place, len(new) - place) for place in range(end, 0, -1)]
    return [(golden[old], new[other]) for old, other in numbers]
