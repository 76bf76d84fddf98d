"""Samples: the values of a tensor for the first few examples, by which tensors are recognized."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.comparison.layers.tree import INTERFACE_GROUPS, placed
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.comparison.values.norms import l2_norm
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.dump.attributes import order_of
from tfdump.dump.axis0 import NONE
from tfdump.dump.layout import SAMPLED_EXAMPLES
from tfdump.tensors import Array

_ELEMENTS = 1 << 16
"""About how many elements of a tensor a sample has; one example at least."""

_MOST_ELEMENTS = 1 << 26
"""A tensor with more elements per example is not sampled."""

_CACHE_BYTES = 64 << 20

_KINDS = {"f": "f", "i": "i", "u": "i", "b": "b", "c": "c"}


@dataclass(frozen=True)
class TensorSample:
    """Where the sample of a tensor is in the tensor; the values are read on demand.

    `place` is the place of the tensor in the order of execution of its side. `shape` is that of the values: its first
    axis counts examples, and has the length 1 for a tensor without an axis of examples (`has_examples` is False).
    """

    item: Item
    place: int
    group: str
    kind: str
    shape: tuple[int, ...]
    has_examples: bool

    @property
    def form(self) -> tuple[str, bool, int, int]:
        """What tensors of equal values have in common: the kind, and the numbers of examples and of elements."""
        return self.kind, self.has_examples, self.shape[0], math.prod(self.shape)

    def is_beside(self, other: "TensorSample") -> bool:
        """Tell whether both tensors are in one group; the name of a plain array need not tell its group."""
        return self.group == other.group or not (self.group and other.group)

    def read(self) -> Array:
        """Return the values, in the dtype of the file."""
        part = self.item.parts()[0]
        sizes = self.shape if self.has_examples else self.shape[1:]
        key = tuple(slice(0, size) for size in sizes) if part.shape else ()
        return np.asarray(part.read(key)).reshape(self.shape)


def samples_of(side: Side, other: Side) -> dict[int, TensorSample]:
    """Return the samples of the tensors of a side, by the identity of the tensor, in the order of execution.

    Inputs, outputs, composites, text, reduced tensors and those without values have none. Plain arrays have one row per
    example if they have as many rows as the `other` side has examples.
    """
    ranks = {group: rank for rank, group in enumerate(layout.TENSOR_GROUPS)}
    items = sorted(side.items, key=lambda item: (ranks.get(placed(item)[0], -1), order_of(item)))
    samples = {}
    for place, item in enumerate(items):
        group = placed(item)[0]
        if group in INTERFACE_GROUPS or not has_comparable_values(item) or (not side.is_plain and not item.group):
            continue
        examples = item.attributes.get("axis0") != NONE if item.group else _has_rows(item, other)
        shape = _sampled_shape(item.shape, examples)
        if 0 < math.prod(shape) <= _MOST_ELEMENTS:
            samples[id(item)] = TensorSample(item, place, group, _KINDS[kind_of(item.dtype)], shape, examples)
    return samples


def has_comparable_values(item: Item) -> bool:
    """Tell whether a tensor is an array of numbers with all of its values in the file."""
    return bool(
        item.has_values
        and item.connected
        and item.encoding is None
        and not item.attributes.get("reduce")
        and kind_of(item.dtype) in _KINDS
    )


def _has_rows(item: Item, other: Side) -> bool:
    examples = other.attributes.get("examples")
    return bool(item.shape) and (examples is None or item.shape[0] == examples)


def _sampled_shape(shape: Sequence[int], examples: bool) -> tuple[int, ...]:
    if not examples or not shape:
        return (1, *shape)
    row = max(1, math.prod(shape[1:]))
    return (min(shape[0], SAMPLED_EXAMPLES, max(1, _ELEMENTS // row)), *shape[1:])


@dataclass(frozen=True)
class SampleValues:
    """The values of a sample: float64 or complex128, with 0 where a value is not finite.

    `odd` marks the values that are not finite; None if there are none. `norm` is the L2 norm, `spread` that of the
    distances from the mean. `bounds` has some numbers per example whose distance is below that of the values in any
    layout: the L2 norm of the example, and sums over the square root of the number of elements: of the values, and of
    their distances from `_CENTERS`. No function in the sums grows faster than its argument, so Cauchy and Schwarz bound
    them.
    """

    values: Array
    odd: npt.NDArray[np.bool_] | None
    norm: float
    spread: float
    bounds: npt.NDArray[np.float64]

    @property
    def tells(self) -> bool:
        """Whether the values are enough to recognize a tensor: at least four numbers that are not all alike."""
        return self.values.size >= _FEWEST and self.spread > self.norm * _CONSTANT


_FEWEST, _CONSTANT = 4, 1e-7

_CENTERS = (0.0, 1.0)


def sample_values(values: Array) -> SampleValues:
    """Return the values of a sample for comparison."""
    is_complex = values.dtype.kind == "c"
    with np.errstate(all="ignore"):
        values = np.array(values, np.complex128 if is_complex else np.float64)
        norms, odd = _norms(values), None
        if not np.isfinite(norms).all():
            odd = ~np.isfinite(values)
            values[odd] = 0
            norms = _norms(values)
        rows = values.reshape(len(values), -1)
        sums = rows.sum(1)
        distances = [np.abs(rows - center).sum(1) for center in _CENTERS]
        spread = l2_norm(rows - sums.sum() / rows.size)
    bounds = np.stack([np.abs(sums) if is_complex else sums, *distances]) / math.sqrt(rows.shape[1])
    odd = odd if odd is not None and odd.any() else None
    return SampleValues(values, odd, l2_norm(norms), spread, np.concatenate([norms[None], bounds]))


def _norms(values: Array) -> Array:
    """Return the L2 norm of each example."""
    rows = values.reshape(len(values), -1)
    return np.asarray(np.sqrt((rows * rows.conj()).real.sum(1)), np.float64)


class SampleReader:
    """Reads samples, and holds those that were read last."""

    def __init__(self) -> None:
        self._values: OrderedDict[int, SampleValues] = OrderedDict()
        self._bytes = 0

    def read(self, sample: TensorSample) -> SampleValues:
        """Return the values of a sample."""
        key = id(sample.item)
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        values = sample_values(sample.read())
        self._values[key] = values
        self._bytes += values.values.nbytes
        while self._bytes > _CACHE_BYTES and len(self._values) > 1:
            self._bytes -= self._values.popitem(last=False)[1].values.nbytes
        return values
