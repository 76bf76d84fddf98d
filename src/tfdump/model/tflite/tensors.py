"""The tensors of a TFLite subgraph with their addresses: those of interest, and what cannot be had."""

from tfdump.model.operations.addresses import Addressed, addresses_of
from tfdump.model.operations.owners import Nameable
from tfdump.model.operations.roles import GraphTensor, Role, roles_of
from tfdump.model.operations.scopes import Scopes, parts
from tfdump.model.tflite.constants import LiteConstants, names_of
from tfdump.model.tflite.flatbuffer import LiteFile, LiteSignature
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
        names = names_of(graph, file)
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
        constants = LiteConstants(graph, names, scopes)
        nameable = [
            Nameable(
                constants.name_of(self._made[position][0]),
                tuple(number_of[read] for read in found[position].reads if read in number_of),
                frozenset(readers[position]),
                data=roles[position] is Role.DATA,
                final=position in final,
                shown=graph.tensors[self._made[position][0]].dtype not in _HANDLES,
                represents=self._made[position][1] in _REPRESENTING,
                boolean=graph.tensors[self._made[position][0]].dtype == "bool",
                floating=graph.tensors[self._made[position][0]].dtype.startswith("float"),
                kind=self._made[position][1],
                rank=len(graph.tensors[self._made[position][0]].shape),
                activated=made_by[self._made[position][0]].activated,
                unpadded=made_by[self._made[position][0]].unpadded,
                constants=constants.of(self._made[position][0]),
                weights=constants.weights(self._made[position][0]),
                bias=constants.bias(self._made[position][0]),
            )
            for position in self._kept
        ]
        self._scopes = scopes
        self._names = [tensor.name for tensor in nameable]
        self.addressed, hidden = addresses_of(nameable, scopes, converted=True)
        self.not_captured = (*hidden, *self._inner())

    def number(self, item: Addressed) -> int:
        """Return the number of the tensor of an address in its subgraph."""
        return self._made[self._kept[item.position]][0]

    def kind(self, item: Addressed) -> str:
        """Return the name of the operation that gives the tensor of an address."""
        return self._made[self._kept[item.position]][1]

    @property
    def untold(self) -> list[str]:
        """The addresses of the tensors whose names tell no layer: those of the last operations, mostly."""
        names = {item.address: self._names[item.position] for item in self.addressed}
        return [a for a, name in names.items() if not any(self._scopes.place(part).own for part in parts(name))]

    def _inner(self) -> list[NotCaptured]:
        """Name the loops and branches that the subgraph runs through."""
        found: dict[int, NotCaptured] = {}
        makers = {number: place for place, op in enumerate(self._graph.operators) for number in op.outputs}
        for item in self.addressed:
            if self.kind(item) in _CONTROL:
                found.setdefault(makers[self.number(item)], NotCaptured(f"{item.address}.body", _INNER))
        return list(found.values())
