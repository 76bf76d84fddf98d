"""The addresses of the tensors of a graph of plain operations (docs/addresses.md).

A tensor that is the output of a layer has the layer's address; the others are `<layer>:op.<name>`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfdump.address import OPERATION, encode
from tfdump.dump.layout import ADDRESS_BY
from tfdump.model.free_names import free_name
from tfdump.model.operations.fused_order import FLOW, evidence_for, last_operation, last_owner
from tfdump.model.operations.node_names import node_name
from tfdump.model.operations.outputs import layer_outputs
from tfdump.model.operations.owners import Nameable, OwnedTensors, Owner
from tfdump.model.operations.scopes import LayerPlace, Path, Scopes, last_part
from tfdump.tensors import NotCaptured


@dataclass(frozen=True)
class Addressed:
    """One address: the tensor at `position`, and the address of the layer that it belongs to.

    `owner` is the layer or node whose output it is, None for an operation inside a layer. `address_by` is what told
    the address (`name`, `flow` or `weights`), "" where the name of the operation tells it alone.
    """

    address: str
    layer: str
    position: int
    owner: Owner | None = None
    address_by: str = ""

    @property
    def attributes(self) -> tuple[tuple[str, str], ...]:
        """What a dump says of the address."""
        return ((ADDRESS_BY, self.address_by),) if self.address_by else ()


@dataclass(frozen=True)
class Claim:
    """A layer or node whose output is a tensor: its address, the layer's, and what told it (see `Addressed`)."""

    address: str
    layer: str
    owner: Owner
    address_by: str = ""


def addresses_of(
    graph: OwnedTensors, scopes: Scopes, converted: bool = False
) -> tuple[list[Addressed], list[NotCaptured]]:
    """Return the addresses of the tensors of a graph in order, and the layers that have no tensor of their own.

    A tensor that is the output of a layer and of its sublayer gets both addresses, that of the sublayer first.
    `converted` tells that a converter has rewritten the graph and fused operations.
    """
    outputs = layer_outputs(graph, converted)
    claims: dict[int, list[Claim]] = {}
    for owner, position in outputs.positions.items():
        told_by = evidence_for(graph, position) if converted else ""
        claims.setdefault(position, []).append(Claim(owner.address, owner.address, owner, told_by))
    for owner, numbered in outputs.several.items():
        for number, position in numbered.items():
            claims.setdefault(position, []).append(Claim(f"{owner.address}:{number}", owner.address, owner, FLOW))
    nodes = {owner.node for owner in (*outputs.positions, *outputs.missing) if owner.node}
    missing = {owner.address: reason for owner, reason in outputs.missing.items()}
    return addressed(graph, scopes, claims, nodes, missing)


def addressed(
    graph: OwnedTensors,
    scopes: Scopes,
    claims: Mapping[int, Sequence[Claim]],
    nodes: set[str],
    missing: Mapping[str, str],
) -> tuple[list[Addressed], list[NotCaptured]]:
    """Return the addresses of the tensors of a graph in order, and what of the `missing` layers none of them has.

    `claims` are the outputs of layers by the positions of their tensors, and `nodes` the names that nodes have.
    """
    result = []
    used: set[str] = set()
    for position, tensor in enumerate(graph.tensors):
        inside_first = sorted(claims.get(position, []), key=lambda claim: len(claim.owner.layers), reverse=True)
        for claim in inside_first:
            address = free_name(claim.address, used)
            used.add(address)
            result.append(Addressed(address, claim.layer, position, claim.owner, claim.address_by))
        if not inside_first and tensor.data and tensor.shown:
            layer, suffix = _own_address(tensor, _place(graph, position, scopes), nodes)
            address = free_name(layer + suffix, used)
            used.add(address)
            result.append(Addressed(address, address.partition(":")[0] if suffix else address, position))
    names = {item.address for item in result}
    return result, [NotCaptured(address, reason) for address, reason in missing.items() if address not in names]


def operation_address(place: LayerPlace) -> str:
    """Return the address of an operation that is no layer's output; a node of the model has no suffix."""
    if not place.layers:
        return node_name(place.own)
    return f"{Owner(place.layers).address}:{operation_suffix(place.own)}"


def _place(graph: OwnedTensors, position: int, scopes: Scopes) -> LayerPlace:
    """Return the place of the operation that computes a tensor: that of the last layer, if its name tells it."""
    own = last_operation(graph.tensors[position])
    if position in graph.restored and not (own and scopes.place(own).own):
        return LayerPlace((), ())
    place = scopes.place(own) if own else LayerPlace((), ())
    parts, last = graph.parts[position], last_owner(graph, position)
    mine = [part.place for part in parts if part.owner == last] or [part.place for part in parts]
    return place if place in mine or not mine else mine[0]


def _own_address(tensor: Nameable, place: LayerPlace, nodes: set[str]) -> tuple[str, str]:
    """Return the layer and the suffix of a tensor that is no layer's output; `nodes` are names that nodes have."""
    if not place.layers and not place.own:
        name, _, number = last_part(tensor.name).partition(":")
        return encode(name), f":{number or 0}"
    layer, colon, suffix = operation_address(place).partition(":")
    if not colon and node_name(place.own[:1]) in nodes:
        layer, colon, suffix = node_name(place.own[:1]), ":", operation_suffix(place.own)
    if tensor.index is None:
        return layer, colon + suffix
    return layer, f":{suffix}.{tensor.index}" if colon else f":{tensor.index}"


def operation_suffix(own: Path) -> str:
    """Return the suffix of a tensor inside a layer, without a colon; `own` is the name of its operation there."""
    return f"{OPERATION}.{'.'.join(encode(part) for part in own)}"
