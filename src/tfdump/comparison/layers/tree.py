"""The layers of one side of a comparison as a tree, with their names, classes and tensors."""

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from tfdump.address import reserved_word, split
from tfdump.comparison.layers.automatic_names import is_automatic, stem
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.dump import layout
from tfdump.dump.graph.labels import Labels

LAYER_GROUPS = (layout.ACTIVATIONS, layout.ACTIVATION_GRADIENTS, layout.WEIGHT_GRADIENTS, layout.WEIGHTS)
"""Groups whose addresses are those of layers and their weights; the order of the first group counts."""

INTERFACE_GROUPS = (layout.OUTPUTS, layout.INPUTS, layout.INPUT_GRADIENTS)
"""Groups whose order is part of the model's interface, while names are not."""

_OPERATION_GRAPHS = ("SavedModel", "TFLite", "ONNX")
"""Values of `model_class` for which `class` is the type of an operation, not the class of a layer."""

_INPUT_LAYER = "InputLayer"
_CALL = re.compile(r"@\d+")


@dataclass
class Layer:
    """A layer, or a weight of a layer, with the layers inside it by name, in the order of execution.

    `class_name` is None if the side does not tell the class of the layer. `structure` is the path of Python attributes
    within the layer around it, `shapes` has the shapes of its own tensors, `graph` their labels.
    """

    name: str
    path: str = ""
    class_name: str | None = None
    whole_structure: str = ""
    structure: str = ""
    shapes: set[Hashable] = field(default_factory=set)
    graph: list[tuple[int, int]] = field(default_factory=list)
    inside: "dict[str, Layer]" = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The name without the number that Keras may have added."""
        return stem(self.name)

    @property
    def is_automatic(self) -> bool:
        """Whether Keras generated the name, as far as is known."""
        return self.class_name is not None and is_automatic(self.name, self.class_name)

    @property
    def is_user_named(self) -> bool:
        """Whether a user chose the name, as far as is known."""
        return self.class_name is not None and not is_automatic(self.name, self.class_name)

    @property
    def ahead(self) -> Hashable:
        """The labels of what leads to the layer; None if that is not known."""
        labels = tuple(ahead for ahead, _ in self.graph)
        return labels if labels and all(labels) else None

    @property
    def behind(self) -> Hashable:
        """The labels of what follows from the layer; None if that is not known."""
        labels = tuple(behind for _, behind in self.graph)
        return labels if labels and all(labels) else None

    @property
    def content(self) -> Hashable:
        """The shapes of the tensors of the layer, or else of what is inside."""
        return frozenset(self.shapes) or self.deep_content

    @property
    def deep_content(self) -> Hashable:
        """The shapes of all that is inside, in order."""
        return tuple((frozenset(layer.shapes), layer.deep_content) for layer in self.inside.values())


def without_calls(address: str) -> str:
    """Return the path of a layer without the numbers of its calls."""
    return _CALL.sub("", split(address)[0])


def placed(item: Item) -> tuple[str, str]:
    """Return the group and the address of an item; for a plain array, as far as its name tells them."""
    if item.group:
        return item.group, item.address
    for group in layout.TENSOR_GROUPS:
        if item.address.startswith(f"{group}/"):
            return group, item.address[len(group) + 1 :].replace("/", ".")
    return "", item.address.replace("/", ".")


def knows_layers(side: Side) -> bool:
    """Tell whether the attribute `class` of a side is the class of a Keras layer."""
    return not side.is_plain and side.attributes.get("model_class") not in _OPERATION_GRAPHS


def layer_tree(
    items: Iterable[Item], groups: Iterable[str], classes: bool, labels: Labels | None = None, any_axes: bool = False
) -> Layer:
    """Return the root of the layers that have tensors in these groups, with those of the first group first.

    `classes` tells that the attribute `class` is that of the layer. `any_axes` ignores the order of axes, which differs
    if one side is channels-first.
    """
    root = Layer("")
    by_group: dict[str, list[tuple[Item, str]]] = {}
    for item in items:
        group, address = placed(item)
        by_group.setdefault(group, []).append((item, address))
    for group in groups:
        for item, address in by_group.get(group, ()):
            _add(root, item, address, classes, labels or {}, any_axes)
    _relate(root)
    return root


def _add(root: Layer, item: Item, address: str, known: bool, labels: Labels, any_axes: bool) -> None:
    owner = without_calls(str(item.attributes.get("layer", address)))
    class_name = str(item.attributes.get("class", "")) or None
    interface = item.group in INTERFACE_GROUPS
    layer = owning = root
    for segment in without_calls(address).split("."):
        path = f"{layer.path}.{segment}" if layer.path else segment
        layer = layer.inside.setdefault(segment, Layer(segment, path))
        if known and path == owner and (not interface or class_name == _INPUT_LAYER):  # else it is the model's class
            layer.class_name = class_name
            owning = layer
    if known and not interface:
        structure = _CALL.sub("", str(item.attributes.get("structure", "")))
        layer.whole_structure = layer.whole_structure or structure
        if owning not in (root, layer):
            owning.whole_structure = owning.whole_structure or structure.rpartition(".")[0]
    if reserved_word(address):
        return
    suffix = split(address)[1]
    shape = tuple(sorted(item.shape)) if any_axes else item.shape
    layer.shapes.add((suffix, shape))
    if item.group == layout.ACTIVATIONS and item.address in labels:
        layer.graph.append(labels[item.address])


def _relate(layer: Layer) -> None:
    """Set the structure of what is inside, relative to the layer around it."""
    for inner in layer.inside.values():
        inner.structure = inner.whole_structure
        if layer.whole_structure:
            inner.structure = inner.structure.removeprefix(f"{layer.whole_structure}.")
        _relate(inner)
