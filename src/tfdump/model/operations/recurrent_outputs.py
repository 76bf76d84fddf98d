"""The outputs of a recurrent layer that returns its states, in a graph as it was traced.

Keras computes it by a loop that hands on the time, a list of outputs, with a mask also the last output, and the states.
So a state is read from the loop itself, while the sequence or the last output is taken from the list. Two states are
those of an LSTM, or, which the graph does not tell, of two cells.
"""

from tfdump.model.operations.owners import OwnedTensors, Owner

_MOST_STATES = 2
"""The states of an LSTM. Those of stacked cells are nested, and the graph does not show how."""


def outputs_of_recurrent_layers(graph: OwnedTensors) -> dict[Owner, dict[int, int]]:
    """Return the positions of the outputs of recurrent layers whose states are read, by their numbers."""
    return {owner: outputs for owner in graph.members if owner.layers and (outputs := _outputs(graph, owner))}


def handed_on(graph: OwnedTensors, owner: Owner) -> list[int]:
    """Return the tensors of an owner that others read, or that are outputs of the graph."""
    tensors = graph.tensors
    mine = frozenset(graph.members[owner])
    shown = [position for position in sorted(mine) if tensors[position].shown]
    data = [position for position in shown if tensors[position].data]

    def is_read(position: int) -> bool:
        outside = tensors[position].readers - mine
        if tensors[position].data:
            return tensors[position].final or bool(outside)
        return any(tensors[reader].data for reader in outside)

    return [position for position in data or shown if is_read(position)]


def _outputs(graph: OwnedTensors, owner: Owner) -> dict[int, int]:
    """Return the outputs of one layer by number; empty where it has no states that are read, or where a doubt is left.

    The loop must be in the layer itself, and not in a layer inside of it.
    """
    tensors = graph.tensors
    read = handed_on(graph, owner)
    states = [(tensors[p].loop_place, p) for p in read if tensors[p].loop_place and graph.owners(p) == [owner]]
    rest = [position for position in read if tensors[position].loop_place is None]
    if not states or len(states) + len(rest) < len(read) or len(rest) > 1:
        return {}
    masked = _is_masked(graph, owner)
    numbered = {place[0] - masked: position for place, position in states if place is not None}
    counts = {place[1] - masked for place, _ in states if place is not None}
    if min(numbered) < 0 or len(numbered) < len(states) or max(counts) > _MOST_STATES:
        return {}
    outputs = dict(enumerate(rest))
    return outputs | {number + 1: position for number, position in sorted(numbered.items())}


def _is_masked(graph: OwnedTensors, owner: Owner) -> bool:
    """Tell whether a layer reads a mask: then its loop hands on the last output too."""
    tensors = graph.tensors
    return any(tensors[read].boolean for member in graph.members[owner] for read in tensors[member].reads)
