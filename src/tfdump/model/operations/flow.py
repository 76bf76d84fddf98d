"""What each address of a graph of plain operations reads: its attributes `inputs` and `operands` (docs/format.md).

An operation reads the nearest tensors with an address before it. A layer reads what its operations read from outside of
it. What follows from constants, weights and shapes alone is passed over, unless it has an address itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfdump.model.operations.addresses import Addressed
from tfdump.model.operations.owners import OwnedTensors, Owner
from tfdump.model.operations.roles import SHAPE_ONLY, OperationOutput

Addresses = tuple[str, ...]
Inside = Callable[[Owner], bool]
"""Tells whether the reader of a tensor is inside an owner, so that it cannot read the output of that owner."""


@dataclass(frozen=True)
class OperationGraph:
    """All outputs of the operations of a graph, in which every tensor comes after those that it reads.

    `positions` are those of the tensors that may have an address, in the order of `OwnedTensors.tensors`, and `inputs`
    those of the inputs of the model, with their names (`inputs/NAME`).
    """

    outputs: Sequence[OperationOutput]
    positions: Sequence[int]
    inputs: Mapping[int, str]


class GraphFlow:
    """What feeds what in a graph; `converted` tells that a converter has rewritten it and fused operations."""

    def __init__(
        self, graph: OwnedTensors, operations: OperationGraph, addressed: Iterable[Addressed], converted: bool = False
    ) -> None:
        self._graph = graph
        self._operations = operations
        self._converted = converted
        self._places = {position: place for place, position in enumerate(operations.positions)}
        self._members = {owner: frozenset(members) for owner, members in graph.members.items()}
        self._addresses: dict[int, list[Addressed]] = {}
        for item in addressed:
            self._addresses.setdefault(operations.positions[item.position], []).append(item)

    def inputs(self, item: Addressed) -> Addresses | None:
        """Return the addresses that a layer or operation reads, each once, in the order of the graph; None if unknown.

        They are unknown where an operation of another layer stands between two operations of this one: then the names
        tell the wrong layer.
        """
        if item.owner is None:
            return self._read_by(item.position)
        inside = self._inside(item.owner, item.position)
        if inside is None:
            return None
        owner = item.owner
        reads = [
            read for place in sorted(inside) for read in self._reads(place) if self._places.get(read) not in inside
        ]
        return self._nearest(reads, lambda other: other.holds(owner))

    def operands(self, item: Addressed) -> Addresses | None:
        """Return what the operation reads that computes the output of a layer; None for other tensors."""
        return None if item.owner is None else self._read_by(item.position)

    def origin(self, position: int) -> Addresses | None:
        """Return the address of a final output, or of what it was computed from; `position` is that of the tensor."""
        return self._nearest([position], lambda owner: False)

    def _reads(self, place: int) -> tuple[int, ...]:
        """Return the positions of the tensors whose values an operation reads, not those of which only the shape."""
        output = self._operations.outputs[self._operations.positions[place]]
        return () if output.kind in SHAPE_ONLY else output.reads

    def _read_by(self, place: int) -> Addresses | None:
        return self._nearest(self._reads(place), lambda owner: place in self._members.get(owner, ()))

    def _inside(self, owner: Owner, output: int) -> set[int] | None:
        """Return the places of the tensors inside a layer; None where one of another layer stands between them.

        A tensor without a name that stands between two of them is inside too. Of a converted graph, only those count
        from which the output is computed: into the others, what stands behind the layer may be fused.
        """
        graph, members = self._graph, self._members[owner]
        inside = {m for m in members if not self._converted or m == output or graph.follows(output, m)}
        bits = sum(1 << member for member in members)
        waiting = list(inside)
        while waiting:
            for read in self._reads(waiting.pop()):
                place = self._places.get(read)
                if place is None or place in inside or not self._between(place, bits, output):
                    continue
                if graph.parts[place]:
                    return None
                inside.add(place)
                waiting.append(place)
        return inside

    def _between(self, place: int, members: int, output: int) -> bool:
        """Tell whether a tensor that a layer reads follows from its members (bits) itself; shapes do not count."""
        graph = self._graph
        return (graph.tensors[place].data or not graph.tensors[output].data) and graph.follows_any(place, members)

    def _nearest(self, reads: Iterable[int], inside: Inside) -> Addresses | None:
        """Return the addresses of tensors, or of the nearest addressed tensors before those that have none."""
        addresses: dict[str, None] = {}
        waiting, visited = list(reads)[::-1], set[int]()
        while waiting:
            position = waiting.pop()
            if position in visited:
                continue
            visited.add(position)
            output = self._operations.outputs[position]
            if output.is_input:
                if position not in self._operations.inputs:
                    return None
                addresses[self._operations.inputs[position]] = None
            elif position in self._addresses:
                addresses[self._address(position, inside)] = None
            elif output.kind not in SHAPE_ONLY:
                waiting.extend(reversed(output.reads))
        return tuple(addresses)

    def _address(self, position: int, inside: Inside) -> str:
        """Return the address by which a reader knows a tensor: of the outermost layer around it that has returned."""
        items = self._addresses[position]
        returned = [item for item in items if item.owner is None or not inside(item.owner)]
        return (returned or items[:1])[-1].address
