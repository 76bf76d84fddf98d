"""The values of single tensors of both sides for any of the examples, and whether they differ."""

from collections.abc import Sequence

import numpy as np

from tfdump.comparison.options import DiffOptions
from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item, plain_item
from tfdump.comparison.tensors import Outcome, compare_pair
from tfdump.comparison.transposing import Transposing
from tfdump.comparison.verdict import DIFFERS, TensorDiff
from tfdump.dump.axis0 import EXAMPLE
from tfdump.inputs.source import pad_batch
from tfdump.side_by_side.dump_side import DumpSide
from tfdump.side_by_side.live_tensors import upcast
from tfdump.side_by_side.model_side import ModelSide
from tfdump.side_by_side.options import errors_name_side
from tfdump.side_by_side.run import AnySide
from tfdump.side_by_side.shrink.records import NothingShrunk
from tfdump.tensors import Array, Batch


def values_of(side: AnySide, names: Sequence[str], examples: Sequence[int]) -> list[Array]:
    """Return tensors of one side, by their groups and addresses, for some examples in one run.

    Raises NothingShrunk for a tensor that is no array, or that a dump does not have for single examples.
    """
    if isinstance(side, DumpSide):
        for name in names:
            tensor = side.tensor(name)
            if tensor.attributes.get("axis0") != EXAMPLE or tensor.encoding is not None or not tensor.has_values:
                raise NothingShrunk(f"{side.name} does not have the values of '{name}' for single examples")
        return [side.rows(name, examples) for name in names]
    places = {f"{one.group}/{one.info.address}": place for place, one in enumerate(side.run.plan.tensors)}
    by_call = [_call(side, examples[at : at + side.call_size]) for at in range(0, len(examples), side.call_size)]
    return [_joined(side, name, places[name], by_call) for name in names]


def _call(side: ModelSide, examples: Sequence[int]) -> tuple[list[object], int]:
    """Return what the model returns for some examples, and their number."""
    probe, fixed = side.run.probe, side.run.plan.fixed
    batch = batch_of(side, examples)
    with errors_name_side(side.name, side.role):
        probe.start()
        return list(probe.run(pad_batch(batch, fixed) if fixed else batch)), len(examples)


def _joined(side: ModelSide, name: str, place: int, calls: Sequence[tuple[list[object], int]]) -> Array:
    """Return the values of several calls as one array."""
    values = []
    for computed, count in calls:
        value = computed[place]
        if not isinstance(value, np.ndarray):
            raise NothingShrunk(f"'{name}' of {side.name} is not an array")
        array = upcast(value)
        assert isinstance(array, np.ndarray)
        values.append(array[:count] if side.kinds[place].axis0 == EXAMPLE else array)
    if len(values) > 1 and side.kinds[place].axis0 != EXAMPLE:
        raise NothingShrunk(f"'{name}' of {side.name} does not have one row per example")
    return np.concatenate(values) if len(values) > 1 else values[0]


def batch_of(side: ModelSide, examples: Sequence[int]) -> Batch:
    """Return some examples as the model takes them."""
    rows = [side.run.source.read(example, example + 1) for example in examples]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


class TensorJudge:
    """Judges the values of one pair of tensors as the comparison did."""

    def __init__(self, tensor: TensorDiff, options: DiffOptions) -> None:
        self.tensor = tensor
        self._options = options
        self.layout = parsed_layout(tensor.layout)

    def outcome(self, golden: Array, new: Array) -> Outcome:
        """Compare the values of both sides."""
        pair = self._pair(golden, new)
        assert pair.golden is not None
        assert pair.new is not None
        return compare_pair(pair.golden, pair.new, pair, self._options.criteria, check_attrs=False)

    def _pair(self, golden: Array, new: Array) -> Pair:
        """Return both arrays as a pair, with the axes of the new one in the order of the golden one."""
        names = (self.tensor.name, self.tensor.new_name)
        dtypes = (self.tensor.dtype, self.tensor.new_dtype)
        items: list[Item] = [
            self._item(str(name), str(dtype), values)
            for name, dtype, values in zip(names, dtypes, (golden, new), strict=True)
        ]
        pair = Pair(items[0], items[1], self.tensor.paired_by, self.layout)
        return Transposing(self._options.transpose, turns_golden=False).turn(pair)

    def turned(self, new: Array) -> Array:
        """Return the values of the new side with the axes in the order of the golden side."""
        item = self._pair(new, new).new
        assert item is not None
        (part,) = item.parts()
        return np.ascontiguousarray(part.read(tuple(slice(0, size) for size in part.shape)))

    def _item(self, name: str, dtype: str, values: Array) -> Item:
        group, _, address = name.partition("/")
        item = plain_item(address, values)
        item.group, item.dtype = group, dtype
        item.attributes = {"class": self.tensor.class_name} if self.tensor.class_name else {}
        return item

    def differs(self, golden: Array, new: Array) -> bool:
        """Tell whether the values differ."""
        return self.outcome(golden, new)[0] == DIFFERS


def parsed_layout(text: str) -> tuple[int | None, ...] | None:
    """Return the layout of a text of `tfdump.comparison.values.layouts.layout_text`, None for an empty one."""
    return tuple(None if axis == "+" else int(axis) for axis in text.split(",")) if text else None
