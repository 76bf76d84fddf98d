"""The tensors of an ONNX graph with their addresses: those of interest, and those that are not available."""

from collections.abc import Mapping, Sequence

from tfdump.address import OPERATION, encode
from tfdump.dump.layout import INPUTS
from tfdump.model.free_names import free_name
from tfdump.model.onnx.file import OnnxGraph, OnnxNode
from tfdump.model.onnx.names import DEQUANTIZING, QUANTIZING, is_folded, operation_names
from tfdump.model.onnx.session import OnnxValue
from tfdump.model.operations.addresses import Addressed, addresses_of, operation_address
from tfdump.model.operations.flow import GraphFlow, OperationGraph
from tfdump.model.operations.owners import Nameable, OwnedTensors
from tfdump.model.operations.roles import IN_CONTROL_FLOW, OperationOutput, Role, links_among, roles_of
from tfdump.model.operations.scopes import Scopes
from tfdump.tensors import NotCaptured

_KINDS = {"Constant": "Const", DEQUANTIZING: "DEQUANTIZE", "RandomNormal": "RandomNormal"}
"""Operations whose role `tfdump.model.operations.roles` knows by another name."""


class OnnxTensors:
    """What a graph computes.

    `addressed` are its tensors in order, `not_captured` the layers and loops whose tensors are not available, and
    `flow` tells what each of them reads. `inputs` are the names of the inputs by the names of their tensors, and
    `values` what ONNX Runtime declares of each tensor.
    """

    def __init__(self, graph: OnnxGraph, inputs: Mapping[str, str], values: Mapping[str, OnnxValue]) -> None:
        self._values = values
        names = operation_names(graph)
        scopes = Scopes([*names])
        self._nodes: list[OnnxNode | None] = [None] * (len(inputs) + len(graph.constants))
        self._names = [*inputs, *graph.constants]
        outputs = [OperationOutput(name, "Placeholder", (), is_input=True) for name in inputs]
        outputs += [OperationOutput(name, "Const", ()) for name in graph.constants]
        of_node = list(self._names)
        originals = {name: position for position, name in enumerate(self._names)}
        for node, name in zip(graph.nodes, names, strict=True):
            reads = [originals[read] for read in (*node.inputs, *node.outer) if read in originals]
            copies = node.title == "Identity" and not scopes.place(name).layers and len(reads) == 1
            for output in filter(None, node.outputs):
                originals[output] = reads[0] if copies else len(outputs)
                kind = _KINDS.get(node.kind, node.kind)
                outputs.append(OperationOutput(output, kind, tuple(dict.fromkeys(reads)), copies))
                self._names.append(output)
                self._nodes.append(node)
                of_node.append(name)
        self._originals = originals
        final = {originals[name] for name in graph.outputs if name in originals}
        roles = roles_of(outputs, sorted(final))
        positions = [n for n, role in enumerate(roles) if role in (Role.DATA, Role.CONSTANT)]
        self._positions = positions
        nameable = [
            self._nameable(
                position, of_node[position], links, data=roles[position] is Role.DATA, final=position in final
            )
            for position, links in zip(positions, links_among(positions, outputs), strict=True)
        ]
        owned = OwnedTensors(nameable, scopes)
        addressed, hidden = self._without_folded(*addresses_of(owned, scopes), nameable)
        fed = {originals[tensor]: f"{INPUTS}/{name}" for tensor, name in inputs.items()}
        self.flow = GraphFlow(owned, OperationGraph(outputs, positions, fed), addressed)
        self.addressed = [item for item in addressed if self.value(item).dtype is not None]
        loops = [(node, name) for node, name in zip(graph.nodes, names, strict=True) if node.graphs]
        self.not_captured = (
            *hidden,
            *(
                NotCaptured(item.address, _no_dtype(self.value(item)))
                for item in addressed
                if item not in self.addressed
            ),
            *(NotCaptured(f"{operation_address(scopes.place(name))}.body", IN_CONTROL_FLOW) for _, name in loops),
        )

    def _without_folded(
        self, addressed: Sequence[Addressed], hidden: Sequence[NotCaptured], nameable: Sequence[Nameable]
    ) -> tuple[list[Addressed], list[NotCaptured]]:
        """Name convolutions into which something was folded as operations: they are not the outputs of their layers."""
        names: dict[str, None] = {}
        named, missing = [], list(hidden)
        for item in addressed:
            if item.owner is None or not is_folded(self._node(self._positions[item.position])):
                named.append(item)
                continue
            missing.append(NotCaptured(item.address, "what follows it is folded into its weights"))
            if not any(other.position == item.position for other in named):
                leaf = encode(nameable[item.position].name.rpartition("/")[2])
                address = free_name(f"{item.layer}:{OPERATION}.{leaf}", {*names, *(a.address for a in addressed)})
                names[address] = None
                named.append(Addressed(address, item.layer, item.position))
        return named, missing

    def _nameable(
        self, position: int, name: str, links: tuple[tuple[int, ...], frozenset[int]], *, data: bool, final: bool
    ) -> Nameable:
        node, value = self._node(position), self._values[self._names[position]]
        several = [output for output in node.outputs if output]
        return Nameable(
            name,
            *links,
            data=data,
            final=final,
            index=node.outputs.index(self._names[position]) if len(several) > 1 else None,
            represents=node.kind in (QUANTIZING, DEQUANTIZING),
            boolean=value.dtype == "bool",
            floating=(value.dtype or "").startswith("float"),
            kind=node.kind,
        )

    def _node(self, position: int) -> OnnxNode:
        node = self._nodes[position]
        assert node is not None  # neither inputs nor constants of the file have an address
        return node

    def tensor(self, item: Addressed) -> str:
        """Return the name of the tensor of an address."""
        return self._names[self._positions[item.position]]

    def origin(self, name: str) -> tuple[str, ...] | None:
        """Return the address of an output of the graph, or of what it was computed from; None where it is unknown."""
        return self.flow.origin(self._originals[name]) if name in self._originals else None

    def value(self, item: Addressed) -> OnnxValue:
        """Return what ONNX Runtime declares of the tensor of an address."""
        return self._values[self.tensor(item)]

    def kind(self, item: Addressed) -> str:
        """Return the type of the operation that gives the tensor of an address."""
        return self._node(self._positions[item.position]).title


def _no_dtype(value: OnnxValue) -> str:
    return f"it is a {value.type}, which ONNX Runtime does not hand to NumPy"
