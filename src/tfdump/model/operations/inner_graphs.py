"""Operations that run a graph of their own, whose tensors cannot be fetched: loops, branches and functions."""

from collections.abc import Sequence
from typing import Any

LOOPS = frozenset({"While", "StatelessWhile"})
BRANCHES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})


def beside_loops(tensors: Sequence[Any]) -> frozenset[int]:
    """Return the positions of those among the tensors of a TensorFlow graph that are in the scopes of loops."""
    loops = [tensor.op.name for tensor in tensors if tensor.op.type in LOOPS]
    scopes = tuple({f"{name.rpartition('/')[0]}/" for name in loops if "/" in name})
    return frozenset(n for n, tensor in enumerate(tensors) if scopes and tensor.op.name.startswith(scopes))
