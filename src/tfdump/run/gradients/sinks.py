"""Sinks of gradients: summed over the batches, or row by row; both measure the norms."""

from typing import Any

import numpy as np

from tfdump.accumulators.sums import ArraySum
from tfdump.dtypes import numpy_dtype
from tfdump.dump.axis0 import NONE
from tfdump.dump.collectors import Collector, OpenCollector
from tfdump.dump.kinds.tensor_statistics import TensorStatistics
from tfdump.dump.layout import count_overflow
from tfdump.dump.shards.gradient_sums import PartialSum
from tfdump.run.gradients.lookups import LookupRows
from tfdump.run.gradients.norms import GradientNorms, MeasuredSink
from tfdump.run.gradients.store import GradientStore
from tfdump.run.sinks import TensorSink
from tfdump.tensors import Array, Sparse, TensorInfo, Value


class RowsSink(MeasuredSink, TensorSink):
    """Takes gradients that have one row per example, or that belong to their batch."""

    def __init__(
        self,
        group: str,
        info: TensorInfo,
        axis0: str,
        store: GradientStore,
        open_collector: OpenCollector,
        half: bool,
        padded_to: int | None = None,
        before: int = 0,
    ) -> None:
        super().__init__(group, info, axis0, store.for_info(info), open_collector, padded_to, before)
        self.norms = GradientNorms(half)

    @property
    def lost(self) -> str | None:
        """Why the batches cannot be stored together, or None."""
        return self.kind.lost

    @property
    def busy(self) -> bool:
        """Whether `prepare` reads every value: it does, for the norm."""
        return True

    def _measure(self, value: Value) -> None:
        """Add the gradient of one batch to the norm."""
        self.norms.add(value if isinstance(value, np.ndarray) else value.values)

    def state(self) -> dict[str, Any]:
        """Return the sums so far, as JSON that preserves every bit."""
        return super().state() | {"attributes": self.norms.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state that `state` returned."""
        super().restore(state)
        self.norms.restore(state["attributes"])

    def end_step(self) -> None:
        """End a step, after all its batches."""
        self.norms.end_step()

    def finish(self) -> tuple[Collector | None, dict[str, Any]]:
        """Return the collector, and the attributes that it does not set itself."""
        collector, extra = super().finish()
        return collector, extra | self.norms.attributes()


class SumSink(MeasuredSink):
    """Adds the gradients of the batches in pairs of float64; the gradient of a single batch stays as it is.

    With `stores_partial`, `partial` is the sum of the last step before it was rounded.
    """

    def __init__(
        self, group: str, info: TensorInfo, store: GradientStore, open_collector: OpenCollector, half: bool
    ) -> None:
        self.group = group
        self.info = info
        self._store = store
        self._open = open_collector
        self._collector: Collector | None = None
        self._statistics = TensorStatistics(store.tensors.quantiles) if store.tensors.statistics else None
        self.norms = GradientNorms(half)
        self._one: Array | None = None
        self._sum: ArraySum | None = None
        self._terms = 0
        self._touched: Array | None = None
        self.stores_partial = False
        self.partial: PartialSum | None = None
        self._dense = np.zeros(())
        self.lost: str | None = None
        self.overflowed = 0
        self.is_table = False
        self.lookups: LookupRows | None = None  # where the optimizer applies the rows of a table one by one

    def add(self, value: Value, examples: int = 0) -> None:
        """Add the gradient of one batch; that of a table lists the rows that it touches, and a row may repeat."""
        before = self._sum.high if self._sum is not None else self._one
        if before is not None and tuple(value.shape) != before.shape:
            self.lost = f"its gradients cannot be added up: {before.shape} in one batch, {value.shape} in another"
        if self.lost is not None:
            return
        self._terms += 1
        if isinstance(value, Sparse):
            total = self._in_pairs(value.dense_shape)
            if self._touched is None:
                self._touched = np.zeros(value.dense_shape[:1], bool)
                self.is_table = True
            rows = value.indices[:, 0]
            total.add_rows(rows, value.values)
            self._touched[rows] = True
            if self.lookups is not None:
                self.lookups.add(self.info.address, value)
            return
        if self.lookups is not None:
            self.lookups.add_dense(self.info.address)
        if self._touched is not None:  # of a table with a regularizer
            self._touched[:] = True
        if self._one is None and self._sum is None:
            self._one = np.asarray(value)
        else:
            self._in_pairs(value.shape).add(np.asarray(value))

    @property
    def busy(self) -> bool:
        """Whether `prepare` reads every value: it reads none."""
        return False

    def prepare(self, value: Value, examples: int) -> Value:
        """Return the value, which `store` adds to the sum."""
        return value

    def store(self, value: Value) -> None:
        """Add the gradient of one batch."""
        self.add(value)

    def for_journal(self, value: Value) -> Value:
        """Return the value, all of which `store` reads."""
        return value

    def state(self) -> None:
        """Return None: the journal has the values, which are added again."""

    def restore(self, state: None) -> None:
        """Do nothing: there is no state."""

    def _in_pairs(self, shape: tuple[int, ...]) -> ArraySum:
        if self._sum is None:
            self._sum = ArraySum(shape, np.complex128 if "complex" in self.info.dtype else np.float64)
            if self._one is not None:
                self._sum.add(self._one)
                self._one = None
        return self._sum

    @property
    def gradient(self) -> Array:
        """The gradient of the last complete step, dense, in the dtype of the weight."""
        return self._dense

    def take_for_optimizer(self) -> Value:
        """Return the gradient of the last complete step for the optimizer: the rows of `lookups`, or a dense array."""
        rows = self.lookups.take(self.info.address) if self.lookups is not None else None
        return self._dense if rows is None else rows

    def end_step(self) -> None:
        """Make the sum the gradient of this step, store it, and begin the next step."""
        shape = tuple(max(size, 0) for size in self.info.shape or ())
        self.partial = self._unrounded() if self.stores_partial else None
        added = self._sum.result() if self._sum is not None else self._one
        total = np.zeros(shape) if added is None else added
        with np.errstate(over="ignore", invalid="ignore"):
            self._dense = total.astype(numpy_dtype(self.info.dtype), copy=False)
        self.norms.add(total if self._sum is not None else self._dense)
        if self._statistics is not None:
            self._statistics.add(self._dense)
        self.norms.end_step()
        if self.lost is not None:
            self._collector = None
            self._begin()
            return
        value: Value = self._dense
        if self._store.norms_only:
            value = np.array(self.norms.last)
        elif self._store.sparse and self._touched is not None:
            rows = np.flatnonzero(self._touched)
            value = Sparse(self._dense[rows], rows.astype(np.int64)[:, None], self._dense.shape)
        narrow = self._store.tensors.dtype
        if narrow is not None:
            stored = value if isinstance(value, np.ndarray) else self._dense
            self.overflowed += count_overflow(stored, np.dtype(narrow))
        if self._collector is None:
            self._collector = self._open(self.info, value, NONE)
        self._collector.append(value)
        self._begin()

    def _begin(self) -> None:
        """Begin another step."""
        self._one = self._sum = self._touched = None
        self._terms = 0

    def _unrounded(self) -> PartialSum:
        """Return the sum so far."""
        if self._one is not None:
            wide = np.complex128 if self._one.dtype.kind == "c" else np.float64
            return PartialSum(1, self._one.astype(wide), None, self._touched)
        if self._sum is None:
            return PartialSum(0, None)
        high, low = self._sum.parts()
        return PartialSum(self._terms, high, low, self._touched)

    def finish(self) -> tuple[Collector | None, dict[str, Any]]:
        """Return the collector, and the attributes that it does not set itself."""
        extra: dict[str, Any] = {}
        if self._statistics is not None:
            extra |= self._statistics.attributes()
        if self._store.norms_only:
            extra["reduce"] = "norm"
        if self.overflowed:
            extra["overflowed"] = np.int64(self.overflowed)
        return self._collector, extra | self.norms.attributes()
