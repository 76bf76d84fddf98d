"""Which tensors of a graph of plain operations are activations: those whose values follow from the inputs.

These are left out:
- constants, weights, and tensors that are computed from these alone;
- shapes, and tensors that are computed from shapes alone (`Shape`, a `Pack` of it, zeros of a shape);
- tensors that determine only the shape of another one, and tensors that nothing reads in a layer with a loop (the cell
  of a recurrent layer, which Keras calls once outside of the loop, and the counters of the loop);
- copies that pass a value into or out of a function (`Identity` outside of every scope), handles, and operations
  without an output.
The output of a layer stays even where it does not follow from the inputs, such as a table of positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

SHAPE_ONLY = frozenset(
    {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "BroadcastArgs", "BroadcastGradientArgs"}
    | {"SHAPE", "RANK", "ZEROS_LIKE", "BROADCAST_ARGS"}
)
"""Operations that use only the shape of their input, by their names in TensorFlow and TFLite."""

_READING = frozenset(
    {"Const", "Placeholder", "VarHandleOp", "ReadVariableOp", "ResourceGather", "VariableV2", "NoOp", "DEQUANTIZE"}
)
_RANDOM = ("Random", "StatelessRandom", "Multinomial", "ParameterizedTruncatedNormal", "TruncatedNormal", "RANDOM")


IN_CONTROL_FLOW = "inside a loop or branch of the graph, which keeps its tensors"
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

    `reads` are the positions of the tensors that the operation reads; for a copy, that of the original. `copies` tells
    whether it is a copy itself.
    """

    name: str
    kind: str
    reads: tuple[int, ...]
    copies: bool = False
    is_input: bool = False


def roles_of(
    tensors: Sequence[OperationOutput], outputs: Sequence[int], idle: frozenset[int] = frozenset()
) -> list[Role]:
    """Return the role of every tensor of a graph, in which every tensor comes after those that it reads.

    `outputs` are the positions of the outputs of the graph, and `idle` of tensors that are unused if nothing reads
    them.
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
        if position in valued and tensor.kind not in SHAPE_ONLY:
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
    if tensor.kind in SHAPE_ONLY:
        return Role.CONSTANT
    if tensor.kind.startswith(_RANDOM):
        return Role.DATA
    return Role.DATA if any(before[read] in _VARYING for read in tensor.reads) else Role.CONSTANT
