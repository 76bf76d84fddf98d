"""Following an input of a graph to the tables in which it is looked up. This imports neither TensorFlow nor Keras."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Use:
    """What an operation does with a tensor: the rows of the table in which it looks it up, or None.

    `same` are the tensors that hold the same numbers afterwards, such as after a cast or a reshape.
    """

    rows: int | None = None
    same: tuple[Hashable, ...] = ()


def vocabulary(tensor: Hashable, uses: Callable[[Hashable], Iterable[Use]]) -> int | None:
    """Return the rows of the smallest table in which a tensor is looked up, None where it is looked up in none.

    `uses` returns what the operations that read a tensor do with it.
    """
    smallest: int | None = None
    tensors, visited = [tensor], {tensor}
    for item in tensors:
        for use in uses(item):
            if use.rows is not None and use.rows > 0:
                smallest = use.rows if smallest is None else min(smallest, use.rows)
            tensors += [other for other in use.same if other not in visited]
            visited |= set(use.same)
    return smallest
