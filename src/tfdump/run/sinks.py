"""Sinks: what happens to the values of one tensor (statistics, reduction, cast) before a collector writes them."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tfdump.dtypes import dtype_name, kind_of
from tfdump.dump.axis0 import EXAMPLE, NONE
from tfdump.dump.collectors import ChangingCollector, Collector, OpenCollector, same_bits
from tfdump.dump.kinds.tensor_kind import TensorKind
from tfdump.dump.kinds.tensor_statistics import TensorStatistics
from tfdump.dump.layout import count_overflow, stored_dtype
from tfdump.dump.packing import digest
from tfdump.run.options import StoreOptions
from tfdump.tensors import Array, Ragged, Sparse, TensorInfo, Value


class TensorSink:
    """Takes the batches of one tensor, whose dataset is linked in `group` under the address of `info`.

    Its `kind` starts with the planned `axis0` and changes where a batch does not fit it. `padded_to` is the number of
    examples to which every batch is padded, or None, and `before` the number of batches of the whole run before these.
    """

    def __init__(
        self,
        group: str,
        info: TensorInfo,
        axis0: str,
        options: StoreOptions,
        open_collector: OpenCollector,
        padded_to: int | None = None,
        before: int = 0,
    ) -> None:
        self.group = group
        self.kind = TensorKind(info, axis0, padded_to, options.about_dtypes, before)
        self.overflowed = 0
        self.unfit = 0
        self.reduced = False
        self._options = options
        self._stored = ChangingCollector(open_collector)
        self._first: Array | None = None
        self._first_unfit = 0
        numeric = kind_of(info.dtype) != "S"
        self._statistics = TensorStatistics(options.quantiles) if options.statistics and numeric else None
        self._narrow = options.dtype is not None and kind_of(info.dtype) == "f"

    @property
    def info(self) -> TensorInfo:
        """The record of the tensor, according to the batches so far."""
        return self.kind.info

    @property
    def axis0(self) -> str:
        """What the first axis of the tensor is, according to the batches so far."""
        return self.kind.axis0

    @property
    def batches(self) -> int:
        """The number of batches that gave the tensor."""
        return self.kind.batches

    @property
    def busy(self) -> bool:
        """Whether `prepare` reads every value."""
        return self._statistics is not None or self._options.reduction is not None or self._narrow

    @property
    def widens(self) -> bool:
        """Whether the reduction is stored in a wider float than the tensor would be."""
        reduction, stored = self._options.reduction, dtype_name(stored_dtype(self.info.dtype))
        return reduction is not None and kind_of(stored) == "f" and reduction.dtype_of(stored) != stored

    def add(self, value: Value, examples: int) -> None:
        """Take in the value for one batch of so many examples."""
        self.store(self.prepare(value, examples))

    def prepare(self, value: Value, examples: int) -> Value:
        """Add the value for one batch to the statistics and counts; return what of it is to be stored."""
        value = self.kind.take(value, examples)
        if self.kind.lost is not None:
            return np.zeros(0)
        self._measure(value)
        again = self.axis0 == NONE and self._repeats(value)
        if self._statistics is not None and not again:
            self._statistics.add(_dense_part(value))
        if self._options.reduction is not None and isinstance(value, np.ndarray):
            self.reduced |= bool(self._options.reduction.axes_of(value.shape))
            reduced = self._options.reduction.reduce(_upcast(value))
            value = reduced.values
            self._first_unfit = reduced.overflowed if self.batches == 1 else self._first_unfit
            self.unfit += 0 if again else reduced.overflowed
        self.kind.take_rows(value)
        if self._narrow and not again:
            self._count_overflow(_dense_part(value))
        return value

    def _measure(self, value: Value) -> None:
        """Add the rows that count of one batch to the other measures of a subclass."""

    def store(self, value: Value) -> None:
        """Store what `prepare` returned. Where the kind of the tensor has changed, store the earlier batches again."""
        if self.kind.lost is not None:
            self._stored.collector = None
            return
        self._stored.append(value, self.stored_info(value), self.axis0)

    def for_journal(self, value: Value) -> Value:
        """Return the part of what `prepare` returned that `store` reads: where no values are stored, the shape."""
        if self._options.values or self.axis0 == NONE or not isinstance(value, np.ndarray):
            return value
        return np.broadcast_to(np.zeros((), value.dtype), value.shape)

    def state(self) -> dict[str, Any]:
        """Return the sums so far, as JSON that preserves every bit."""
        statistics = self._statistics.state() if self._statistics is not None else None
        counts = [self.overflowed, self.unfit, self.reduced]
        return {"kind": self.kind.state(), "counts": counts, "statistics": statistics}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state that `state` returned. A first value must have been prepared before."""
        self.kind.restore(state["kind"])
        self.overflowed, self.unfit, self.reduced = state["counts"]
        if self._statistics is not None:
            self._statistics = TensorStatistics.of_state(state["statistics"])

    @property
    def constant(self) -> str | None:
        """The SHA-256 of the first value of a tensor that was planned as constant, before it is stored; else None."""
        return digest({"": self._first}) if self._first is not None else None

    def _repeats(self, value: Value) -> bool:
        """Tell whether a constant is the same as in all batches before.

        Where it is not, all batches will be stored, so the earlier ones are added to the statistics and counts now.
        """
        if not isinstance(value, np.ndarray):
            return False
        if self._first is None:
            self._first = np.array(value)
            return False
        if same_bits(self._first, value):
            return True
        self.kind.vary()
        again = self.batches - 2
        self.unfit += self._first_unfit * again
        if self._statistics is not None and again:
            first = TensorStatistics(self._options.quantiles)
            first.add(self._first)
            self._statistics.merge(first, again)
        if self._narrow:
            self.overflowed += again * count_overflow(self._first, np.dtype(self._options.dtype))
        return False

    def stored_info(self, value: Value) -> TensorInfo:
        """Return the record of what is stored: a reduction may change the dtype, as the mean of integers does."""
        stored = dtype_name(stored_dtype(self.info.dtype))
        if self._options.reduction is None or dtype_name(value.dtype) == stored:
            return self.info
        reduced = self._options.reduction.dtype_of(stored)
        return self.info if reduced == stored else replace(self.info, dtype=reduced)

    def finish(self) -> tuple[Collector | None, dict[str, Any]]:
        """Return the collector, None where nothing is stored, and the attributes that it does not set itself."""
        extra: dict[str, Any] = {}
        if self._statistics is not None:
            extra |= self._statistics.attributes()
        if self.reduced:
            extra["reduce"] = str(self._options.reduction)
        if self.overflowed + self.unfit:
            extra["overflowed"] = np.int64(self.overflowed + self.unfit)
        return self._stored.collector, extra

    def _count_overflow(self, values: Array) -> None:
        """Count the finite values that become infinite in the stored dtype."""
        self.overflowed += count_overflow(values, np.dtype(self._options.dtype))


