"""Which values of a tensor are read: all of a small tensor, else evenly spaced pieces."""

import math
from collections.abc import Iterator, Sequence

from tfdump.dump.parts import BLOCK_BYTES, Key, Part
from tfdump.dump.tensor import Tensor
from tfdump.tensors import Array

_LARGEST_PIECE = 1 << 18
_SMALLEST_PIECE = 1 << 12
_PIECES = 64
_GOLDEN = (math.sqrt(5) - 1) / 2


class Sample:
    """The values of one tensor that are read, at most about `share` bytes; None reads all.

    Of ragged and sparse tensors, these are the stored values. Raises DumpError where there are none.
    """

    def __init__(self, tensor: Tensor, share: int | None) -> None:
        self.parts = tensor.value_parts()
        self.total = sum(math.prod(part.shape) for part in self.parts)
        size = sum(part.nbytes for part in self.parts)
        self.is_whole = share is None or size <= share
        self._keys: list[list[Key]] = []
        self.read = self.total
        if not self.is_whole and share is not None:
            shares = [max(1, share * part.nbytes // size) for part in self.parts]
            self._keys = [
                evenly_spaced_keys(part.shape, part.dtype.itemsize, one)
                for part, one in zip(self.parts, shares, strict=True)
            ]
            self.read = sum(_size(key) for keys in self._keys for key in keys)

    def blocks(self) -> Iterator[tuple[Part, Key, Array]]:
        """Yield the values piece by piece, each with its part and its place there."""
        if self.is_whole:
            for part in self.parts:
                for key, block in part.blocks(BLOCK_BYTES):
                    yield part, key, block
            return
        for part, keys in zip(self.parts, self._keys, strict=True):
            for key in keys:
                yield part, key, part.read(key)

    def pieces(self) -> Iterator[Array]:
        """Yield the values piece by piece."""
        for _, _, block in self.blocks():
            yield block


def shares_of(sizes: Sequence[int], budget: int | None) -> list[int | None]:
    """Return how many bytes to read of tensors of these sizes: small ones whole, large ones an equal share each.

    None reads everything, for all tensors where they fit into the budget.
    """
    if budget is None or sum(sizes) <= budget:
        return [None] * len(sizes)
    shares: list[int | None] = [None] * len(sizes)
    remaining, waiting = budget, len(sizes)
    for place in sorted(range(len(sizes)), key=lambda place: sizes[place]):
        share = max(_SMALLEST_PIECE, remaining // waiting)
        shares[place] = share
        remaining, waiting = max(0, remaining - min(share, sizes[place])), waiting - 1
    return shares


def evenly_spaced_keys(shape: tuple[int, ...], itemsize: int, share: int) -> list[Key]:
    """Return the keys of evenly spaced pieces of an array, about `share` bytes of it, in C order.

    The array is divided into equal stretches, with one piece in each. The place of the piece moves from stretch to
    stretch by the golden ratio, so that the pieces meet a repeating pattern at many phases.
    """
    if 0 in shape:
        return []
    most = min(_LARGEST_PIECE, max(_SMALLEST_PIECE, share // _PIECES))
    axis, rest = 0, math.prod(shape) * itemsize
    while axis < len(shape) and rest > most:
        rest //= shape[axis]
        axis += 1
    if axis == 0:
        return [tuple(slice(0, size) for size in shape)]
    cut = axis - 1
    step = min(shape[cut], max(1, most // rest))
    along = -(-shape[cut] // step)
    count = math.prod(shape[:cut]) * along
    wanted = min(count, max(1, share // (step * rest)))
    numbers = sorted({int((n + (n * _GOLDEN) % 1) * count / wanted) for n in range(wanted)})
    return [_key(number, shape, cut, step, along) for number in numbers]


def _key(number: int, shape: tuple[int, ...], cut: int, step: int, along: int) -> Key:
    number, piece = divmod(number, along)
    before: list[slice] = []
    for size in reversed(shape[:cut]):
        number, index = divmod(number, size)
        before.insert(0, slice(index, index + 1))
    here = slice(piece * step, min((piece + 1) * step, shape[cut]))
    return (*before, here, *(slice(0, size) for size in shape[cut + 1 :]))


def _size(key: Key) -> int:
    return math.prod(piece.stop - piece.start for piece in key)
