"""The addresses of the tensors of a graph of plain operations: which of them is the output of which layer.

Of the tensors in a layer's scope, the last one that is read outside of it (or is a final output) is its output; the
others are `<layer>:op.<name>`. A layer whose last operation was fused into another layer's has no output of its own.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tfdump.address import encode, segment
from tfdump.model.op_names import Path, Place, Scopes, last_part, parts
from tfdump.tensors import NotCaptured

OPERATION = "op"
"""The first word of the suffix of a tensor inside a layer."""

_RENAMED = {
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "realdiv": "divide",
    "floordiv": "floor_divide",
    "abs": "absolute",
    "neg": "negative",
    "addv2": "add",
    "concat": "concatenate",
    "strided_slice": "get_item",
    "notequal": "not_equal",
    "logicaland": "logical_and",
    "logicalor": "logical_or",
    "logicalnot": "logical_not",
    "greaterequal": "greater_equal",
    "lessequal": "less_equal",
    "expanddims": "expand_dims",
    "selectv2": "where",
    "gatherv2": "take",
}
_SAME = frozenset(
    [
        "add",
        "matmul",
        "maximum",
        "minimum",
        "pow",
        "equal",
        "greater",
        "less",
        "exp",
        "log",
        "sqrt",
        "square",
        "relu",
        "relu6",
        "sigmoid",
        "tanh",
        "softmax",
        "softplus",
        "mean",
        "sum",
        "max",
        "min",
        "prod",
        "reshape",
        "transpose",
        "squeeze",
        "cast",
        "sin",
        "cos",
        "erf",
        "tile",
        "stack",
    ]
)
"""Operations by their name in a graph, in lower case: what Keras calls them as nodes of a model, and the same names."""

Layers = tuple[tuple[str, int], ...]
"""The calls of layers around a tensor, from the model down: the name of each, and the number of the call."""


@dataclass(frozen=True)
class Nameable:
    """One tensor that wants an address: the name it has in its graph, and the positions of those that read it.

    `reads` are the positions of those it is computed from. `data` tells that its values follow from the inputs,
    `final` that it is an output of the graph, `shown` that it can have an address at all (a handle cannot), `index`
    which output of its operation it is (None for the only one), and `represents` that its operation only writes the
    same numbers in another dtype.
    """

    name: str
    reads: tuple[int, ...]
    readers: frozenset[int]
    data: bool = True
    final: bool = False
    index: int | None = None
    shown: bool = True
    represents: bool = False


@dataclass(frozen=True)
class Addressed:
    """One address: the tensor at `position`, and the address of the layer that it belongs to."""

    address: str
    layer: str
    position: int


def addresses_of(tensors: Sequence[Nameable], scopes: Scopes) -> tuple[list[Addressed], list[NotCaptured]]:
    """Return the addresses of the tensors in their order, and the layers that have no tensor of their own.

    The output of a layer that is that of a layer in it too has an address for both, the inner one first.
    """
    places = [scopes.place(last_part(tensor.name)) if tensor.name else Place((), ()) for tensor in tensors]
    inside: dict[Layers, list[int]] = {}
    for position, place in enumerate(places):
        for depth in range(1, len(place.layers) + 1):
            inside.setdefault(place.layers[:depth], []).append(position)
    hidden = _fused(tensors, places, scopes)
    outputs: dict[Layers, int] = {}
    for layers, positions in inside.items():
        found = _output_of(positions, tensors)
        if found is not None and layers not in hidden:
            outputs[layers] = found
    for layers, position in [*outputs.items()]:
        behind = _unnamed_reader(position, tensors, places)
        if behind is not None:
            del outputs[layers]
            hidden[layers] = f"its last operation may be the one behind it, whose layer is not told ({behind})"
    result = []
    used: set[str] = set()
    for position, (tensor, place) in enumerate(zip(tensors, places, strict=True)):
        claims = [layers for layers, found in outputs.items() if found == position]
        claims.sort(key=len, reverse=True)
        own = [(_layer_address(layers), "") for layers in claims]
        if not own and tensor.data and tensor.shown:
            own = [_own_address(tensor, place)]
        for layer, suffix in own:
            free = _free(layer, suffix, used)
            result.append(Addressed(free, free.partition(":")[0] if suffix else free, position))
    names = {address.address for address in result}
    missing = {_layer_address(layers): reason for layers, reason in hidden.items()}
    return result, [NotCaptured(address, reason) for address, reason in missing.items() if address not in names]


def operation_address(place: Place) -> str:
    """Return the address of an operation that is no layer's output; the name of a node of the model has no suffix."""
    if not place.layers:
        return node_name(place.own)
    return f"{_layer_address(place.layers)}:{OPERATION}.{'.'.join(encode(part) for part in place.own)}"


