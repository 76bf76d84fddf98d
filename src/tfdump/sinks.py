"""Where the values of one tensor go: statistics, reduction, cast, and the collector that writes them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.analysis.reduction import Reduction
from tfdump.analysis.statistics import StatisticsAccumulator, attributes_of
from tfdump.dtypes import dtype_name, kind_of
from tfdump.dump.collectors import Collector, same_bits
from tfdump.dump.layout import stored_dtype
from tfdump.errors import TfdumpError
from tfdump.example_axis import EXAMPLE, NONE
from tfdump.tensors import Array, Ragged, Sparse, TensorInfo, Value


@dataclass(frozen=True)
class StoreOptions:
    """What is stored of each tensor: reduced or not, in which float dtype, with statistics, with values."""

    reduction: Reduction | None = None
    dtype: str | None = None
    statistics: bool = False
    values: bool = True
    save_inputs: bool = False

    def check(self, compression: str) -> None:
        """Raise TfdumpError for options about values where no values are stored."""
        without = {
            f"--dtype {self.dtype}": self.dtype is not None,
            f"--compression {compression}": compression != "none",
        }
        for name in [name for name, given in without.items() if given and not self.values]:
            raise TfdumpError(
                f"{name} says how values are stored, and --stats-only stores none (leave one of them out)"
            )


FLOAT_DTYPES = ("float16", "float32", "float64")
"""The dtypes in which real floats can be stored."""

OpenCollector = Callable[[TensorInfo, Value, str], Collector]
"""Makes the collector of a tensor from its record, its first value as stored, and its axis0."""


class TensorSink:
    """Takes the batches of one tensor; `group` and `info` say where the result is linked."""

    def __init__(
        self, group: str, info: TensorInfo, axis0: str, options: StoreOptions, open_collector: OpenCollector
    ) -> None:
        self.group = group
        self.info = info
        self.axis0 = axis0
        self.batches = 0
        self.overflowed = 0
        self.reduced = False
        self._options = options
        self._open = open_collector
        self._collector: Collector | None = None
        self._first: Array | None = None
        self._varied = False
        self._form: tuple[Any, ...] | None = None
        self.changed: str | None = None
        numeric = kind_of(info.dtype) != "S"
        self._statistics = StatisticsAccumulator() if options.statistics and numeric else None
        self._narrow = options.dtype is not None and kind_of(info.dtype) == "f"

    @property
    def busy(self) -> bool:
        """Whether `prepare` looks at every value."""
        return self._statistics is not None or self._options.reduction is not None or self._narrow

    def add(self, value: Value, examples: int) -> None:
        """Take in the value for one batch, of which the first `examples` rows count."""
        self.store(self.prepare(value, examples))

    def prepare(self, value: Value, examples: int) -> Value:
        """Take the value for one batch into the statistics and counts; return what of it is to be stored."""
        value = first_rows(value, examples) if self.axis0 == EXAMPLE else value
        self.batches += 1
        again = self.axis0 == NONE and self._repeats(value)
        if self._statistics is not None and not again:
            self._statistics.add(_dense_part(value))
        if self._options.reduction is not None and isinstance(value, np.ndarray):
            self.reduced |= bool(self._options.reduction.axes_of(value.shape))
            value = self._options.reduction.apply(_upcast(value))
        if self._narrow and not again:
            self._count_overflow(_dense_part(value))
        return value

    def store(self, value: Value) -> None:
        """Store what `prepare` returned; nothing more of a tensor that has become one of another form (`changed`)."""
        form = _form_of(value)
        if self._form not in (None, form):
            self.changed = f"{_words(self._form)} in the first batches and {_words(form)} in a later one"
            self._collector = None
        if self.changed is not None:
            return
        self._form = form
        if self._collector is None:
            self._collector = self._open(self.stored_info(value), value, self.axis0)
        self._collector.append(value)

    def kept(self, value: Value) -> Value:
        """Return as much of what `prepare` returned as `store` looks at: without values, the shape is enough."""
        if self._options.values or self.axis0 != EXAMPLE or not isinstance(value, np.ndarray):
            return value
        return np.broadcast_to(np.zeros((), value.dtype), value.shape)

    def state(self) -> dict[str, Any]:
        """Return what is summed up so far, as JSON that keeps every bit."""
        statistics = self._statistics.state() if self._statistics is not None else None
        counts = [self.batches, self.overflowed, self.reduced, self._varied]
        return {"counts": counts, "statistics": statistics}

    def restore(self, state: dict[str, Any]) -> None:
        """Bring what is summed up to a state; a first value was prepared before."""
        self.batches, self.overflowed, self.reduced, self._varied = state["counts"]
        if self._statistics is not None:
            self._statistics.restore(state["statistics"])

    def _repeats(self, value: Value) -> bool:
        """Tell whether a constant is what it was in all batches before.

        When it is not, all of them will be stored: those that agreed until now enter the statistics again.
        """
        if not isinstance(value, np.ndarray) or self._varied:
            return False
        if self._first is None:
            self._first = np.array(value)
            return False
        if same_bits(self._first, value):
            return True
        self._varied = True
        for _ in range(self.batches - 2):
            if self._statistics is not None:
                self._statistics.add(self._first)
            if self._narrow:
                self._count_overflow(self._first)
        return False

    def stored_info(self, value: Value) -> TensorInfo:
        """Return the record of what is stored: a reduction may change the dtype (the mean of integers)."""
        kind = kind_of(self.info.dtype)
        if self._options.reduction is None or kind in "fS" or dtype_name(value.dtype) == self.info.dtype:
            return self.info
        return TensorInfo(**{**vars(self.info), "dtype": dtype_name(value.dtype)})

    def finish(self) -> tuple[Collector | None, dict[str, Any]]:
        """Return the collector, None when no batch came, and the attributes that it does not know."""
        extra: dict[str, Any] = {}
        if self._statistics is not None:
            extra |= attributes_of(self._statistics.result())
        if self.reduced:
            extra["reduce"] = str(self._options.reduction)
        if self.overflowed:
            extra["overflowed"] = np.int64(self.overflowed)
        return self._collector, extra

    def _count_overflow(self, values: Array) -> None:
        """Count the finite values that become infinite in the stored dtype."""
        self.overflowed += count_overflow(values, np.dtype(self._options.dtype))


def stored_bytes(value: Value, axis0: str, examples: int, options: StoreOptions) -> int:
    """Return about how many bytes a tensor will take in the file, from its value for a few examples."""
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


def count_overflow(values: Array, wanted: np.dtype[Any]) -> int:
    """Return how many finite values become infinite in the dtype `wanted`."""
    if values.size and np.can_cast(_upcast(values).dtype, wanted):
        return 0
    with np.errstate(over="ignore", invalid="ignore"):
        narrowed = values.astype(wanted)
    return int(np.count_nonzero(np.isinf(narrowed) & np.isfinite(values)))


def first_rows(value: Value, count: int) -> Value:
    """Return the first `count` rows of a value; the others only pad its batch."""
    if isinstance(value, Ragged):
        splits, stop = [], count
        for level in value.row_splits:
            splits.append(level[: stop + 1])
            stop = int(level[stop]) if stop < len(level) else int(level[-1])
        return Ragged(value.values[:stop], tuple(splits))
    if isinstance(value, Sparse):
        inside = value.indices[:, 0] < count
        rows = min(count, value.dense_shape[0])
        return Sparse(value.values[inside], value.indices[inside], (rows, *value.dense_shape[1:]))
    return value[:count]


def _form_of(value: Value) -> tuple[Any, ...]:
    """Return what all batches of a tensor must share to be stored together."""
    if isinstance(value, Ragged):
        return "ragged", len(value.row_splits), value.values.shape[1:]
    if isinstance(value, Sparse):
        return "sparse", value.indices.shape[1], len(value.dense_shape), value.values.shape[1:]
    return ("dense",)


def _words(form: tuple[Any, ...] | None) -> str:
    """Return a form in words."""
    kind, *sizes = form or ("dense",)
    inner = f", values of shape {sizes[-1]}" if sizes and sizes[-1] else ""
    if kind == "ragged":
        return f"ragged ({sizes[0]} ragged ax{'i' if sizes[0] == 1 else 'e'}s{inner})"
    return f"sparse (rank {sizes[1]}, {sizes[0]} located{inner})" if kind == "sparse" else kind


def _dense_part(value: Value) -> Array:
    return value.values if isinstance(value, (Ragged, Sparse)) else value


def _upcast(values: Array) -> Array:
    """Return values of a type that NumPy does not know (bfloat16, float8) in the float type that is stored."""
    if kind_of(dtype_name(values.dtype)) == "S":
        return values
    return values.astype(stored_dtype(dtype_name(values.dtype)), copy=False)