def stored_bytes(value: Value, axis0: str, examples: int, options: StoreOptions) -> int:
    """Return about how many bytes a tensor will take in the file, estimated from its value for a few examples."""
    if not options.values:
        return 0
    if options.reduction is not None and isinstance(value, np.ndarray):
        value = options.reduction.apply(_upcast(value))
    dense = _dense_part(value)
    dtype = stored_dtype(dtype_name(dense.dtype), options.dtype)
    whole = dense.size * dtype.itemsize
    if axis0 != EXAMPLE or not value.shape or not value.shape[0]:
        return whole
    return whole * examples // value.shape[0]


def stored_size(info: TensorInfo, options: StoreOptions) -> int:
    """Return the bytes that one tensor of known shape takes in the file."""
    size = math.prod(max(0, n) for n in info.shape or ()) * stored_dtype(info.dtype, options.dtype).itemsize
    return size if options.values else 0


def _dense_part(value: Value) -> Array:
    return value.values if isinstance(value, (Ragged, Sparse)) else value


def _upcast(values: Array) -> Array:
    """Return values in the dtype in which they are stored, which NumPy knows (float32 for bfloat16)."""
    if kind_of(dtype_name(values.dtype)) == "S":
        return values
    return values.astype(stored_dtype(dtype_name(values.dtype)), copy=False)
