"""The evidence in the constants of a TFLite graph for the names of its operations, which the converter may lose."""

import re
from collections import Counter

from tfdump.model.operations.node_names import is_node, node_name
from tfdump.model.operations.owners import Owner
from tfdump.model.operations.scopes import Scopes, parts
from tfdump.model.tflite.flatbuffer import LiteFile, LiteOperator, LiteSubgraph

PRODUCTS = {"FULLY_CONNECTED": (1, 2), "CONV_2D": (1, 2), "DEPTHWISE_CONV_2D": (1, 2), "CONV_3D": (1, 2)} | {
    "TRANSPOSE_CONV": (1, 3)
}
"""Operations into whose weights others are folded, with the positions of weights and bias among their inputs."""

_OWN_DIGITS = re.compile(r"(.*[/;])?(Relu6|Expm1|Log1p|Atan2|.*[0-9]D|.*:[0-9]+)")


def names_of(graph: LiteSubgraph, file: LiteFile) -> dict[int, str]:
    """Return the names of the tensors of a graph, without the digits that the converter appends to a repeated name.

    A name repeats where one operation became several operations or constants, or in another graph.
    """
    names = {tensor.name for other in file.subgraphs for tensor in other.tensors}
    return {number: _without_counter(tensor.name, names) for number, tensor in enumerate(graph.tensors)}


def _without_counter(name: str, names: set[str]) -> str:
    for cut in range(len(name) - 1, 0, -1):
        if not name[cut].isdigit():
            return name
        if name[:cut] in names and not _OWN_DIGITS.fullmatch(name[: cut + 1]):
            return name[:cut]
    return name


class LiteConstants:
    """The constants of a graph by the operations that read them; one that several read is no evidence."""

    def __init__(self, graph: LiteSubgraph, names: dict[int, str], scopes: Scopes) -> None:
        self._graph = graph
        self._names = names
        self._scopes = scopes
        self._made_by = {number: operator for operator in graph.operators for number in operator.outputs}
        reading = [operator for operator in graph.operators if operator.kind != "DEQUANTIZE"]
        self._reads = Counter(self._constant(read) for operator in reading for read in operator.inputs)

    def name_of(self, number: int) -> str:
        """Return the name of a tensor; where the converter lost it, that of the constants of its operation.

        The constants show the layer only if all belong to one, and if no activation was fused, which may be of another.
        """
        name, operator = self._names[number], self._made_by[number]
        if operator.activated or any(self._scopes.place(part).own for part in parts(name)):
            return name
        constants = [read for read in operator.inputs if self._constant(read) is not None]
        owners_of_constants = [self._owners(self._evidence(read)) for read in constants]
        if (
            not owners_of_constants
            or len({owner for owners in owners_of_constants for owner in owners}) != 1
            or not all(owners_of_constants)
        ):
            return name
        return re.sub(r";+$", "", parts(self._evidence(constants[0]))[0])

    def of(self, number: int) -> tuple[str, ...]:
        """Return the names of the constants that only the operation of a tensor reads."""
        names = [self._evidence(read) for read in self._made_by[number].inputs if self._constant(read) is not None]
        return tuple(name for name in names if name)

    def weights(self, number: int) -> str | None:
        """Return the name of the weights of a product; "" where it shows nothing, None where there are none."""
        return self._operand(self._made_by[number], 0)

    def bias(self, number: int) -> str | None:
        """Return the name of the bias of a product; "" and None as for the weights."""
        return self._operand(self._made_by[number], 1)

    def _operand(self, operator: LiteOperator, which: int) -> str | None:
        place = PRODUCTS.get(operator.kind, (-1, -1))[which]
        if not 0 <= place < len(operator.inputs) or self._constant(operator.inputs[place]) is None:
            return None
        return self._evidence(operator.inputs[place])

    def _constant(self, number: int) -> int | None:
        """Return the number of the constant that a tensor is, or that is converted to it from float16, or None."""
        if number < 0:
            return None
        operator = self._made_by.get(number)
        source = operator.inputs[0] if operator is not None and operator.kind == "DEQUANTIZE" else number
        return source if self._graph.tensors[source].constant else None

    def _evidence(self, number: int) -> str:
        """Return the name of a constant that one operation reads, "" where it shows nothing."""
        constant = self._constant(number)
        name = self._names[number]
        return name if constant is not None and self._reads[constant] == 1 and self._owners(name) else ""

    def _owners(self, name: str) -> set[Owner]:
        places = [place for part in parts(name) if (place := self._scopes.place(part)).own]
        layers = {Owner(place.layers) for place in places if place.layers}
        nodes = {Owner((), node_name(place.own[:1])) for place in places if not place.layers}
        return layers | {node for node in nodes if is_node(node.node)}
