"""What one tensor is in a whole run, as the states of its sink in all shards tell it together."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tfdump.accumulators.statistics import ExactNorm
from tfdump.dtypes import kind_of
from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE
from tfdump.dump.kinds.tensor_kind import Departure, TensorKind, changed_form, common_shape
from tfdump.dump.kinds.tensor_statistics import TensorStatistics
from tfdump.dump.layout import common_dtype
from tfdump.tensors import PlannedTensor, TensorInfo


class CombinedState(TensorKind):
    """The state of one tensor, to which the states of the shards are added in their order.

    `shards` has what the first axis is in each shard, None where no batch of the shard gave the tensor. `overflowed`,
    `unfit`, `reduced`, `statistics` and, for gradients, `norm` are those of one run. `unclear` says why the states do
    not tell what one run would have stored; None if they do. `options` are the options of the command line that fix the
    kind of the dtype in advance, and `padded` is the number of the last batch of the run if it was padded, else 0.
    """

    def __init__(self, planned: PlannedTensor, options: str = "", padded: int = 0) -> None:
        super().__init__(planned.info, planned.axis0, None, options)
        self.group = planned.group
        self.planned_axis0 = planned.axis0
        self.shards: list[str | None] = []
        self.reduced = False
        self.norm: ExactNorm | None = None
        self.unclear: str | None = None
        self._dtypes = [(0, planned.info.dtype)]
        self._padded = padded
        self._constant: str | None = None
        self._once = _Counted()
        self._always = _Counted()

    @property
    def overflowed(self) -> int:
        """The number of finite values that the stored dtype cannot hold."""
        return self._counted.overflowed

    @property
    def unfit(self) -> int:
        """The number of results of a reduction that the stored dtype cannot hold."""
        return self._counted.unfit

    @property
    def statistics(self) -> TensorStatistics | None:
        """The statistics, None if there are none. A constant counts once, and in all batches if it varied."""
        return self._counted.statistics

    def at(self, batch: int) -> tuple[TensorInfo, str]:
        """Return what one run knew up to a batch, counted from 1: the record with its dtype, and what axis 0 was."""
        changed = self.varied or self.uneven or (self.departure.batch if self.departure is not None else 0)
        dtype = next(dtype for number, dtype in reversed(self._dtypes) if number <= batch)
        info = self.info if dtype == self.info.dtype else replace(self.info, dtype=dtype)
        return info, self.planned_axis0 if not changed or batch < changed else BATCH

    @property
    def is_numeric(self) -> bool:
        """Whether the tensor has numbers, and not text."""
        return kind_of(self.info.dtype) != "S"

    @property
    def _counted(self) -> "_Counted":
        return self._once if self.axis0 == NONE else self._always

    def add(self, state: Mapping[str, Any], first: int, last: int) -> None:
        """Add the state of the next shard, whose batches have the numbers from `first` to `last`, counted from 1."""
        kind = state["kind"]
        self.shards.append(kind["axis0"] if kind["batches"] else None)
        if not kind["batches"]:
            return
        begins = self.batches == 0
        self.batches += kind["batches"]
        self._before = first - self.batches  # so that the base class tells the numbers of batches
        self._add_form(kind["form"], first)
        self._add_dtypes(kind, first)
        self.lost = self.lost or kind["lost"]
        self._add_sizes(kind, begins)
        changed_before = self.axis0 != self.planned_axis0
        self._add_axis0(state, first)
        cut = last == self._padded and kind["axis0"] == EXAMPLE
        if cut and self.axis0 != EXAMPLE and (changed_before or first < last):
            self._explain("the last batch of the run is padded, and its shard did not keep the rows of the copies")
        self._count(state)

    def _add_form(self, told: list[Any], first: int) -> None:
        form = _tuples(told)
        if self._form is None:
            self._form = form
        elif form != self._form and self.lost is None:
            self.lost = changed_form(self._form, form, first)

    def _add_dtypes(self, kind: Mapping[str, Any], first: int) -> None:
        """Take the dtype of the first batch of a shard, then that of a later one."""
        widened = kind["widened"]
        begin, end = (widened[0], widened[1]) if widened else (kind["dtype"][0], None)
        if kind["lost"] and self._dtype not in ("", begin):
            self._explain("its batches differ both inside of a shard and between shards")
        self._take_dtype(begin)
        self._dtypes.append((first, self.info.dtype))
        if end is None:
            return
        if common_dtype(begin, end) != kind["dtype"][0]:
            self._explain("its dtype changes more than once inside of a shard")
        self._before += widened[2] - first
        self._take_dtype(end)
        self._before -= widened[2] - first
        self._dtypes.append((widened[2], self.info.dtype))

    def _holds(self, dtype: str) -> bool:
        """Return True: what the first shard tells is of the first batch of the run."""
        return True

    def _add_sizes(self, kind: Mapping[str, Any], begins: bool) -> None:
        """Open the axes of the shape that differ between batches, where the first batch of the run had the shape."""
        sizes, told = _tuples(kind["sizes"]), _tuples(kind["shape"])
        declared = self.info.shape
        if declared is None:
            return
        if begins:
            self._tracks_shape = told != declared or common_shape(declared, sizes) == declared
        if self._tracks_shape:
            self.info = replace(self.info, shape=common_shape(declared, sizes))

    def _add_axis0(self, state: Mapping[str, Any], first: int) -> None:
        """Find the batch that first did not fit the plan: inside of this shard, or its first one beside others."""
        kind, rows = state["kind"], _tuples(state["kind"]["rows"])
        if self.axis0 == EXAMPLE:
            before, self._row_shape = self._row_shape, self._row_shape if rows is None else rows
            if before is not None and rows is not None and rows != before:
                self.axis0, self.uneven = BATCH, first
            elif kind["axis0"] == BATCH:
                departure = kind["departure"]
                self.axis0, self.uneven = BATCH, kind["uneven"]
                self.departure = None if departure is None else Departure(*departure)
        elif self.axis0 == NONE:
            before_constant, self._constant = self._constant, state["constant"]
            if before_constant not in (None, self._constant):
                self.axis0, self.varied = BATCH, first
            elif kind["axis0"] == BATCH:
                self.axis0, self.varied = BATCH, kind["varied"]

    def _count(self, state: Mapping[str, Any]) -> None:
        repeated = self.planned_axis0 == NONE and state["kind"]["axis0"] == NONE
        if self.planned_axis0 == NONE and not self._always.shards:
            self._once.add(state, 1)
        self._always.add(state, state["kind"]["batches"] if repeated else 1)
        self.reduced = self.reduced or state["counts"][2]
        if "attributes" in state:
            self.norm = self.norm or ExactNorm()
            self.norm.merge(ExactNorm.of_state(state["attributes"]))

    def _explain(self, reason: str) -> None:
        self.unclear = self.unclear or reason


class _Counted:
    """The statistics and counts of some shards."""

    def __init__(self) -> None:
        self.shards = self.overflowed = self.unfit = 0
        self.statistics: TensorStatistics | None = None

    def add(self, state: Mapping[str, Any], times: int) -> None:
        """Add what a shard counted, so many times."""
        self.shards += 1
        overflowed, unfit, _ = state["counts"]
        self.overflowed += overflowed * times
        self.unfit += unfit * times
        if state["statistics"] is None:
            return
        of_shard = TensorStatistics.of_state(state["statistics"])
        if self.statistics is None:
            self.statistics = TensorStatistics(of_shard.quantiles)
        self.statistics.merge(of_shard, times)


def _tuples(item: Any) -> Any:
    """Return JSON with tuples for lists."""
    return tuple(map(_tuples, item)) if isinstance(item, list) else item
