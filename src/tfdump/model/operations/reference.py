"""What a Keras model computes, operation by operation: the reference by which `--like` names the tensors of a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tfdump.model.operations.owners import NamePart
from tfdump.tensors import Array

PASSING = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "BatchToSpaceND", "SpaceToBatchND"})
"""Operations that only move the values of a tensor, and keep the axis of the channels."""

PRODUCTS = frozenset(
    {"MatMul", "BatchMatMulV2", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Einsum"}
)
"""Products of a tensor with weights."""

ACTING = frozenset({"Relu", "Relu6", "Minimum", "Maximum", "Tanh", "ClipByValue"})
"""Operations that a converter makes the fused activation of the operation before."""


@dataclass(frozen=True)
class KerasOperation:
    """One operation whose values follow from the inputs of the model.

    `part` is its layer and its name there, and `reads` are the positions of the operations that it reads. `constant` is
    the other operand of a product, a sum and so on, where it follows from weights alone.
    """

    kind: str
    part: NamePart
    reads: tuple[int, ...]
    constant: Array | None = None


@dataclass(frozen=True)
class KerasOutput:
    """One output of a layer or node: its address, that by the order of execution, and the operation that gives it."""

    address: str
    executed_as: str
    layer: str
    operation: int
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Affine:
    """What stands behind a product at one operation: the product times `scale` plus `offset`, one number a channel."""

    operation: int
    scale: Array | float
    offset: Array | float


@dataclass(frozen=True)
class Reference:
    """The operations of a Keras model in order, the outputs of its layers, and the operations of its final outputs."""

    operations: Sequence[KerasOperation]
    outputs: Sequence[KerasOutput]
    finals: Sequence[tuple[str, int]]

    def before(self, operation: int) -> int:
        """Return the operations from which an operation is computed, as bits."""
        return self._before[operation]

    def behind(self, operation: int) -> int:
        """Return the operations that are computed from an operation, as bits."""
        return self._behind[operation]

    def depends(self, later: int, earlier: int) -> bool:
        """Tell whether an operation is computed from another one."""
        return bool(self._before[later] >> earlier & 1)

    def within(self, operations: int, last: int) -> bool:
        """Tell whether all of several operations (bits) are one operation or stand before it."""
        return not operations & ~(self._before[last] | 1 << last)

    @cached_property
    def by_name(self) -> dict[tuple[str, ...], int]:
        """The operations by the calls around them and their own names."""
        return {words_of(operation.part): number for number, operation in enumerate(self.operations)}

    @cached_property
    def readers(self) -> list[list[int]]:
        """The operations that read each operation."""
        readers: list[list[int]] = [[] for _ in self.operations]
        for number, operation in enumerate(self.operations):
            for read in dict.fromkeys(operation.reads):
                readers[read].append(number)
        return readers

    @cached_property
    def _before(self) -> list[int]:
        before: list[int] = []
        for operation in self.operations:
            bits = 0
            for read in operation.reads:
                bits |= before[read] | 1 << read
            before.append(bits)
        return before

    @cached_property
    def _behind(self) -> list[int]:
        behind = [0] * len(self.operations)
        for number in range(len(self.operations) - 1, -1, -1):
            for read in self.operations[number].reads:
                behind[read] |= behind[number] | 1 << number
        return behind

    def behind_product(self, product: int) -> Iterator[Affine]:
        """Yield a product and the operations behind it that multiply channels or add to them, in the order of depth."""
        waiting = [Affine(product, 1.0, 0.0)]
        while waiting:
            here = waiting.pop(0)
            yield here
            waiting += [
                step for reader in self.readers[here.operation] if (step := self._step(here, reader)) is not None
            ]

    def _step(self, here: Affine, reader: int) -> Affine | None:
        operation = self.operations[reader]
        if operation.kind in PASSING and len(operation.reads) == 1:
            return Affine(reader, here.scale, here.offset)
        constant = operation.constant
        if constant is None or len(operation.reads) != 1 or constant.size not in (1, *constant.shape[-1:]):
            return None
        scale, offset = _factor_and_term(operation.kind, constant.reshape(-1).astype("float64"))
        return None if scale is None else Affine(reader, here.scale * scale, here.offset * scale + offset)


def _factor_and_term(kind: str, constant: Array) -> tuple[Array | float | None, Array | float]:
    """Return by what an operation multiplies and what it adds; None where it does something else."""
    match kind:
        case "BiasAdd" | "AddV2" | "Add":
            return 1.0, constant
        case "Sub":
            return 1.0, -constant
        case "Mul":
            return constant, 0.0
        case "RealDiv":
            return 1.0 / constant, 0.0
    return None, 0.0


def words_of(part: NamePart) -> tuple[str, ...]:
    """Return the calls of layers around an operation and its own name there, as one path."""
    return (*(f"{name}@{call}" if call else name for name, call in part.place.layers), *part.place.own)
