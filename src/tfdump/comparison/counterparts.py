"""The addresses that tensors of one side have on the other side, as far as their layers are paired."""

import re
from collections.abc import Mapping, Sequence

from tfdump.comparison.layers.pairing import PairingBasis, pair_layers
from tfdump.comparison.layers.tree import (
    INTERFACE_GROUPS,
    LAYER_GROUPS,
    knows_layers,
    layer_tree,
    placed,
    without_calls,
)
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.dump import layout
from tfdump.dump.attributes import order_of
from tfdump.dump.graph.labels import graph_labels

_CALL = re.compile(r"@\d+")
_ANY = ""


class Counterparts:
    """Golden paths of layers with the new paths, by group; those of the group "" hold for every other group."""

    def __init__(self, paths: Mapping[str, Mapping[str, str]]) -> None:
        self._paths = paths
        self._new_paths = {group: frozenset(by_path.values()) for group, by_path in paths.items()}

    def address(self, group: str, address: str) -> str | None:
        """Return the new address of a golden tensor; None if its layer has no counterpart."""
        layer, colon, suffix = address.partition(":")
        path = self._paths.get(group, self._paths[_ANY]).get(without_calls(layer))
        if path is None:
            return None
        calls = (_CALL.findall(segment) for segment in layer.split("."))
        segments = zip(path.split("."), calls, strict=True)
        return ".".join(segment + "".join(numbers) for segment, numbers in segments) + colon + suffix

    def is_counterpart(self, group: str, address: str) -> bool:
        """Tell whether the layer of a new tensor is the counterpart of a golden layer."""
        return without_calls(address) in self._new_paths.get(group, self._new_paths[_ANY])

    def turned(self) -> "Counterparts":
        """Return the counterparts seen from the other side."""
        return Counterparts({group: {new: old for old, new in paths.items()} for group, paths in self._paths.items()})


def counterparts(golden: Side, new: Side, mapped: Sequence[tuple[Item, Item]]) -> Counterparts:
    """Pair the layers of two sides; `mapped` has the tensors that a map has paired already.

    The layers of dumps are paired once for activations, weights and all their gradients, and separately for outputs and
    inputs. The names of plain arrays stand for any group.
    """
    forced: dict[str, str] = {}
    apart: set[int] = set()
    for pair in mapped:
        path, new_path = (without_calls(placed(item)[1]) for item in pair)
        if path.count(".") == new_path.count("."):
            forced[path] = new_path
        else:
            apart |= {id(item) for item in pair}
    sides = [sorted((item for item in side.items if id(item) not in apart), key=order_of) for side in (golden, new)]
    plain = golden.is_plain or new.is_plain
    knows = [knows_layers(side) for side in (golden, new)]
    alike = not plain and knows[0] == knows[1]
    evidence = PairingBasis(all(knows), not plain, alike, forced)
    if plain:
        old, other = (
            layer_tree(side, (_ANY, *layout.TENSOR_GROUPS), known, any_axes=True)
            for side, known in zip(sides, knows, strict=True)
        )
        return Counterparts({_ANY: pair_layers(old, other, evidence)})
    groups = [group for group in LAYER_GROUPS if all(any(item.group == group for item in side) for side in sides)]
    activations = [[item for item in side if item.group == layout.ACTIVATIONS] for side in sides]
    labels = graph_labels(*activations) if alike else [{}, {}]
    old, other = (
        layer_tree(side, groups, known, label) for side, known, label in zip(sides, knows, labels, strict=True)
    )
    paths = {_ANY: pair_layers(old, other, evidence)}
    for group in INTERFACE_GROUPS:
        old, other = (layer_tree(side, [group], known) for side, known in zip(sides, knows, strict=True))
        paths[group] = pair_layers(old, other, PairingBasis(all(knows), order=True, alike=True))
    return Counterparts(paths)
