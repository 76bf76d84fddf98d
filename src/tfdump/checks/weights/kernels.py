"""The kernels in a dump of weights: filters that are all zero, kernels of one number, and norms far out of line.

Biases and the weights of normalizations are not examined: zeros and ones are where they begin.
"""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfdump.checks.records import Finding, Thresholds
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.dump.axis0 import NONE
from tfdump.dump.kernel_axes import OUTPUT, axes_of
from tfdump.dump.parts import Key
from tfdump.dump.tensor import Tensor
from tfdump.tensors import Array

KERNEL_CHECKS = ("dead", "constant", "exploding")
"""The checks that look at a kernel."""

_TURNED = re.compile(r"Conv\dDTranspose|Conv\dDBackpropInput(V2)?")
_DEPTHWISE = re.compile(r"DepthwiseConv(\dD|\ddNative)")
_FREE = re.compile(r"EinsumDense|Einsum|.*Attention|ConvLSTM\dD|Conv|ConvTranspose|Gemm|[A-Z0-9]+(_[A-Z0-9]+)+")
"""Classes whose kernels have their filters along an axis that only the attribute `axes` tells."""

_SHOWN = 10
_ENOUGH = 3
"""The smallest number of kernels whose magnitudes are compared."""


@dataclass(frozen=True)
class Kernel:
    """What to look for in a kernel: `filters` are the axes of its filters, none where they are not known.

    `zero` is the number that stands for zero, which may be another one in quantized kernels.
    """

    filters: tuple[int, ...]
    zero: int = 0


@dataclass(frozen=True)
class KernelEvidence:
    """What one pass over a kernel reveals.

    `dead` are the filters that are all zero, of `filters`. `value` is the number that all elements are, or None.
    """

    size: int
    filters: int
    dead: tuple[int, ...]
    value: float | None


@dataclass(frozen=True)
class KernelNorm:
    """The L2 norm of a kernel, and the number of its elements."""

    name: str
    norm: float
    size: int

    @property
    def magnitude(self) -> float:
        """The root of the mean square."""
        return self.norm / math.sqrt(self.size)


class KernelWatch:
    """Looks at the blocks of a kernel of a shape."""

    def __init__(self, kernel: Kernel, shape: tuple[int, ...]) -> None:
        self._zero = kernel.zero
        self._filters = kernel.filters
        self._others = tuple(axis for axis in range(len(shape)) if axis not in kernel.filters)
        self._alive = np.zeros([shape[axis] for axis in kernel.filters], bool)
        self._size = math.prod(shape)
        self._first: Array | None = None
        self._same = True

    def add(self, key: Key, block: Array) -> None:
        """Look at one block."""
        if self._filters:
            place = tuple(key[axis] for axis in self._filters)
            self._alive[place] |= (block != self._zero).any(axis=self._others)
        if self._first is None:
            self._first = block.reshape(-1)[0]
        self._same = self._same and bool((block == self._first).all())

    @property
    def evidence(self) -> KernelEvidence:
        """What the blocks so far reveal."""
        dead = np.flatnonzero(~self._alive) if self._filters else np.zeros(0, int)
        value = None if self._first is None or not self._same else float(self._first) - self._zero
        return KernelEvidence(self._size, self._alive.size if self._filters else 0, tuple(dead.tolist()), value)


def kernel_of(tensor: Tensor) -> Kernel | None:
    """Return what to look for in a weight that is a kernel; None for other tensors."""
    shape, name = tensor.shape, tensor.address.rpartition(".")[2].partition("~")[0]
    if tensor.group != layout.WEIGHTS or tensor.attributes.get("axis0") != NONE or tensor.encoding is not None:
        return None
    if kind_of(tensor.dtype) not in "fiu" or len(shape) < 2 or math.prod(shape) < 2:
        return None
    if not name.endswith("kernel") or name.startswith("lora_"):
        return None
    quantization = tensor.quantization
    zeros = np.unique(np.asarray(0 if quantization is None else quantization.zero_point))
    if zeros.size != 1:
        return None
    return Kernel(_filters(tensor, name, len(shape)), int(zeros[0]) if kind_of(tensor.stored_dtype) in "iu" else 0)


def _filters(tensor: Tensor, name: str, rank: int) -> tuple[int, ...]:
    """Return the axes along which the filters of a kernel are."""
    class_name, axes = str(tensor.attributes.get("class", "")), axes_of(tensor.attributes)
    if axes:
        return (axes.index(OUTPUT),) if OUTPUT in axes and len(axes) == rank else ()
    if _DEPTHWISE.fullmatch(class_name) or name == "depthwise_kernel":
        return (rank - 2, rank - 1)
    if _TURNED.fullmatch(class_name):
        return (rank - 2,)
    return () if _FREE.fullmatch(class_name) else (rank - 1,)


def kernel_findings(name: str, kernel: KernelEvidence) -> list[Finding]:
    """Find filters that are all zero, and a kernel in which all numbers are the same."""
    if kernel.value is not None:
        message = f"all {kernel.size:,} values are {kernel.value:.5g}"
        return [Finding("constant", name, kernel.size, kernel.size, None, None, kernel.value, message)]
    if not kernel.dead:
        return []
    shown = ", ".join(map(str, kernel.dead[:_SHOWN])) + (", ..." if len(kernel.dead) > _SHOWN else "")
    verb = "is" if len(kernel.dead) == 1 else "are"
    message = f"{len(kernel.dead)} of {kernel.filters} filters {verb} all zero: {shown}"
    return [Finding("dead", name, len(kernel.dead), kernel.filters, None, None, 0.0, message, kernel.dead)]


def magnitude_findings(kernels: Sequence[KernelNorm], limits: Thresholds) -> list[Finding]:
    """Find kernels with a huge norm, and those whose magnitude is far above that of most of the others."""
    finite = [kernel for kernel in kernels if math.isfinite(kernel.norm)]
    usual = statistics.median_low([kernel.magnitude for kernel in finite]) if len(finite) >= _ENOUGH else 0.0
    findings = []
    for kernel in finite:
        if kernel.norm > limits.explode_norm:
            message = f"the norm {kernel.norm:.3g} is above {limits.explode_norm:g}"
        elif usual and kernel.magnitude > limits.explode_ratio * usual:
            message = (
                f"the magnitude {kernel.magnitude:.3g} (root of the mean square) is {kernel.magnitude / usual:.2g} "
                "times that of most kernels"
            )
        else:
            continue
        findings.append(Finding("exploding", kernel.name, 1, 1, None, None, kernel.norm, message))
    return findings