def node_name(own: Path) -> str:
    """Return the name of an operation of the model itself, as Keras calls the node where that is known."""
    if len(own) == 1:
        name, _, number = re.sub(r"_(\d+)$", r"\n\1", own[0]).partition("\n")
        lower = name.lower()
        if lower in _RENAMED or lower in _SAME:
            return _RENAMED.get(lower, lower) + (f"_{number}" if number else "")
    return ".".join(encode(part) for part in own)


def _own_address(tensor: Nameable, place: Place) -> tuple[str, str]:
    """Return the layer and the suffix of a tensor that is no layer's output."""
    if not place.layers and not place.own:
        name, _, number = last_part(tensor.name).partition(":")
        return encode(name), f":{number or 0}"
    layer, colon, suffix = operation_address(place).partition(":")
    if tensor.index is None:
        return layer, colon + suffix
    return layer, f":{suffix}.{tensor.index}" if colon else f":{tensor.index}"


def _layer_address(layers: Layers) -> str:
    return ".".join(segment(name, 0, call) for name, call in layers)


def _output_of(positions: Sequence[int], tensors: Sequence[Nameable]) -> int | None:
    """Return the position of the output among the tensors of a layer; None where it cannot be told."""
    mine = frozenset(positions)
    positions = [position for position in positions if tensors[position].shown]
    data = [position for position in positions if tensors[position].data]

    def handed_on(position: int) -> bool:
        outside = tensors[position].readers - mine
        if tensors[position].data:
            return tensors[position].final or bool(outside)
        return any(tensors[reader].data for reader in outside)

    chosen = [position for position in data or positions if handed_on(position)]
    if not chosen and data:
        chosen = [position for position in data if not tensors[position].readers] or data
    if not chosen:
        return None
    several = [position for position in chosen if tensors[position].index is not None]
    return None if chosen[-1] in several and len(several) > 1 else chosen[-1]


def _fused(tensors: Sequence[Nameable], places: Sequence[Place], scopes: Scopes) -> dict[Layers, str]:
    """Return the layers whose last operation is part of a tensor of another layer, with the reason."""
    own: dict[Layers, set[str]] = {}
    for tensor, place in zip(tensors, places, strict=True):
        own.setdefault(place.layers, set()).update(_stems(tensor.name))
    hidden: dict[Layers, str] = {}
    for tensor, place in zip(tensors, places, strict=True):
        reason = f"fused into {_layer_address(place.layers) or tensor.name}"
        together = parts(tensor.name)
        for part in together:
            other = scopes.place(part)
            operand = any(part.startswith(f"{operation}/") for operation in together)
            if operand or _stem(part) in own.get(other.layers, ()):
                continue
            if not other.layers and len(other.own) == 1:  # a node of the model itself
                hidden[((node_name(other.own), 0),)] = reason
            for depth in range(1, len(other.layers) + 1):
                if place.layers[:depth] != other.layers[:depth]:
                    hidden[other.layers[:depth]] = reason
    return hidden


def _stems(name: str) -> list[str]:
    return [_stem(part) for part in parts(name)]


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _unnamed_reader(position: int, tensors: Sequence[Nameable], places: Sequence[Place]) -> str | None:
    """Return the name of an operation without a layer that goes on with this tensor alone, or None."""
    for reader in sorted(tensors[position].readers):
        if tensors[reader].represents:
            continue
        nameless = not places[reader].layers and not places[reader].own and tensors[reader].data
        if nameless and {read for read in tensors[reader].reads if tensors[read].data} == {position}:
            return tensors[reader].name
    return None


def _free(layer: str, suffix: str, used: set[str]) -> str:
    """Return the address, made unlike those given before by `~1`, `~2`, ... behind it."""
    address = layer + suffix
    free = next(
        name for name in itertools.chain([address], (f"{address}~{n}" for n in itertools.count(1))) if name not in used
    )
    used.add(free)
    return free
