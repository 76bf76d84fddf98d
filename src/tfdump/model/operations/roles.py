"""Which tensors of a graph of plain operations are worth showing: those whose values follow from the inputs.

A tensor is left out where it is no activation:
- a constant, a weight that is read, and whatever is computed of these alone;
- shapes, and what is computed of shapes alone (`Shape`, `Pack` of it, zeros of a shape);
- what serves no value but only the shape of another tensor, and what nothing reads in a layer with a loop (the cell of
  a recurrent layer, which Keras calls once outside of the loop, and the loop's counters);
- a copy that only hands a value in or out of a function (`Identity` outside of every scope), a handle, and an
  operation that gives nothing.
What a layer hands on is kept even where it does not follow from the inputs: a table of positions is its output.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

_SHAPE_ONLY = frozenset(
    {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "BroadcastArgs", "BroadcastGradientArgs"}
    | {"SHAPE", "RANK", "ZEROS_LIKE", "BROADCAST_ARGS"}
)
"""Operations that take nothing of a tensor but its shape, as TensorFlow and TFLite call them."""

_READING = frozenset(
    {"Const", "Placeholder", "VarHandleOp", "ReadVariableOp", "ResourceGather", "VariableV2", "NoOp", "DEQUANTIZE"}
)
_RANDOM = ("Random", "StatelessRandom", "Multinomial", "ParameterizedTruncatedNormal", "TruncatedNormal", "RANDOM")


INNER_GRAPH = "inside a loop or branch of the graph, which keeps its tensors"
"""Why the tensors of a loop or branch are not captured."""


class Role(Enum):
    """What a tensor is in its graph."""

    DATA = "follows from the inputs"
    CONSTANT = "follows from constants, weights or shapes"
    READ = "is a constant or a weight"
    COPY = "stands for the tensor that it copies"
    INPUT = "is an input"
    UNUSED = "serves at most the shape of another tensor"


_VARYING = (Role.DATA, Role.INPUT)


@dataclass(frozen=True)
class OperationOutput:
    """One output of one operation.

    `reads` are the positions of the tensors that the operation reads, never of a copy but of what it stands for.
    """

    name: str
    kind: str
    reads: tuple[int, ...]
    copies: bool = False
    is_input: bool = False


def roles_of(
    tensors: Sequence[OperationOutput], outputs: Sequence[int], idle: frozenset[int] = frozenset()
) -> list[Role]:
    """Return the role of every tensor of a graph in which no tensor is read before it is made.

    `idle` are those that count for nothing where nothing reads them.
    """
    roles: list[Role] = []
    for tensor in tensors:
        roles.append(_role(tensor, roles))
    valued = set(outputs)
    readers: set[int] = set()
    for position in range(len(tensors) - 1, -1, -1):
        tensor = tensors[position]
        if position not in readers and position not in idle:
            valued.add(position)
        readers.update(tensor.reads)
        if position in valued and tensor.kind not in _SHAPE_ONLY:
            valued.update(tensor.reads)
    return [
        Role.UNUSED if role is Role.DATA and position not in valued else role for position, role in enumerate(roles)
    ]


def links_among(
    positions: Sequence[int], tensors: Sequence[OperationOutput]
) -> list[tuple[tuple[int, ...], frozenset[int]]]:
    """Return what each of the tensors at `positions` reads and which read it, as places in `positions`."""
    places = {position: place for place, position in enumerate(positions)}
    reads = [tuple(places[read] for read in tensors[position].reads if read in places) for position in positions]
    readers: list[set[int]] = [set() for _ in positions]
    for place, sources in enumerate(reads):
        for source in sources:
            readers[source].add(place)
    return list(zip(reads, map(frozenset, readers), strict=True))


def _role(tensor: OperationOutput, before: Sequence[Role]) -> Role:
    if tensor.is_input:
        return Role.INPUT
    if tensor.kind in _READING and not any(before[read] in _VARYING for read in tensor.reads):
        return Role.READ
    if tensor.copies:
        return Role.COPY
    if tensor.kind in _SHAPE_ONLY:
        return Role.CONSTANT
    if tensor.kind.startswith(_RANDOM):
        return Role.DATA
    return Role.DATA if any(before[read] in _VARYING for read in tensor.reads) else Role.CONSTANT
