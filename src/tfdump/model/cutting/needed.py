"""The operations of a graph that lead from some tensors to another one."""

from collections.abc import Hashable, Mapping, Sequence, Set
from typing import TypeVar

from tfdump.model.cutting.records import UncutModel

GraphTensor = TypeVar("GraphTensor", bound=Hashable)


def needed_operations(
    target: GraphTensor,
    stops: Set[GraphTensor],
    made_by: Mapping[GraphTensor, int],
    reads: Sequence[Sequence[GraphTensor]],
    fixed: Set[GraphTensor],
) -> list[int]:
    """Return the places of the operations that compute `target` from `stops`, in order.

    `made_by` tells the operation that makes a tensor, `reads` what each operation reads, and `fixed` are the constants.
    Raises UncutModel where the target also depends on a tensor that nothing makes, such as an input of the model, or
    where an operation that is needed makes one of the stops too.
    """
    waiting, places = [target], set[int]()
    while waiting:
        tensor = waiting.pop()
        if tensor in stops or tensor in fixed:
            continue
        if tensor not in made_by:
            raise UncutModel(f"it also reads '{tensor}'")
        place = made_by[tensor]
        if place not in places:
            places.add(place)
            waiting += reads[place]
    twice = next((tensor for tensor in stops if made_by.get(tensor) in places), None)
    if twice is not None:
        raise UncutModel(f"'{twice}' comes from an operation that is part of it")
    return sorted(places)
