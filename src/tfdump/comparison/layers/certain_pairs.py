"""Pairs of layers that need no other evidence: by a map, a name that a user chose, an attribute, or the graph."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from tfdump.comparison.layers.tree import Layer

POSITION = re.compile(r"(?:^|\.)\d+(?:@\d+)?$")
"""The end of a structure that is a position in a list of layers."""

Pairs = list[tuple[Layer, Layer]]
LayerKey = Callable[[Layer], Hashable]


def sure_pairs(
    golden: Sequence[Layer], new: Sequence[Layer], forced: Mapping[str, str], classes: bool, alike: bool
) -> Pairs:
    """Return the certain pairs among the layers inside two layers.

    `forced` has paths of golden layers with the paths of the new layers. `classes` tells that both sides know the
    classes of their layers. If the sides are not `alike` (another format, or plain arrays), the order may differ: then
    numbered names are trusted if all numbered names of one side are on the other.
    """
    by_path = {layer.path: layer for layer in new}
    pairs = [(layer, by_path[path]) for layer in golden if (path := forced.get(layer.path)) in by_path]
    names = _sure_names(*left_over(golden, new, pairs), alike)
    keys: list[LayerKey] = [lambda layer: layer.name if layer.name in names else None]
    if classes:
        keys.append(_attribute)
    keys.append(_place_in_graph)
    for key in keys:
        olds, others = left_over(golden, new, pairs)
        by_key = unique_by(others, key)
        pairs += [(layer, by_key[name]) for name, layer in unique_by(olds, key).items() if name in by_key]
    return pairs


def left_over(golden: Sequence[Layer], new: Sequence[Layer], pairs: Pairs) -> tuple[list[Layer], list[Layer]]:
    """Return the layers of both sides that are in no pair."""
    paired = {id(layer) for pair in pairs for layer in pair}
    return [layer for layer in golden if id(layer) not in paired], [layer for layer in new if id(layer) not in paired]


def unique_by(layers: Iterable[Layer], key: LayerKey) -> dict[Hashable, Layer]:
    """Return layers by a key, without those whose key is None or is shared with another layer."""
    by_key: dict[Hashable, list[Layer]] = {}
    for layer in layers:
        by_key.setdefault(key(layer), []).append(layer)
    return {name: members[0] for name, members in by_key.items() if name is not None and len(members) == 1}


def _sure_names(golden: Sequence[Layer], new: Sequence[Layer], alike: bool) -> set[str]:
    """Return the names of both sides that can be trusted."""
    stems, new_stems = _names_by_stem(golden), _names_by_stem(new)
    others = {layer.name: layer for layer in new}
    sure = set()
    for layer in golden:
        other = others.get(layer.name)
        if other is None:
            continue
        if layer.is_automatic or other.is_automatic or (layer.class_name is None and other.class_name is None):
            names, new_names = stems[layer.stem], new_stems[layer.stem]
            alone = len(names) == len(new_names) == 1
            trusted = not alike and (names <= new_names or new_names <= names)
            if (alone and layer.class_name == other.class_name) or trusted:
                sure.add(layer.name)
        else:
            sure.add(layer.name)
    return sure


def _names_by_stem(layers: Iterable[Layer]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for layer in layers:
        names.setdefault(layer.stem, set()).add(layer.name)
    return names


def _attribute(layer: Layer) -> Hashable:
    """Return the attribute that holds a layer; None if it is a position in a list."""
    return None if POSITION.search(layer.structure) else layer.structure or None


def _place_in_graph(layer: Layer) -> Hashable:
    """Return the labels of what leads to a layer and of what follows; None if either is not known."""
    return None if layer.ahead is None or layer.behind is None else (layer.ahead, layer.behind)
