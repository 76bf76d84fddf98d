"""Operations of a TensorFlow graph that need care: loops and branches, whose tensors are not available, and copies."""

from collections.abc import Sequence
from typing import Any

LOOPS = frozenset({"While", "StatelessWhile"})
_COPIES = "IdentityN"
COMPILED_CALL = "XlaCallModule"
BRANCHES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})


def beside_loops(tensors: Sequence[Any]) -> frozenset[int]:
    """Return the positions of those among the tensors of a TensorFlow graph that are in the scopes of loops."""
    loops = [tensor.op.name for tensor in tensors if tensor.op.type in LOOPS]
    scopes = tuple({f"{name.rpartition('/')[0]}/" for name in loops if "/" in name})
    return frozenset(n for n, tensor in enumerate(tensors) if scopes and tensor.op.name.startswith(scopes))


def reads_of(tensor: Any) -> list[Any]:
    """Return the tensors from which the operation of a TensorFlow graph computes one of its outputs."""
    inputs = list(tensor.op.inputs)
    return [inputs[tensor.value_index]] if tensor.op.type == _COPIES else inputs


def extra_copies(tensors: Sequence[Any]) -> frozenset[int]:
    """Return the positions of copies that only a gradient would need.

    A function with a gradient of its own copies what it returns, and beside that what it was called with.
    """
    return frozenset(n for n, tensor in enumerate(tensors) if tensor.op.type == _COPIES)
