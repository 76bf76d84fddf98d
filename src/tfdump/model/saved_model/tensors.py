"""The tensors of a TensorFlow graph with their addresses: those of interest, and those that cannot be fetched."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfdump.dump.layout import INPUTS
from tfdump.model.operations.addresses import Addressed, addresses_of, operation_address
from tfdump.model.operations.flow import GraphFlow, OperationGraph
from tfdump.model.operations.owners import Nameable, OwnedTensors
from tfdump.model.operations.roles import IN_CONTROL_FLOW, OperationOutput, Role, links_among, roles_of
from tfdump.model.operations.scopes import Scopes
from tfdump.model.operations.special_operations import (
    BRANCHES,
    COMPILED_CALL,
    LOOPS,
    beside_loops,
    extra_copies,
    reads_of,
)
from tfdump.model.recording.tensors import HANDLES
from tfdump.model.tensor_info import declared_shape
from tfdump.tensors import NotCaptured, TensorInfo

_COMPILED = (
    "compiled code, as JAX exports it, is one call that shows only its outputs; to see the layers, dump the Keras file "
    "with --backend jax"
)


class GraphTensors:
    """What a graph computes from `inputs`, which are tensors by their names.

    `addressed` are its tensors in order, `not_captured` the layers and loops whose tensors are not available, and
    `origins` the addresses of what each output is, or was computed from.
    """

    def __init__(self, graph: Any, inputs: Mapping[str, Any], outputs: Sequence[Any], known: frozenset[str]) -> None:
        self._tensors = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
        scopes = Scopes([tensor.op.name for tensor in self._tensors if tensor.op.type != "Placeholder"], known)
        place = {tensor.name: position for position, tensor in enumerate(self._tensors)}
        fed = {tensor.name for tensor in inputs.values()}
        copies = {
            tensor.name: tensor.op.inputs[0].name
            for tensor in self._tensors
            if tensor.op.type == "Identity" and not scopes.place(tensor.op.name).layers
        }

        def original(tensor: Any) -> int:
            name = tensor.name
            while name in copies:
                name = copies[name]
            return place[name]

        operation_outputs = [
            OperationOutput(
                tensor.name,
                tensor.op.type,
                tuple(original(read) for read in reads_of(tensor)),
                tensor.name in copies,
                tensor.name in fed,
            )
            for tensor in self._tensors
        ]
        final = {original(tensor) for tensor in outputs}
        idle = beside_loops(self._tensors) | extra_copies(self._tensors)
        roles = roles_of(operation_outputs, sorted(final), idle)
        self._positions, nameable = _nameable(operation_outputs, self._tensors, roles, final)
        owned = OwnedTensors(nameable, scopes)
        addressed, hidden = addresses_of(owned, scopes)
        opaque = self._opaque()
        self.addressed = [item for item in addressed if self._positions[item.position] not in opaque]
        names = {place[tensor.name]: f"{INPUTS}/{name}" for name, tensor in inputs.items()}
        self._flow = GraphFlow(owned, OperationGraph(operation_outputs, self._positions, names), self.addressed)
        self.origins = [self._flow.origin(original(tensor)) for tensor in outputs]
        self.not_captured = (*hidden, *self._inner(scopes), *self._calls(scopes))

    def tensor(self, item: Addressed) -> Any:
        """Return the tensor of an address."""
        return self._tensors[self._positions[item.position]]

    def kind(self, item: Addressed) -> str:
        """Return the type of the operation that gives the tensor of an address."""
        return str(self.tensor(item).op.type)

    def info(self, item: Addressed, order: int) -> TensorInfo:
        """Return the description of the tensor of an address; `order` is its position."""
        tensor = self.tensor(item)
        structure = tensor.name.removesuffix(":0")
        kinds = (self.kind(item),)
        return TensorInfo(
            item.address,
            item.layer,
            structure,
            kinds,
            order,
            tensor.dtype.name,
            declared_shape(tensor),
            attributes=item.attributes,
            inputs=self._flow.inputs(item),
            operands=self._flow.operands(item),
        )

    def _opaque(self) -> set[int]:
        """Return the positions of what compiled code returns, and of its copies."""
        opaque: dict[str, int] = {}
        for position, tensor in enumerate(self._tensors):
            read = tensor.op.inputs[tensor.value_index].name if tensor.op.type in ("Identity", "IdentityN") else None
            if tensor.op.type == COMPILED_CALL or read in opaque:
                opaque[tensor.name] = position
        return set(opaque.values())

    def _calls(self, scopes: Scopes) -> list[NotCaptured]:
        """Return the calls of compiled code as not captured."""
        names = dict.fromkeys(tensor.op.name for tensor in self._tensors if tensor.op.type == COMPILED_CALL)
        return [NotCaptured(operation_address(scopes.place(name)), _COMPILED) for name in names]

    def _inner(self, scopes: Scopes) -> list[NotCaptured]:
        """Return the loops and branches of the graph as not captured."""
        kinds = LOOPS | BRANCHES
        names = dict.fromkeys(tensor.op.name for tensor in self._tensors if tensor.op.type in kinds)
        return [NotCaptured(f"{operation_address(scopes.place(name))}.body", IN_CONTROL_FLOW) for name in names]


def _nameable(
    operation_outputs: Sequence[OperationOutput], tensors: Sequence[Any], roles: Sequence[Role], final: set[int]
) -> tuple[list[int], list[Nameable]]:
    """Return the positions of the tensors that may get an address, and what decides on the addresses."""
    positions = [
        position
        for position, role in enumerate(roles)
        if role in (Role.DATA, Role.CONSTANT) or (role is Role.READ and position in final)
    ]
    nameable = [
        Nameable(
            tensors[position].op.name,
            reads,
            readers,
            data=roles[position] is Role.DATA,
            final=position in final,
            index=tensors[position].value_index if len(tensors[position].op.outputs) > 1 else None,
            shown=tensors[position].dtype not in HANDLES,
            boolean=tensors[position].dtype == tf.bool,
            loop_place=_loop_place(tensors[position]),
        )
        for position, (reads, readers) in zip(positions, links_among(positions, operation_outputs), strict=True)
    ]
    return positions, nameable


def _loop_place(tensor: Any) -> tuple[int, int] | None:
    """Return the place of an output of a loop, or of a copy of it, among those behind its first list, and their number.

    What the loop only reads follows, and begins with a size or with the list of its inputs.
    """
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    if tensor.op.type not in LOOPS:
        return None
    dtypes = [output.dtype for output in tensor.op.outputs]
    if tf.variant not in dtypes:
        return None
    first = dtypes.index(tf.variant) + 1
    count = next(
        (n for n, dtype in enumerate(dtypes[first:]) if dtype in HANDLES or dtype.is_integer), len(dtypes) - first
    )
    place = int(tensor.value_index) - first
    return (place, count) if 0 <= place < count else None
