"""What the inputs of an origin hold at the bad element, or in its example. Only these rows are read."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.checks.origin_records import OriginInput
from tfdump.dump import axis0
from tfdump.dump.attributes import full_name
from tfdump.dump.parts import Part, pieces
from tfdump.dump.tensor import Tensor
from tfdump.tensors import Array

_LARGEST_WHOLE = 1 << 26
"""Bytes of the largest tensor without a row per example that is read for its range."""

_MIXES = re.compile(
    "dense|conv|matmul|fullyconnected|einsum|dot|pool|attention|lstm|gru|rnn|bidirectional|timedistributed|transpose|"
    "permute|reshape|flatten|gather|embedding|sum|mean|softmax|cumulative|cumsum|concat|pad|resize|upsampling|"
    "spacetobatch|batchtospace|tensorscatter|tensorlist|roll|reverse|flip|sort"
)
"""Names of operations and layers of which an element depends on others than the one at the same place."""

_POINTWISE = (
    "abs acos acosh add addn addv2 asin asinh atan atan2 atanh average batchnormalization biasadd cast ceil "
    "clip clipbyvalue cos cosh dequantize digamma div divide divnonan dropout elu erf erfc exp expm1 floor floordiv "
    "floordivide floormod fusedbatchnormv3 gelu hardsigmoid hardswish identity leakyrelu lgamma log log10 log1p log2 "
    "logistic maximum minimum mish mod mul mulnonan multiply neg negative normalization pow power prelu quantize "
    "realdiv reciprocal relu relu6 rescaling round rsqrt select selectv2 selu sigmoid sign silu sin sinh softplus "
    "softsign sqrt square squareddifference sub subtract swish tan tanh truediv truedivide where xdivy xlog1py xlogy"
)
"""Operations and layers of which an element depends on the one at the same place of each input alone."""


def is_pointwise(operation: str) -> bool:
    """Tell whether an element that an operation computes depends on one element of each input alone."""
    return _plain_name(operation) in _POINTWISE.split()


def mixes_elements(operation: str) -> bool:
    """Tell whether an operation is known to combine several elements of an input."""
    return not is_pointwise(operation) and _MIXES.search(_plain_name(operation)) is not None


def _plain_name(operation: str) -> str:
    return re.sub("[^a-z0-9]", "", operation.lower())


def first_in_row(tensor: Tensor, row: int, check: str) -> tuple[int, ...] | None:
    """Return the index of the first NaN or Inf in one row of an array."""
    is_bad = np.isnan if check == "nan" else np.isinf
    (part,) = tensor.value_parts()
    for key, block in _row_blocks(part, row):
        mask = is_bad(block)
        if mask.any():
            at = np.unravel_index(int(np.argmax(mask)), mask.shape)
            return tuple(int(place) + piece.start for place, piece in zip(at, key, strict=True))
    return None


def value_of_input(origin: Tensor, index: Sequence[int] | None, source: Tensor, operation: str) -> OriginInput:
    """Return what a tensor holds from which the bad element of an origin was computed.

    `operation` made the element. Statistics of the whole tensor are used where its values are not in the dump.
    """
    name = full_name(source)
    if source.has_values and source.connected and source.encoding is None and "reduce" not in source.attributes:
        region = _region(origin, index, source)
        if region is not None:
            numbers = _numbers(region)
            if numbers is None or (numbers.infinities and source.attributes.get("overflowed")):
                return OriginInput(name)  # no numbers, or infinities that storing the tensor made
            place = None if mixes_elements(operation) else _same_place(origin, index, source)
            value = None if place is None else _float(region.part.read(place)[()])
            return OriginInput(name, None, place, value, region.what, *vars(numbers).values())
    return _from_statistics(name, source)


@dataclass(frozen=True)
class _Region:
    """A part of a tensor: `what` it is, and its rows, None for all of them."""

    what: str
    part: Part
    row: int | None

    def blocks(self) -> Iterator[Array]:
        if self.row is None:
            return (block for _, block in self.part.blocks())
        return (block for _, block in _row_blocks(self.part, self.row))


@dataclass(frozen=True)
class _Numbers:
    """What there is in a region, as `OriginInput` has it."""

    count: int
    zeros: int
    infinities: int
    not_numbers: int
    minimum: float | None
    maximum: float | None


def _region(origin: Tensor, index: Sequence[int] | None, source: Tensor) -> _Region | None:
    """Return the row of a tensor that belongs to an element of the origin, or all of it if it has no rows."""
    kind = source.attributes.get("axis0")
    part = source.parts()[0]
    if kind in (axis0.EXAMPLE, axis0.BATCH):
        aligned = kind == origin.attributes.get("axis0") and index
        return _Region(kind, part, index[0]) if aligned and index and 0 <= index[0] < _rows(part) else None
    return _Region("tensor", part, None) if kind == axis0.NONE and part.nbytes <= _LARGEST_WHOLE else None


def _rows(part: Part) -> int:
    return part.shape[0] if part.shape else 0


def _row_blocks(part: Part, row: int) -> Iterator[tuple[tuple[slice, ...], Array]]:
    """Yield one row in pieces, each with its place in the array."""
    for _, *tail in pieces((1, *part.shape[1:]), part.dtype.itemsize, None):
        key = (slice(row, row + 1), *tail)
        yield key, part.read(key)


def _numbers(region: _Region) -> _Numbers | None:
    """Return what the values of a region are; None if they are not numbers."""
    if region.part.is_text or region.part.dtype.kind not in "fciub":
        return None
    count = zeros = infinities = not_numbers = 0
    low, high = math.inf, -math.inf
    for block in region.blocks():
        values: Any = np.abs(block) if block.dtype.kind == "c" else block
        count += values.size
        zeros += values.size - int(np.count_nonzero(values))
        if values.dtype.kind == "f":
            infinities += int(np.count_nonzero(np.isinf(values)))
            not_numbers += int(np.count_nonzero(np.isnan(values)))
            values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    some = low <= high
    return _Numbers(count, zeros, infinities, not_numbers, low if some else None, high if some else None)


def _same_place(origin: Tensor, index: Sequence[int] | None, source: Tensor) -> tuple[int, ...] | None:
    """Return the index of the element that NumPy's broadcasting puts beside an element of the origin.

    Axes of examples belong together, and are not broadcast against others.
    """
    if index is None or origin.encoding is not None or "reduce" in origin.attributes:
        return None
    whole, shape, by_row = origin.shape, source.shape, source.attributes.get("axis0") != axis0.NONE
    if len(index) != len(whole):
        return None
    if by_row:
        tail = _broadcast(whole[1:], index[1:], shape[1:]) if len(shape) == len(whole) else None
        return None if tail is None else (index[0], *tail)
    if origin.attributes.get("axis0") != axis0.NONE and len(shape) == len(whole) and shape[0] != 1:
        return None
    return _broadcast(whole, index, shape)


def _broadcast(whole: Sequence[int], index: Sequence[int], shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the index in an array of `shape` that is broadcast to `whole`; None if it cannot be."""
    ahead = len(whole) - len(shape)
    if ahead < 0 or any(size not in (1, full) for size, full in zip(shape, whole[ahead:], strict=True)):
        return None
    return tuple(0 if size == 1 else place for size, place in zip(shape, index[ahead:], strict=True))


def _float(value: Any) -> float:
    return float(abs(value)) if np.iscomplexobj(value) else float(value)


def _from_statistics(name: str, source: Tensor) -> OriginInput:
    """Return what the stored statistics of a tensor tell."""
    stored = source.statistics or {}
    if not {"count", "zero", "inf", "nan", "min", "max"} <= set(stored):
        return OriginInput(name)
    count, infinities, not_numbers = (int(stored[kind]) for kind in ("count", "inf", "nan"))
    some = count > infinities + not_numbers
    low, high = (float(stored["min"]), float(stored["max"])) if some else (None, None)
    return OriginInput(name, None, None, None, "tensor", count, int(stored["zero"]), infinities, not_numbers, low, high)
