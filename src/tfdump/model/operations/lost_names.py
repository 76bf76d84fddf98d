"""The layers of operations whose names a converter lost, as the dataflow shows them."""

from tfdump.model.operations.owners import NamePart, OwnedTensors, Owner
from tfdump.model.operations.scopes import LayerPlace

_SEVERAL_OUTPUTS = frozenset({"WHILE", "STABLEHLO_WHILE", "UNPACK", "SPLIT", "SPLIT_V", "TOPK_V2", "UNIQUE"})


def restore_lost_names(graph: OwnedTensors) -> None:
    """Give a part to each operation without a name that reads several tensors, all of which belong to one layer.

    A layer has one output, so what combines two of its tensors is inside of it. This is no proof for a layer that
    returns several tensors.
    """
    for position, tensor in enumerate(graph.tensors):
        if tensor.data and not tensor.represents and not graph.parts[position]:
            owner = _owner_of_all(graph, position)
            if owner is not None:
                graph.add(position, NamePart(owner, LayerPlace(owner.layers, (tensor.kind.lower(),))))


def _owner_of_all(graph: OwnedTensors, position: int) -> Owner | None:
    """Return the layer that has computed all of the several tensors that an operation reads, or None."""
    sources = {source for source in graph.sources(position) if graph.tensors[source].data}
    if len(sources) < 2 or any(graph.tensors[source].kind in _SEVERAL_OUTPUTS for source in sources):
        return None
    owners = [graph.owners(source) for source in sources]
    if any(innermost != owners[0] for innermost in owners) or len(owners[0]) != 1:
        return None
    return owners[0][0] if owners[0][0].layers else None
