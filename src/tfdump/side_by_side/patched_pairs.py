"""The pairs of tensors of which one is computed by a Keras model, and can be replaced by the other one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.values.layouts import LaidOutItem, stored_item, turned_back
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.dump.axis0 import BATCH, EXAMPLE
from tfdump.dump.graph.labels import inputs_of
from tfdump.dump.layout import stored_dtype
from tfdump.model.patches import Patch
from tfdump.side_by_side.live_tensors import LiveTensor
from tfdump.tensors import Array, Value

CallRows = tuple[int, int, int]
"""One call of the model: its number in the batch, and its first row and the row behind its last one."""

_NUMBERS = "biufc"


@dataclass(frozen=True)
class PatchedPair:
    """A tensor of the Keras model, and the tensor of the other side with its axes in the same order."""

    keras: LiveTensor
    other: Item

    @property
    def key(self) -> tuple[bool, str]:
        """Whether the tensor is a final output, and its address."""
        return self.keras.group == layout.OUTPUTS, self.keras.address

    def patch(self, shape: tuple[int, ...] | None) -> Patch:
        """Return the patch of the tensor, whose shape the model declares."""
        opened = None if shape is None else tuple(None if size == -1 else size for size in shape)
        return Patch(self.keras.address, self.key[0], opened, stored_dtype(self.keras.dtype).name)

    def values(self) -> tuple[Array, Array]:
        """Return the values of the Keras tensor and of the other one in this batch."""
        keras, other = (_whole(item) for item in (self.keras, self.other))
        return keras, other.astype(stored_dtype(self.keras.dtype), copy=False)

    def rows(self, values: Array, call: CallRows) -> Array:
        """Return the part of a batch of values that belongs to one call."""
        number, start, stop = call
        if self.keras.axis0 == EXAMPLE:
            return values[start:stop]
        return values[number] if self.keras.axis0 == BATCH else values

    def padded(self, values: Array, size: int | None) -> Array:
        """Return the values of one call with the last row repeated until there are `size`; None changes nothing."""
        if size is None or self.keras.axis0 != EXAMPLE or len(values) == size:
            return values
        return np.concatenate([values, np.repeat(values[-1:], size - len(values), axis=0)])

    def unpadded(self, value: Value | None, call: CallRows) -> Array:
        """Return the value of one call without the rows of padding."""
        assert isinstance(value, np.ndarray)
        return value[: call[2] - call[1]] if self.keras.axis0 == EXAMPLE else value


def patched_pair(pair: Pair, keras_is_golden: bool) -> PatchedPair | str:
    """Return a pair of two tensors as a PatchedPair, or why the tensor of the Keras model cannot be replaced."""
    assert pair.golden is not None
    assert pair.new is not None
    keras, other = (pair.golden, pair.new) if keras_is_golden else (pair.new, pair.golden)
    if isinstance(keras, LaidOutItem):
        other = LaidOutItem(other, turned_back(keras.layout, keras.original.shape))
        keras = keras.original
    assert isinstance(keras, LiveTensor)
    patched = PatchedPair(keras, other)
    return obstacle_to(patched) or patched


def obstacle_to(pair: PatchedPair) -> str:
    """Return why the tensor of the Keras model cannot be replaced in this batch, or an empty text."""
    keras, other = pair.keras, pair.other
    original = stored_item(other)
    if not (keras.has_values and other.has_values):
        return "one side has no values"
    kinds = [kind_of(item.dtype) for item in (keras, other)]
    if any(kind not in _NUMBERS for kind in kinds) or (kinds[0] != kinds[1] and set(kinds) - set("iu")):
        return "the sides have no numbers of one kind"
    if keras.encoding or other.encoding:
        return "it is not one array"
    if keras.trouble or getattr(original, "trouble", ""):
        return "its form changes from batch to batch"
    if keras.shape != other.shape or any(len(item.parts()) != 1 for item in (keras, other)):
        return "the sides have different shapes"
    return ""


def _whole(item: Item) -> Array:
    (part,) = item.parts()
    return part.read(tuple(slice(0, size) for size in part.shape))


def layers_through(tensor: LiveTensor, every: Sequence[Item], replaced: set[str]) -> tuple[str, ...]:
    """Return the tensors of the Keras model between one tensor and the replaced ones before it, in their order."""
    by_address = {item.address: item for item in every if item.group == layout.ACTIVATIONS}
    return tuple(sorted(_behind(tensor, by_address, replaced), key=list(by_address).index))


def _behind(tensor: Item, by_address: dict[str, Item], replaced: set[str]) -> Iterator[str]:
    waiting, known = [tensor], {tensor.address}
    while waiting:
        for address in inputs_of(waiting.pop()) or ():
            if address in by_address and address not in known and address not in replaced:
                known.add(address)
                waiting.append(by_address[address])
                yield address
