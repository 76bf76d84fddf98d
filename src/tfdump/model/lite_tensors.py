"""The tensors of a TFLite subgraph with their addresses: those of interest, and what cannot be had."""

import re

from tfdump.model.op_addresses import Addressed, Nameable, addresses_of
from tfdump.model.op_flow import GraphTensor, Role, roles_of
from tfdump.model.op_names import Scopes, parts
from tfdump.model.tflite_file import LiteFile, LiteOperator, LiteSignature, LiteSubgraph
from tfdump.tensors import NotCaptured

_INNER = "inside a loop or branch of the graph, which keeps its tensors"
_CONTROL = ("WHILE", "IF", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE")
_HANDLES = ("resource", "variant")
_REPRESENTING = ("QUANTIZE", "DEQUANTIZE")


class LiteTensors:
    """What a subgraph computes: `addressed` are its tensors in order, `not_captured` what it keeps or has fused."""

    def __init__(self, file: LiteFile, signature: LiteSignature) -> None:
        self._graph = graph = file.subgraphs[signature.subgraph]
        self._made: list[tuple[int, str]] = [(number, "Placeholder") for number in graph.inputs]
        made_by = {number: operator for operator in graph.operators for number in operator.outputs}
        fixed = [number for number in range(len(graph.tensors)) if number not in made_by and number not in graph.inputs]
        self._made += [(number, "Const") for number in fixed]
        self._made += [(number, operator.kind) for operator in graph.operators for number in operator.outputs]
        place = {number: position for position, (number, _) in enumerate(self._made)}
        found = [
            GraphTensor(
                graph.tensors[number].name,
                kind,
                tuple(place[read] for read in made_by[number].inputs if read >= 0) if number in made_by else (),
                is_input=number in graph.inputs,
            )
            for number, kind in self._made
        ]
        final = {place[number] for _, number in signature.outputs}
        roles = roles_of(found, range(len(found)))  # the converter has removed what serves no value
        taken = {graph.tensors[number].name for number in fixed}
        taken |= {tensor.name for other in file.subgraphs if other is not graph for tensor in other.tensors}
        names = {number: _without_counter(graph.tensors[number].name, taken) for number in range(len(graph.tensors))}
        scopes = Scopes([name for number, name in names.items() if number not in graph.inputs])
        self._kept = [
            position
            for position, role in enumerate(roles)
            if role in (Role.DATA, Role.CONSTANT) and not graph.tensors[self._made[position][0]].constant
        ]
        number_of = {position: number for number, position in enumerate(self._kept)}
        readers: dict[int, set[int]] = {position: set() for position in self._kept}
        for position in self._kept:
            for read in found[position].reads:
                if read in readers:
                    readers[read].add(number_of[position])
        nameable = [
            Nameable(
                _told_by_constants(self._made[position][0], made_by, graph, names, scopes),
                tuple(number_of[read] for read in found[position].reads if read in number_of),
                frozenset(readers[position]),
                data=roles[position] is Role.DATA,
                final=position in final,
                shown=graph.tensors[self._made[position][0]].dtype not in _HANDLES,
                represents=self._made[position][1] in _REPRESENTING,
            )
            for position in self._kept
        ]
        self.addressed, hidden = addresses_of(nameable, scopes)
        self.not_captured = (*hidden, *self._inner())

    def number(self, item: Addressed) -> int:
        """Return the number of the tensor of an address in its subgraph."""
        return self._made[self._kept[item.position]][0]

    def kind(self, item: Addressed) -> str:
        """Return the name of the operation that gives the tensor of an address."""
        return self._made[self._kept[item.position]][1]

    def _inner(self) -> list[NotCaptured]:
        """Name the loops and branches that the subgraph runs through."""
        found: dict[int, NotCaptured] = {}
        makers = {number: place for place, op in enumerate(self._graph.operators) for number in op.outputs}
        for item in self.addressed:
            if self.kind(item) in _CONTROL:
                found.setdefault(makers[self.number(item)], NotCaptured(f"{item.address}.body", _INNER))
        return list(found.values())


def _without_counter(name: str, taken: set[str]) -> str:
    """Return a name without the digits that the converter puts behind one that is taken: by a constant of the same
    operation, or in another subgraph."""
    for cut in range(len(name) - 1, 0, -1):
        if not name[cut].isdigit():
            return name
        if name[:cut] in taken:
            return name[:cut]
    return name


def _is_weight(number: int, made_by: dict[int, LiteOperator], graph: LiteSubgraph) -> bool:
    """Tell whether a tensor is a constant, or one in float16 that is widened when the model runs."""
    operator = made_by.get(number)
    if operator is None or operator.kind != "DEQUANTIZE":
        return graph.tensors[number].constant
    return graph.tensors[operator.inputs[0]].constant


def _told_by_constants(
    number: int, made_by: dict[int, LiteOperator], graph: LiteSubgraph, names: dict[int, str], scopes: Scopes
) -> str:
    """Return the name of a tensor; where the converter lost it, that of the weights of its operation.

    Weights tell the layer only where all of them belong to one, and no activation was fused, which may be another's.
    """
    name = names[number]
    operator = made_by[number]
    if operator.activated or any(scopes.place(part).own for part in parts(name)):
        return name
    weights = [names[read] for read in operator.inputs if read >= 0 and _is_weight(read, made_by, graph)]
    told = [part for weight in weights for part in parts(weight) if scopes.place(part).layers]
    if len({scopes.place(part).layers for part in told}) != 1:
        return name
    return re.sub(r";+$", "", told[0])
