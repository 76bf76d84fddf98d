"""The tensors of a TFLite subgraph with their addresses: those of interest, and those that are not available."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tfdump.dump.layout import INPUTS
from tfdump.model.operations.addresses import Addressed, addresses_of
from tfdump.model.operations.flow import GraphFlow, OperationGraph
from tfdump.model.operations.lost_names import restore_lost_names
from tfdump.model.operations.owners import Nameable, NamePart, OwnedTensors
from tfdump.model.operations.roles import IN_CONTROL_FLOW, OperationOutput, Role, links_among, roles_of
from tfdump.model.operations.scopes import Scopes, parts
from tfdump.model.tflite.flatbuffer import LiteFile, LiteOperator, LiteSignature, LiteSubgraph
from tfdump.model.tflite.name_evidence import LiteConstants, names_of
from tfdump.tensors import Array, NotCaptured

if TYPE_CHECKING:
    from tfdump.model.operations.reference import Reference

_CONTROL = ("WHILE", "IF", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE")
_HANDLES = ("resource", "variant")
_REPRESENTING = ("QUANTIZE", "DEQUANTIZE")


class LiteTensors:
    """What a subgraph computes.

    `addressed` are its tensors in order, `not_captured` the layers and loops whose tensors are not available, and
    `flow` tells what each of them reads. With a `reference`, the addresses are those of a Keras model, and `values`
    returns the numbers of a constant.
    """

    def __init__(
        self,
        file: LiteFile,
        signature: LiteSignature,
        reference: "Reference | None" = None,
        values: Callable[[int], Array] | None = None,
    ) -> None:
        self._graph = graph = file.subgraphs[signature.subgraph]
        self._made_by = {number: operator for operator in graph.operators for number in operator.outputs}
        self._kinds = self._kinds_in_order()  # of the tensors by their numbers, none before those that it reads
        numbers = self._order = list(self._kinds)
        outputs = self._operation_outputs()
        roles = roles_of(outputs, range(len(outputs)))  # the converter has removed what serves no value
        positions = [
            position
            for position, role in enumerate(roles)
            if role in (Role.DATA, Role.CONSTANT) and not graph.tensors[numbers[position]].constant
        ]
        self._numbers = [numbers[position] for position in positions]
        names = names_of(graph, file)
        self._scopes = Scopes([name for number, name in names.items() if number not in graph.inputs])
        constants = LiteConstants(graph, names, self._scopes)
        final = {number for _, number in signature.outputs}
        nameable = [
            _nameable(
                graph,
                number,
                self._made_by[number],
                constants,
                links,
                data=roles[position] is Role.DATA,
                final=number in final,
            )
            for number, position, links in zip(self._numbers, positions, links_among(positions, outputs), strict=True)
        ]
        self._names = [tensor.name for tensor in nameable]
        owned = self._owned = OwnedTensors(nameable, self._scopes)
        if reference is None or values is None:
            restore_lost_names(owned)
            self.addressed, hidden = addresses_of(owned, self._scopes, converted=True)
        else:
            from tfdump.model.operations.model_contents import ModelContents, addresses_like
            from tfdump.model.tflite.products import LiteProducts

            places = {number: place for place, number in enumerate(self._numbers)}
            finals = tuple((name, places[number]) for name, number in signature.outputs if number in places)
            shapes = [graph.tensors[number].shape for number in self._numbers]
            weights = LiteProducts(graph, values)
            contained = ModelContents(owned, reference, shapes, lambda place: weights.of(self._numbers[place]))
            self.addressed, hidden = addresses_like(owned, self._scopes, contained, reference, finals)
        inputs = {numbers.index(number): f"{INPUTS}/{name}" for name, number in signature.inputs}
        operations = OperationGraph(outputs, positions, inputs)
        self.flow = GraphFlow(owned, operations, self.addressed, converted=True)
        self.not_captured = (*hidden, *self._inner())

    def _kinds_in_order(self) -> dict[int, str]:
        """Return what makes each tensor, inputs and constants first."""
        graph, made_by = self._graph, self._made_by
        fixed = [number for number in range(len(graph.tensors)) if number not in made_by and number not in graph.inputs]
        kinds = [(number, "Placeholder") for number in graph.inputs]
        kinds += [(number, "Const") for number in fixed]
        kinds += [(number, operator.kind) for operator in graph.operators for number in operator.outputs]
        return dict(kinds)

    def _operation_outputs(self) -> list[OperationOutput]:
        graph, made_by = self._graph, self._made_by
        place = {number: position for position, number in enumerate(self._kinds)}
        return [
            OperationOutput(
                graph.tensors[number].name,
                kind,
                tuple(place[read] for read in made_by[number].inputs if read >= 0) if number in made_by else (),
                is_input=number in graph.inputs,
            )
            for number, kind in self._kinds.items()
        ]

    def number(self, item: Addressed) -> int:
        """Return the number of the tensor of an address in its subgraph."""
        return self._numbers[item.position]

    def origin(self, number: int) -> tuple[str, ...] | None:
        """Return the address of an output of the subgraph, or of what it was computed from."""
        return self.flow.origin(self._order.index(number))

    def kind(self, item: Addressed) -> str:
        """Return the name of the operation that gives the tensor of an address."""
        return self._kinds[self._numbers[item.position]]

    def parts_of(self, name: str) -> list[NamePart]:
        """Return the layers and operations that the name of a constant tells."""
        return self._owned.parts_of(name)

    def parts_made_by(self, number: int) -> list[NamePart]:
        """Return the layers and operations of the tensor of a number, as far as they are known."""
        return self._owned.parts[self._numbers.index(number)] if number in self._numbers else []

    @property
    def nameless(self) -> list[str]:
        """The addresses of the tensors whose names tell no layer: mostly those of the last operations."""
        names = {item.address: self._names[item.position] for item in self.addressed if item.owner is None}
        return [a for a, name in names.items() if not any(self._scopes.place(part).own for part in parts(name))]

    def _inner(self) -> list[NotCaptured]:
        """Name the loops and branches that the subgraph runs through."""
        by_operator: dict[int, NotCaptured] = {}
        makers = {number: place for place, op in enumerate(self._graph.operators) for number in op.outputs}
        for item in self.addressed:
            if self.kind(item) in _CONTROL:
                by_operator.setdefault(makers[self.number(item)], NotCaptured(f"{item.address}.body", IN_CONTROL_FLOW))
        return list(by_operator.values())


def _nameable(
    graph: LiteSubgraph,
    number: int,
    operator: LiteOperator,
    constants: LiteConstants,
    links: tuple[tuple[int, ...], frozenset[int]],
    *,
    data: bool,
    final: bool,
) -> Nameable:
    """Return what decides on the address of a tensor; `links` are what it reads and what reads it."""
    tensor = graph.tensors[number]
    return Nameable(
        constants.name_of(number),
        *links,
        data=data,
        final=final,
        shown=tensor.dtype not in _HANDLES,
        represents=operator.kind in _REPRESENTING,
        boolean=tensor.dtype == "bool",
        floating=tensor.dtype.startswith("float"),
        kind=operator.kind,
        rank=len(tensor.shape),
        activated=operator.activated,
        unpadded=operator.unpadded,
        constants=constants.of(number),
        weights=constants.weights(number),
        bias=constants.bias(number),
    )
